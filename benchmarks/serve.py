"""Keep a server busy for minutes: answers and seconds of sound in a second, latency, memory.

    python benchmarks/serve.py --seconds 600 --clients 4 --out benchmarks/results/serve.json

Every client sends the recordings of demo/recordings one after the other, each as soon as the last
is answered, and comes again where the queue is full.
"""

import argparse
import http.client
import json
import os
import platform
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

RECORDINGS = Path(__file__).parents[1] / "demo" / "recordings"
SUFFIXES = {".wav", ".ogg", ".mp3", ".flac"}


class Client(threading.Thread):
    """Asks without a pause until the time is over."""

    def __init__(self, port: int, sounds: list[bytes], until_s: float) -> None:
        super().__init__()
        self.port, self.sounds, self.until_s = port, sounds, until_s
        self.latencies_s: list[float] = []
        self.sound_s = 0.0
        self.n_refused = self.n_wrong = 0

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        count = 0
        while time.monotonic() < self.until_s:
            began_s = time.monotonic()
            connection.request("POST", "/v1/tag", self.sounds[count % len(self.sounds)])
            answer = connection.getresponse()
            body = answer.read()
            if answer.status == 200:
                self.latencies_s.append(time.monotonic() - began_s)
                self.sound_s += json.loads(body)["seconds"]
                count += 1
            elif answer.status == 503:
                self.n_refused += 1
                time.sleep(0.1)
            else:
                self.n_wrong += 1
        connection.close()


def memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1000


def processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    files = sorted(path for path in RECORDINGS.iterdir() if path.suffix in SUFFIXES)
    sounds = [path.read_bytes() for path in files]
    command = [sys.executable, "-m", "audiomamba", "serve", "--port", "0"]
    command += ["--workers", str(asked.workers)]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    port = int(re.search(r":(\d+)$", server.stderr.readline())[1])
    warm = Client(port, sounds, time.monotonic() + 10)
    warm.run()
    start_mb, start_s = memory_mb(server.pid), processor_s(server.pid)
    began_s = time.monotonic()
    loads = [os.getloadavg()[0]]
    clients = [Client(port, sounds, began_s + asked.seconds) for _ in range(asked.clients)]
    for client in clients:
        client.start()
    while any(client.is_alive() for client in clients):
        time.sleep(1)
        loads.append(os.getloadavg()[0])
    took_s = time.monotonic() - began_s
    latencies_s = [one for client in clients for one in client.latencies_s]
    sound_s = sum(client.sound_s for client in clients)
    used_s = processor_s(server.pid) - start_s
    record = {
        "model": "general",
        "recordings": f"{len(files)} of demo/recordings",
        "seconds": round(took_s, 1),
        "clients": asked.clients,
        "workers": asked.workers,
        "cores": os.cpu_count(),
        "load_average": round(sum(loads) / len(loads), 1),
        "answers": len(latencies_s),
        "refused": sum(client.n_refused for client in clients),
        "wrong": sum(client.n_wrong for client in clients),
        "answers_per_s": round(len(latencies_s) / took_s, 2),
        "sound_s_per_s": round(sound_s / took_s, 1),
        "sound_s_per_processor_s": round(sound_s / used_s, 1),
        "p50_ms": round(1000 * quantile(latencies_s, 0.5), 1),
        "p99_ms": round(1000 * quantile(latencies_s, 0.99), 1),
        "memory_start_mb": round(start_mb, 1),
        "memory_end_mb": round(memory_mb(server.pid), 1),
        "python": platform.python_version(),
    }
    server.terminate()
    record["exit_code"] = server.wait(60)
    asked.out.write_text(json.dumps(record, indent=2) + "\n", "utf-8")
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
