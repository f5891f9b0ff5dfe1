from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from servers import RECORDINGS, Server

import audiomamba
from audiomamba.infer import Tagger

TOKEN = "a-token-of-the-tests"


class _Quiet(SimpleHTTPRequestHandler):
    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments, directory=str(RECORDINGS))

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def elsewhere() -> Iterator[str]:
    """Another server, HOST:PORT, from which recordings may be fetched."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Quiet) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, elsewhere: str) -> Iterator[Server]:
    """A server with one worker, a queue of 8, a token and low limits."""
    token = tmp_path_factory.mktemp("secret") / "token"
    token.write_text(TOKEN + "\n", "utf-8")
    limits = ("--max-mb", 64, "--max-seconds", 3600, "--idle", 1, "--workers", 1, "--live", 2)
    running = Server("general", *limits, "--token", token, "--allow-fetch", elsewhere, token=TOKEN)
    yield running
    assert running.process.poll() is None, "the server ended by itself"
    assert running.stop() == 0


@pytest.fixture(scope="session")
def general() -> Tagger:
    return audiomamba.load("general")


@pytest.fixture(scope="session")
def half_an_hour(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A recording that keeps a worker busy for seconds."""
    from servers import noise

    path: Path = noise(tmp_path_factory.mktemp("long") / "noise.wav", 1800)
    return path.read_bytes()
