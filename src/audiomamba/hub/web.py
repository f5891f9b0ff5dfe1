"""Fetching one file from the web: to its end, and unchanged, or not at all.

What is there of a file is kept as NAME.part, with what the server calls that version of it, until
it is complete. A download that was broken off goes on where it stopped if the server still has the
same version. Proxies are those of the environment.
"""

import http.client
import json
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import file_digest
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from audiomamba.atomic import write_json
from audiomamba.errors import ConfigError, DownloadError
from audiomamba.hub.address import LOOPBACK, WebAddress
from audiomamba.hub.network import is_offline, progress

__all__ = ["fetch_from_web"]

BLOCK_BYTES = 1 << 20
LARGEST_BYTES = 8 << 30  # of a file whose size is not known
TIMEOUT_S = 30
PAUSES_S = (1, 2, 4, 8)  # before trying again
NETWORK_ERRORS = (
    URLError,
    http.client.HTTPException,
    TimeoutError,
    ConnectionError,
    ssl.SSLError,
)
PASSING = {408, 425, 429, 500, 502, 503, 504}  # answers that may be another next time


@dataclass
class _Part:
    """What is there of a file.

    Args:
        path: where it is.
        version: what the server calls the version that it is of; empty if it has no name.
    """

    path: Path
    version: str = ""

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def note(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def load(self) -> None:
        """Read which version it is of; without one it cannot go on."""
        with suppress(OSError, ValueError):
            self.version = str(json.loads(self.note.read_text("utf-8"))["version"])
        if not self.version:
            self.path.unlink(missing_ok=True)

    def begin(self, version: str) -> None:
        """Begin anew with a version."""
        self.path.unlink(missing_ok=True)
        self.version = version
        write_json(self.note, {"version": version})

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


class _SafeRedirects(HTTPRedirectHandler):
    """Follows a server to another address only if that is as safe as the first."""

    def redirect_request(self, *arguments: Any) -> Request | None:
        """Make the request for the new address."""
        request, newurl = arguments[0], arguments[-1]
        old, new = urlsplit(request.full_url), urlsplit(newurl)
        stays_here = new.scheme == "http" == old.scheme and new.hostname in LOOPBACK
        if new.scheme != "https" and not stays_here:
            raise DownloadError(
                f"{request.full_url} leads to {newurl}, which is not encrypted; nothing was fetched"
            )
        return super().redirect_request(*arguments)


def fetch_from_web(address: WebAddress, folder: Path) -> tuple[Path, str]:
    """Fetch a file.

    Nobody else may fetch into the folder meanwhile.

    Args:
        address: where it is, and what is known of it.
        folder: where to; it is made.

    Returns:
        The file, and its SHA-256.

    Raises:
        ConfigError: there is no such file.
        DownloadError: the network may not be used or does not work, the file cannot be written, or
            what came is not what was published.

    Examples:
        >>> from audiomamba.hub import without_network
        >>> with without_network():
        ...     fetch_from_web(WebAddress(url="https://host/aum.pth"), Path("downloads"))
        Traceback (most recent call last):
        audiomamba.errors.DownloadError: https://host/aum.pth is not in the cache, and this call ...
    """
    if is_offline():
        raise DownloadError(f"{address} is not in the cache, and this call may use no network")
    part = _Part(folder / f"{address.file}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part.load()
        _fetch(address, part)
        digest = _check(address, part)
        part.path.replace(folder / address.file)
        part.delete()
    except OSError as error:
        raise DownloadError(f"{part.path} cannot be written: {_reason(error)}") from error
    return folder / address.file, digest


def _fetch(address: WebAddress, part: _Part) -> None:
    """Fetch what is not there yet, in several attempts."""
    for pause_s in (*PAUSES_S, None):
        try:
            if _attempt(address, part):
                return
            reason = "the connection ended early"
        except HTTPError as error:
            error.close()
            reason = f"{error.code} {error.reason}"
            if error.code not in PASSING:
                raise _refused(address, error.code, reason) from None
        except NETWORK_ERRORS as error:
            reason = _reason(error)
        if pause_s is None:
            raise DownloadError(
                f"{address} cannot be fetched ({reason}); the same call goes on where this one "
                f"stopped, at {part.size:,} bytes"
            )
        time.sleep(pause_s)


def _attempt(address: WebAddress, part: _Part) -> bool:
    """Fetch what is not there yet; whether the file is complete."""
    headers = {"Accept-Encoding": "identity"}
    if part.size:
        headers |= {"Range": f"bytes={part.size}-", "If-Range": part.version}
    try:
        answer = build_opener(_SafeRedirects).open(
            Request(address.url, headers=headers), timeout=TIMEOUT_S
        )
    except HTTPError as error:
        if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        error.close()
        part.delete()  # more than the file has
        return False
    with answer:
        if answer.status != HTTPStatus.PARTIAL_CONTENT:
            part.begin(_version(answer.headers))
        length = answer.headers.get("Content-Length")
        total = None if length is None else part.size + int(length)
        _refuse_size(address, total or 0)
        with part.path.open("ab", buffering=0) as file:
            _copy(answer, file, address, total)
    return total is None or part.size == total


def _copy(
    answer: http.client.HTTPResponse, file: IO[bytes], address: WebAddress, total: int | None
) -> None:
    """Write what comes, as long as it is not too much."""
    while block := answer.read1(BLOCK_BYTES):
        file.write(block)
        _refuse_size(address, file.tell())
        progress(file.tell(), total or address.size or 0)


def _version(headers: Mapping[str, str]) -> str:
    """What a server calls a version of a file, if that tells it from any other."""
    tag = headers.get("ETag", "")
    return headers.get("Last-Modified", "") if tag.startswith("W/") else tag


def _refuse_size(address: WebAddress, size: int) -> None:
    largest = LARGEST_BYTES if address.size is None else address.size
    if size > largest:
        raise DownloadError(
            f"{address} has {size:,} bytes or more; expected {'' if address.size else 'at most '}"
            f"{largest:,}; nothing of it is used"
        )


def _check(address: WebAddress, part: _Part) -> str:
    """Refuse a file that is not the published one; else give its hash."""
    with part.path.open("rb") as file:
        found = file_digest(file, "sha256").hexdigest()
    if address.sha256 is not None and found != address.sha256:
        size = part.size
        part.delete()
        raise DownloadError(
            f"{address} is not the published file: {size:,} bytes with SHA-256 {found}, expected "
            f"{address.sha256}; what was fetched is deleted"
        )
    return found


def _refused(address: WebAddress, code: int, reason: str) -> ConfigError | DownloadError:
    if code in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return ConfigError(f"{address}: no such file there ({reason}); check the address")
    return DownloadError(f"{address}: the server refuses it ({reason})")


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return getattr(reason, "strerror", None) or str(reason) or type(error).__name__
