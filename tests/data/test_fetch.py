import hashlib
import io
import tarfile
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from synthetic import lay_out

from audiomamba.data import CORPORA, download, open_manifest
from audiomamba.errors import DataError, DownloadError, UnknownNameError


class Server(ThreadingHTTPServer):
    """Serves one archive; may break off, or not know how to go on."""

    data = b""
    breaks_at: int | None = None
    ranges = True
    asked: list[str | None]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        start = int(wanted[6:-1]) if wanted and self.server.ranges else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(self.server.data) - start))
        self.end_headers()
        end, self.server.breaks_at = self.server.breaks_at, None
        self.wfile.write(self.server.data[start:end])

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def server():
    with Server(("127.0.0.1", 0), Handler) as found:
        found.asked = []
        thread = threading.Thread(target=found.serve_forever, args=(0.01,))
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture
def serve(server, monkeypatch):
    """Let the server have an archive as the published one of a corpus."""

    def put(corpus: str, data: bytes, **changes: object) -> None:
        server.data = data
        values = {
            "url": f"http://127.0.0.1:{server.server_port}/archive",
            "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        here = replace(CORPORA[corpus].download, **values | changes)
        monkeypatch.setitem(CORPORA, corpus, replace(CORPORA[corpus], download=here))

    return put


@pytest.fixture
def esc50_zip(tmp_path) -> bytes:
    """ESC-50 as a zip file with one folder at its top."""
    home = lay_out("esc50", tmp_path / "esc50")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(home.rglob("*")):
            archive.write(path, f"ESC-50-33c8ce9/{path.relative_to(home)}")
    return file.getvalue()


def make_tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


def test_a_zip_file_becomes_the_corpus(serve, esc50_zip, tmp_path):
    serve("esc50", esc50_zip)
    steps: list[tuple[int, int]] = []
    download("esc50", tmp_path / "out", progress=lambda *step: steps.append(step))
    assert len(open_manifest(tmp_path / "out", "esc50").clips) == 50
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["audio", "meta"]
    assert steps[-1] == (len(esc50_zip), len(esc50_zip))


def test_a_tar_file_becomes_the_corpus(serve, tmp_path):
    home = lay_out("speech_commands", tmp_path / "in")
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        archive.add(home, ".")
    serve("speech_commands", file.getvalue())
    download("speech_commands", tmp_path / "out")
    assert len(open_manifest(tmp_path / "out", "speech_commands").clips) == 140


def test_what_is_there_is_not_fetched_again(serve, server, esc50_zip, tmp_path):
    serve("esc50", esc50_zip)
    download("esc50", tmp_path / "out")
    download("esc50", tmp_path / "out")
    assert server.asked == [None]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_goes_on_where_it_stopped(serve, server, esc50_zip, tmp_path, ranges):
    serve("esc50", esc50_zip)
    server.breaks_at, server.ranges = 100_000, ranges
    with pytest.raises(
        DownloadError, match=f"goes on where this one stopped, at 100000 of {len(esc50_zip)}"
    ):
        download("esc50", tmp_path / "out")
    download("esc50", tmp_path / "out")
    assert server.asked == [None, "bytes=100000-"]
    assert len(open_manifest(tmp_path / "out", "esc50").clips) == 50


def test_another_archive_is_refused_and_deleted(serve, esc50_zip, tmp_path):
    serve("esc50", esc50_zip, sha256="0" * 64)
    with pytest.raises(DownloadError, match="not the published archive") as caught:
        download("esc50", tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_address_that_cannot_be_reached_is_one_line(monkeypatch, tmp_path):
    closed = replace(CORPORA["esc50"].download, url="http://127.0.0.1:9/archive")
    monkeypatch.setitem(CORPORA, "esc50", replace(CORPORA["esc50"], download=closed))
    with pytest.raises(DownloadError, match=r"^http://127.0.0.1:9/archive: cannot be fetched"):
        download("esc50", tmp_path / "out")


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "..\\evil.txt"])
def test_a_zip_member_that_leads_out_is_refused(serve, tmp_path, name):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("meta/esc50.csv", "")
        archive.writestr(name, "evil")
    serve("esc50", file.getvalue())
    with pytest.raises(DataError, match="leads out of the folder"):
        download("esc50", tmp_path / "out")
    assert not list(tmp_path.rglob("*evil.txt"))


def test_a_zip_member_that_is_a_link_is_refused(serve, tmp_path):
    link = zipfile.ZipInfo("meta")
    link.external_attr = 0o120777 << 16
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(link, str(tmp_path))
    serve("esc50", file.getvalue())
    with pytest.raises(DataError, match="leads out of the folder"):
        download("esc50", tmp_path / "out")


def test_a_tar_member_that_leads_out_is_refused(serve, tmp_path):
    link = tarfile.TarInfo("up")
    link.type, link.linkname = tarfile.SYMTYPE, "../.."
    for member in (tarfile.TarInfo("../evil.txt"), link):
        serve("speech_commands", make_tar((member, b"")))
        with pytest.raises(DataError, match="cannot be unpacked"):
            download("speech_commands", tmp_path / "out")
        assert not list(tmp_path.rglob("evil.txt"))
        (tmp_path / "out" / "speech_commands.part").unlink()


def test_other_corpora_cannot_be_fetched(tmp_path):
    with pytest.raises(UnknownNameError, match="unknown corpus to download 'audioset'"):
        download("audioset", tmp_path)
