"""One file from the web, with a server on this machine."""

import hashlib
import os
import time
from pathlib import Path

import pytest
from loopback import Hub, Start

import audiomamba
from audiomamba import checkpoints, hub
from audiomamba.errors import CheckpointError, ConfigError, DownloadError
from audiomamba.hub import WebAddress, fetch_from_web, web

DATA = bytes(range(256)) * 400


@pytest.fixture
def address(server: Hub) -> WebAddress:
    server.files["a.pth"] = DATA
    return WebAddress(url=f"{server.url}/files/a.pth")


def names(folder: Path) -> list[str]:
    return sorted(it.name for it in folder.iterdir())


def test_a_file_comes_whole(address: WebAddress, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    with hub.reporting(lambda done, total: told.append((done, total))):
        file, digest = fetch_from_web(address, tmp_path / "to")

    assert file.read_bytes() == DATA
    assert digest == hashlib.sha256(DATA).hexdigest()
    assert names(tmp_path / "to") == ["a.pth"]
    assert told[-1] == (len(DATA), len(DATA))


def test_a_connection_that_ends_early_goes_on_where_it_stopped(
    address: WebAddress, server: Hub, tmp_path: Path
) -> None:
    server.cut["a.pth"] = 2

    file, _ = fetch_from_web(address, tmp_path / "to")

    assert file.read_bytes() == DATA
    begins = [ask for verb, _, ask in server.asked if verb == "GET"]
    assert begins == ["", f"bytes={len(DATA) // 2}-", f"bytes={len(DATA) * 3 // 4}-"]


def test_one_that_always_ends_early_is_an_error_and_goes_on_next_time(
    address: WebAddress, server: Hub, tmp_path: Path
) -> None:
    server.cut["a.pth"] = 3
    with pytest.raises(DownloadError, match="the same call goes on where this one stopped, at 89"):
        fetch_from_web(address, tmp_path / "to")
    assert names(tmp_path / "to") == ["a.pth.part", "a.pth.part.json"]

    file, _ = fetch_from_web(address, tmp_path / "to")

    assert file.read_bytes() == DATA
    assert server.asked[-1][2] == "bytes=89600-"


def test_another_version_of_the_file_is_fetched_from_its_beginning(
    address: WebAddress, server: Hub, tmp_path: Path
) -> None:
    server.cut["a.pth"] = 3
    with pytest.raises(DownloadError):
        fetch_from_web(address, tmp_path / "to")
    server.files["a.pth"] = DATA[::-1]

    file, _ = fetch_from_web(address, tmp_path / "to")

    assert file.read_bytes() == DATA[::-1]


def test_a_changed_byte_is_refused_by_name(
    address: WebAddress, server: Hub, tmp_path: Path
) -> None:
    known = WebAddress(url=address.url, sha256=hashlib.sha256(DATA).hexdigest(), size=len(DATA))
    server.sent["a.pth"] = b"x" + DATA[1:]

    with pytest.raises(DownloadError, match=r"a\.pth is not the published file: 102,400 b"):
        fetch_from_web(known, tmp_path / "to")

    assert names(tmp_path / "to") == []


@pytest.mark.parametrize("size", [100, None])
def test_more_than_there_should_be_is_refused_before_it_is_read(
    address: WebAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int | None
) -> None:
    monkeypatch.setattr(web, "LARGEST_BYTES", 1_000)

    with pytest.raises(DownloadError, match="has 102,400 bytes or more; expected"):
        fetch_from_web(WebAddress(url=address.url, size=size), tmp_path / "to")

    assert "a.pth" not in names(tmp_path / "to")


@pytest.mark.parametrize(
    "target", ["ftp://127.0.0.1/a.pth", "file:///etc/hostname", "http://a.b/c"]
)
def test_a_way_that_leads_elsewhere_is_refused(server: Hub, tmp_path: Path, target: str) -> None:
    server.moved["b.pth"] = target

    with pytest.raises(DownloadError, match=r"leads to|the server refuses it"):
        fetch_from_web(WebAddress(url=f"{server.url}/files/b.pth"), tmp_path / "to")


def test_a_way_that_is_as_safe_is_followed(
    address: WebAddress, server: Hub, tmp_path: Path
) -> None:
    server.moved["b.pth"] = address.url

    file, _ = fetch_from_web(WebAddress(url=f"{server.url}/files/b.pth"), tmp_path / "to")

    assert file.read_bytes() == DATA


def test_a_proxy_of_the_environment_is_used(
    address: WebAddress, server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server.asked.clear()

    with pytest.raises(DownloadError, match="Connection refused"):
        fetch_from_web(address, tmp_path / "to")

    assert server.asked == []


def test_what_is_not_there_and_no_network_are_one_line(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = WebAddress(url=f"{server.url}/files/nothing.pth")
    with pytest.raises(ConfigError, match="no such file there"):
        fetch_from_web(nothing, tmp_path / "to")
    monkeypatch.setenv("HF_HUB_OFFLINE", "true")
    with pytest.raises(DownloadError, match="is not in the cache, and this call may use no"):
        fetch_from_web(nothing, tmp_path / "to")


def test_a_model_is_loaded_by_its_address_and_only_the_folder_is_kept(
    server: Hub, aum_file: Path
) -> None:
    server.files["aum.pth"] = aum_file.read_bytes()
    url = f"{server.url}/files/aum.pth"

    tagger = audiomamba.load(url)
    server.files.clear()

    assert len(audiomamba.load(url).labels) == len(tagger.labels) == 35
    assert checkpoints.load(checkpoints.find(url)).notes["address"] == url
    assert list((hub.cache_folder() / "files").iterdir()) == []
    ((entry, size),) = hub.list_cache()
    assert (entry.address, size > 10_000) == (url, True)


def test_a_page_instead_of_a_file_is_no_model(server: Hub) -> None:
    server.files["aum.pth"] = b"<html>please log in</html>"

    with pytest.raises(CheckpointError, match=r"aum\.pth: refused, because it is no plain file"):
        checkpoints.find(f"{server.url}/files/aum.pth")


def test_a_process_that_is_killed_in_the_middle_is_gone_on_with(
    server: Hub, aum_file: Path, start: Start
) -> None:
    server.files["aum.pth"] = aum_file.read_bytes()
    server.slow.add("aum.pth")
    url = f"{server.url}/files/aum.pth"
    process = start(f"import audiomamba; audiomamba.checkpoints.find({url!r})")
    files = hub.cache_folder() / "files"
    deadline = time.monotonic() + 60
    while not any(it.stat().st_size for it in files.glob("*/aum.pth.part")):
        assert time.monotonic() < deadline, process.poll()
        time.sleep(0.01)
    process.kill()
    process.communicate()
    server.slow.clear()
    server.asked.clear()

    assert len(audiomamba.load(url).labels) == 35

    assert [bool(ask) for _, _, ask in server.asked] == [True]


def test_the_cache_is_where_the_platform_has_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AUDIOMAMBA_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert hub.cache_folder() == tmp_path / "audiomamba"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert hub.cache_folder() == Path.home() / ".cache" / "audiomamba"
    monkeypatch.setattr("sys.platform", "darwin")
    assert hub.cache_folder() == Path.home() / "Library" / "Caches" / "audiomamba"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setitem(os.environ, "LOCALAPPDATA", str(tmp_path))
    assert hub.cache_folder() == tmp_path / "audiomamba"
