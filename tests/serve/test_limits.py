"""What is not allowed is refused before it costs anything."""

import http.client
import random
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from servers import RECORDINGS, Server, encoded, noise

LIMIT = 64_000_000


def in_chunks(n_bytes: int) -> Iterator[bytes]:
    block = bytes(1 << 16)
    while n_bytes > 0:
        yield block[:n_bytes]
        n_bytes -= len(block)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_one_byte_too_many_is_refused_and_takes_no_memory(
    server: Server, chunked: bool
) -> None:
    server.post("/v1/tag", (RECORDINGS / "dog.ogg").read_bytes())
    before = server.memory_mb()

    body = in_chunks(LIMIT + 1) if chunked else bytes(LIMIT + 1)
    answer = server.post("/v1/tag", body)

    assert answer.status == 413
    assert answer.json() == {"error": "the body is too large; expected at most 64 MB"}
    assert server.memory_mb("VmHWM") - before < 32
    wait_for(lambda: server.counts()["audiomamba_spooled_bytes"] == 0, 5)


def test_a_length_that_is_too_large_is_refused_before_the_body_comes(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(
            b"POST /v1/tag HTTP/1.1\r\nhost: a\r\nauthorization: Bearer "
            + f"{server.token}\r\ncontent-length: {LIMIT + 1}\r\n\r\n".encode()
        )
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")


def silent_flac(path: Path, minutes: int) -> bytes:
    with soundfile.SoundFile(path, "w", 16_000, 1) as file:
        for _ in range(minutes):
            file.write(np.zeros(60 * 16_000, np.float32))
    assert path.stat().st_size < 200_000
    return path.read_bytes()


def without_length(flac: bytes) -> bytes:
    """As an encoder writes it into a pipe, so that it has to be decoded to be measured."""
    return flac[:21] + bytes([flac[21] & 0xF0, 0, 0, 0, 0]) + flac[26:]


def check_too_long(server: Server, sound: bytes, limit_s: int) -> None:
    server.get("/health")
    before, began = server.memory_mb(), time.monotonic()
    answer = server.post("/v1/tag", sound)
    took_s = time.monotonic() - began

    assert answer.status == 413
    assert f"too long; expected at most {limit_s} s" in answer.json()["error"]
    assert took_s < 1
    assert server.memory_mb() - before < 8


def test_an_hour_of_silence_in_a_small_file_is_refused_at_once(
    server: Server, tmp_path: Path
) -> None:
    check_too_long(server, silent_flac(tmp_path / "a.flac", 61), 3600)


def test_ten_minutes_of_silence_are_refused_at_once_also_without_their_length(
    tmp_path: Path,
) -> None:
    silence = silent_flac(tmp_path / "a.flac", 10)
    strict = Server("general", "--max-seconds", 300)
    sound = (RECORDINGS / "dog.ogg").read_bytes()
    try:
        wait_for(lambda: strict.get("/ready").status == 200, 60)
        assert strict.post("/v1/tag", sound).status == 200
        check_too_long(strict, silence, 300)
        check_too_long(strict, without_length(silence), 300)
    finally:
        assert strict.stop() == 0


def test_channels_and_rates_are_bounded(server: Server, tmp_path: Path) -> None:
    many = noise(tmp_path / "many.wav", 0.1, channels=17)
    fast = noise(tmp_path / "fast.wav", 0.1, rate=500_000)

    for path in (many, fast):
        answer = server.post("/v1/tag", path.read_bytes())
        assert answer.status == 422
        assert "expected at most 16 at 400000 Hz" in answer.json()["error"]


def mutated(sound: bytes, rng: random.Random) -> bytes:
    """A file that is cut, or has bytes that are changed, taken out or put in."""
    changed = bytearray(sound[: rng.randrange(1, len(sound))] if rng.random() < 0.3 else sound)
    for _ in range(rng.choice((1, 3, 30, 300))):
        at = rng.randrange(len(changed) if rng.random() < 0.5 else min(200, len(changed)))
        kind = rng.randrange(3)
        if kind == 0:
            changed[at] = rng.randrange(256)
        elif kind == 1:
            changed[at:at] = rng.randbytes(rng.randrange(1, 20))
        elif len(changed) > 40:
            del changed[at : at + rng.randrange(1, 20)]
    return bytes(changed)


@pytest.mark.parametrize("n_files", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_damaged_files_of_six_formats_are_answered(
    server: Server, n_files: int, tmp_path: Path
) -> None:
    rooster = RECORDINGS / "rooster.wav"
    paths = [
        rooster,
        RECORDINGS / "guitar.flac",
        RECORDINGS / "dog.ogg",
        RECORDINGS / "cat.mp3",
        encoded(tmp_path / "a.m4a", "aac", rooster),
        encoded(tmp_path / "b.webm", "opus", rooster),
    ]
    sounds = [path.read_bytes() for path in paths]
    rng = random.Random(n_files)

    statuses = [
        server.post("/v1/tag", mutated(sounds[index % len(sounds)], rng)).status
        for index in range(n_files)
    ]

    assert {status // 100 for status in statuses} <= {2, 4}
    assert statuses.count(200) > n_files // 20
    assert statuses.count(422) > n_files // 20
    assert server.post("/v1/tag", sounds[0]).status == 200


def test_clients_that_are_too_slow_are_cut(server: Server) -> None:
    head = f"POST /v1/tag HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {server.token}\r\n".encode()
    body = head + b"content-length: 1000\r\n\r\n"
    for sent, wanted in ((b"", b""), (head, b""), (body, b"HTTP/1.1 408 ")):
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            client.sendall(sent)
            received = b""
            try:
                while time.monotonic() < began + 8:
                    client.settimeout(0.3)
                    try:
                        if sent:
                            client.sendall(b"x")  # a byte now and then does not help
                        part = client.recv(1000)
                    except TimeoutError:
                        continue
                    if not part:
                        break
                    received += part
            except ConnectionError:
                pass
        assert time.monotonic() - began < 7
        assert received[: len(wanted)] == wanted


def test_a_full_queue_refuses_and_loses_nothing(server: Server) -> None:
    sound = (RECORDINGS / "rain.ogg").read_bytes()
    before = server.counts()

    with ThreadPoolExecutor(32) as clients:
        answers = list(clients.map(lambda _: server.post("/v1/tag", sound), range(32)))

    statuses = [answer.status for answer in answers]
    counts = server.counts()

    def added(name: str) -> float:
        return counts.get(name, 0) - before.get(name, 0)

    assert set(statuses) == {200, 503}
    assert all(
        int(answer.headers["retry-after"]) >= 1 for answer in answers if answer.status == 503
    )
    for status in (200, 503):
        name = f'audiomamba_requests_total{{route="/v1/tag",status="{status}"}}'
        assert added(name) == statuses.count(status)
    assert added('audiomamba_rejected_total{reason="queue"}') == statuses.count(503)
    assert added('audiomamba_step_seconds_count{step="work"}') == statuses.count(200)
    assert counts["audiomamba_queue_waiting"] == counts["audiomamba_at_work"] == 0
    bodies = {answer.body for answer in answers if answer.status == 200}
    assert len(bodies) == 1


def test_a_client_that_leaves_stops_its_work(server: Server, half_an_hour: bytes) -> None:
    name = 'audiomamba_requests_total{route="/v1/timeline",status="499"}'
    before = server.counts().get(name, 0)
    connection = server.connect()
    connection.request(
        "POST", "/v1/timeline", half_an_hour, {"authorization": f"Bearer {server.token}"}
    )
    wait_for(lambda: server.counts()["audiomamba_at_work"] == 1, 5)
    connection.close()

    wait_for(lambda: server.counts()["audiomamba_at_work"] == 0, 3)
    assert server.counts()[name] == before + 1


def wait_for(happened: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def test_pages_of_other_sites_and_callers_without_the_token_are_refused(server: Server) -> None:
    sound = (RECORDINGS / "dog.ogg").read_bytes()

    own = f"http://127.0.0.1:{server.port}"
    assert server.ask("POST", "/v1/tag", sound, {"origin": own}).status == 200
    for origin in ("https://elsewhere.org", "null", "http://127.0.0.1:1"):
        assert server.ask("POST", "/v1/tag", sound, {"origin": origin}).status == 403
    for header in (
        "",
        "Bearer",
        "Bearer wrong",
        f"Basic {server.token}",
        f"Bearer {server.token}x",
    ):
        answer = server.ask("POST", "/v1/tag", sound, {"authorization": header})
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert server.ask("GET", "/metrics", headers={"authorization": ""}).status == 401
    assert server.ask("GET", "/health", headers={"authorization": ""}).status == 200
    answer = server.get("/health")
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    assert "access-control-allow-origin" not in answer.headers


def test_an_open_server_warns_keeps_its_time_limit_and_finishes_its_work(
    half_an_hour: bytes, tmp_path: Path
) -> None:
    minutes = noise(tmp_path / "minutes.wav", 120).read_bytes()
    server = Server(
        *("--host", "0.0.0.0", "--time-limit", 4, "--workers", 1),
        *("--allow-origin", "https://my.site"),
    )
    try:
        assert server.lines[0].startswith("audiomamba: warning: everybody who can reach")
        for origin, allowed in (
            ("https://my.site", "https://my.site"),
            ("https://other.site", None),
        ):
            asked = {"origin": origin, "access-control-request-method": "POST"}
            preflight = server.ask("OPTIONS", "/v1/tag", headers=asked)
            assert preflight.headers.get("access-control-allow-origin") == allowed

        answer = server.post("/v1/timeline", half_an_hour)
        assert answer.status == 504
        assert "takes longer than a request may" in answer.json()["error"]
        wait_for(lambda: server.counts()["audiomamba_at_work"] == 0, 3)

        connection = server.connect()
        connection.request("POST", "/v1/timeline", minutes)
        wait_for(lambda: server.counts()["audiomamba_at_work"] == 1, 5)
        server.process.terminate()
        answered = connection.getresponse()

        assert answered.status == 200
        assert b'"seconds": 120.0' in answered.read()
        connection.close()
        assert server.process.wait(10) == 0
        with pytest.raises((ConnectionRefusedError, http.client.RemoteDisconnected)):
            server.get("/health")
    finally:
        server.stop()
