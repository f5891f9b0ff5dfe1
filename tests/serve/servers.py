"""How tests start a server as a process, and talk to it."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

RECORDINGS = Path(__file__).parents[2] / "demo" / "recordings"


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """A server on a free port of this machine."""

    def __init__(self, *arguments: object, token: str | None = None) -> None:
        self.token = token
        self.process = subprocess.Popen(
            [sys.executable, "-m", "audiomamba", "serve", "--port", "0", *map(str, arguments)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.lines: list[str] = []
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            found = re.search(r" at http://[\d.]+:(\d+)", line)
            if found:
                self.port = int(found[1])
                return
        raise AssertionError(f"the server did not start: {''.join(self.lines)}")

    def connect(self, timeout_s: float = 60) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 60,
    ) -> Answer:
        """One request; a body that is not bytes comes in chunks, without an announced length."""
        connection = self.connect(timeout_s)
        sent = {} if self.token is None else {"authorization": f"Bearer {self.token}"}
        sent |= headers or {}
        with suppress(BrokenPipeError, ConnectionResetError):  # the answer came before the body
            connection.request(
                method, path, body, sent, encode_chunked=not isinstance(body, bytes | None)
            )
        try:
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def post(self, path: str, body: bytes | Iterable[bytes], **headers: str) -> Answer:
        return self.ask("POST", path, body, headers)

    def get(self, path: str) -> Answer:
        return self.ask("GET", path)

    def counts(self) -> dict[str, float]:
        """All that /metrics says, by name and labels."""
        lines = self.get("/metrics").body.decode().splitlines()
        rows = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in rows}

    def memory_mb(self, field: str = "VmRSS") -> float:
        """Resident memory now, or its peak as VmHWM."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("utf-8")
        return int(re.search(rf"{field}:\s+(\d+)", status)[1]) / 1000

    def stop(self) -> int:
        """End it as a service manager does; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=60)
        finally:
            self.process.kill()
            self.process.communicate()


def form(sound: bytes, name: str = "../../etc/passwd.wav") -> tuple[bytes, str]:
    """A form with one file, and its content type."""
    head = f'--edge\r\ncontent-disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return head.encode() + sound + b"\r\n--edge--\r\n", "multipart/form-data; boundary=edge"


def noise(path: Path, seconds: float, rate: int = 16_000, channels: int = 1) -> Path:
    """A recording of noise."""
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", rate, channels, subtype="PCM_16") as file:
        for start in range(0, round(seconds * rate), 60 * rate):
            size = min(60 * rate, round(seconds * rate) - start)
            file.write(rng.uniform(-0.1, 0.1, (size, channels)).astype(np.float32))
    return path


def encoded(path: Path, codec: str, source: Path) -> Path:
    """A recording in a container that only PyAV reads."""
    import av

    samples, rate = soundfile.read(source, dtype="float32", always_2d=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=48_000 if "opus" in codec else rate)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(samples.mean(1)[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        to_codec = av.AudioResampler(
            format=stream.format, layout="mono", rate=stream.rate, frame_size=960
        )
        for part in [*to_codec.resample(frame), *to_codec.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path
