"""Sound as it comes is heard as `audiomamba tag -` hears it."""

import json
import time

import numpy as np
import pytest
from servers import RECORDINGS, Server
from typer.testing import CliRunner
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from audiomamba import audio
from audiomamba.cli import app


def samples(name: str) -> np.ndarray:
    """A demo recording at 16 kHz, as 16-bit integers."""
    sound = audio.load(RECORDINGS / name, sample_rate=16_000).numpy()
    return (32767 * sound.clip(-1, 1)).astype(np.int16)


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """Four seconds with a rooster after one."""
    rooster = samples("rooster.wav")
    return np.concatenate([np.zeros(16_000, np.int16), rooster, np.zeros(24_000, np.int16)])


def open_live(server: Server, query: str, **others: object) -> ClientConnection:
    headers = {"authorization": f"Bearer {server.token}"}
    uri = f"ws://127.0.0.1:{server.port}/v1/live?{query}"
    return connect(uri, **{"additional_headers": headers, **others})


def hear(server: Server, query: str, blocks: list[bytes]) -> list[dict[str, object]]:
    with open_live(server, query) as socket:
        for block in blocks:
            socket.send(block)
        socket.send("end")
        return [json.loads(message) for message in socket]


@pytest.mark.parametrize("events", [False, True])
def test_the_same_samples_give_what_tag_gives(
    server: Server, sound: np.ndarray, events: bool
) -> None:
    options = ["--raw", "16000", "--json", "--window", "2", "--hop", "0.5"]
    options += ["--events", "--threshold", "0.05"] if events else ["--top", "3"]
    printed = CliRunner().invoke(app, ["tag", "-", *options], input=sound.tobytes())
    expected = [json.loads(line) for line in printed.stdout.splitlines()]

    asked = "rate=16000&format=s16&window_s=2&hop_s=0.5"
    asked += "&events=true&threshold=0.05" if events else "&top_k=3"
    data = sound.tobytes()
    odd = [data[start : start + 3333] for start in range(0, len(data), 3333)]

    assert len(expected) > 1
    assert hear(server, asked, odd) == expected
    floats = [(sound / np.float32(32768)).astype("<f4").tobytes()]
    assert hear(server, asked.replace("s16", "f32"), floats) == expected


def test_live_connections_have_limits(server: Server) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        open_live(server, "rate=16000", additional_headers={})
    with pytest.raises(InvalidStatus, match="403"):
        open_live(server, "rate=16000", origin="https://elsewhere.org")
    for query in ("rate=0", "rate=16000&window_s=90", "rate=16000&model=none"):
        with open_live(server, query) as socket:
            assert "error" in json.loads(socket.recv())
    with open_live(server, "rate=16000") as socket:
        socket.send(bytes((1 << 20) + 1))
        with pytest.raises(ConnectionClosed):
            socket.recv()
    with open_live(server, "rate=16000&format=f32") as socket:
        socket.send(np.full(4, np.nan, "<f4").tobytes())
        assert "NaN" in json.loads(socket.recv())["error"]
    with open_live(server, "rate=16000") as first, open_live(server, "rate=16000"):
        with open_live(server, "rate=16000") as third:
            assert "in use" in json.loads(third.recv())["error"]
        began = time.monotonic()
        assert json.loads(first.recv())["error"] == "no sound came for too long"
        assert time.monotonic() - began < 5
    deadline = time.monotonic() + 5  # an answer comes before its connection is counted as ended
    while server.counts()["audiomamba_live"] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.counts()["audiomamba_live"] == 0


def test_a_browser_may_send_the_token_as_a_protocol(server: Server, sound: np.ndarray) -> None:
    protocols = ["audiomamba", f"bearer.{server.token}"]
    with open_live(
        server, "rate=16000&format=s16", subprotocols=protocols, additional_headers={}
    ) as socket:
        assert socket.subprotocol == "audiomamba"
        socket.send(sound.tobytes())
        socket.send("end")
        assert json.loads(socket.recv())["tags"]
