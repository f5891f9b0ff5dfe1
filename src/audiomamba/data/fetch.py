"""Corpora that may be fetched from where their authors put them."""

import hashlib
import http.client
import shutil
import tarfile
import urllib.request
import zipfile
from pathlib import Path, PurePosixPath
from urllib.error import URLError

from audiomamba.data.corpora import CORPORA, get_corpus
from audiomamba.data.corpus import Corpus, Download
from audiomamba.errors import DataError, DownloadError, UnknownNameError
from audiomamba.outputs import sole_writer, writing
from audiomamba.progress import Progress

__all__ = ["download"]

BLOCK_BYTES = 1 << 20
TIMEOUT_S = 60
SYMLINK = 0o120000  # the kind of file in the upper bits of a zip member's attributes
KIND = 0o170000


def download(corpus: str, out: Path, *, progress: Progress | None = None) -> Corpus:
    """Fetch a corpus, check it, and unpack it.

    A download that was interrupted goes on where it stopped; a corpus that is there already is left
    alone.

    Args:
        corpus: one of CORPORA that says where it may be fetched.
        out: the folder that becomes the corpus's; it is made.
        progress: called with the number of bytes that are there, and of all.

    Returns:
        What is known of the corpus, such as its license.

    Raises:
        UnknownNameError: the corpus cannot be fetched.
        DownloadError: the address cannot be reached, or something else came.
        DataError: the archive is damaged, or leads out of the folder.
        ConfigError: out cannot be written, or is being written by another call.

    Examples:
        >>> download("audioset", Path("audioset"))
        Traceback (most recent call last):
        audiomamba.errors.UnknownNameError: ...
    """
    known = get_corpus(corpus)
    source = known.download
    if source is None:
        fetched = [one.name for one in CORPORA.values() if one.download]
        raise UnknownNameError("corpus to download", corpus, fetched)
    if not (out / source.table).is_file():
        with sole_writer(out), writing(out):
            _get(source, out, out / f"{known.name}.part", progress)
    return known


def _get(source: Download, out: Path, archive: Path, progress: Progress | None) -> None:
    """Fetch what is missing of an archive, and unpack it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if _size(archive) > source.size:
            archive.unlink()
        if _size(archive) < source.size:
            _fetch(source, archive, progress)
        _check(source, archive)
        _unpack(archive, out, source.table)
        archive.unlink()
    except (URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise DownloadError(
            f"{source.url}: cannot be fetched ({reason}); the same call goes on where this one "
            f"stopped, at {_size(archive)} of {source.size} bytes"
        ) from error


def _size(path: Path) -> int:
    """Bytes of a file, 0 if it is not there."""
    return path.stat().st_size if path.exists() else 0


def _fetch(source: Download, archive: Path, progress: Progress | None) -> None:
    """Fetch what is not there yet."""
    headers = {"Range": f"bytes={_size(archive)}-"} if _size(archive) else {}
    request = urllib.request.Request(source.url, headers=headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        goes_on = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        with archive.open("ab" if goes_on else "wb") as file:
            while block := answer.read(BLOCK_BYTES):
                file.write(block)
                if progress is not None:
                    progress(file.tell(), source.size)
    if _size(archive) < source.size:
        raise ConnectionError("the connection ended early")


def _check(source: Download, archive: Path) -> None:
    """Refuse an archive that is not the published one."""
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if _size(archive) != source.size or found != source.sha256:
        size = _size(archive)
        archive.unlink()
        raise DownloadError(
            f"{source.url}: not the published archive, {size} bytes with SHA-256 {found}; expected "
            f"{source.size} bytes with {source.sha256}; what was fetched is deleted"
        )


def _unpack(archive: Path, out: Path, table: str) -> None:
    """Unpack an archive beside what is there, then put it into place, the table last."""
    unpacked = out / "unpacked.part"
    shutil.rmtree(unpacked, ignore_errors=True)
    try:
        if zipfile.is_zipfile(archive):
            _unzip(archive, unpacked)
        else:
            with tarfile.open(archive) as tar:
                tar.extractall(unpacked, filter="data")
    except (tarfile.TarError, zipfile.BadZipFile) as error:
        shutil.rmtree(unpacked, ignore_errors=True)
        raise DataError(f"{archive}: cannot be unpacked: {error}") from error
    home = next(
        (path for path in (unpacked, *unpacked.iterdir()) if (path / table).is_file()), None
    )
    if home is None:
        raise DataError(f"{archive}: has no {table} in it")
    last = PurePosixPath(table).parts[0]
    for path in sorted(home.iterdir(), key=lambda path: path.name == last):
        target = out / path.name
        shutil.rmtree(target, ignore_errors=True)
        path.replace(target)
    shutil.rmtree(unpacked)


def _unzip(archive: Path, unpacked: Path) -> None:
    """Unpack a zip file whose members all stay inside the folder."""
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            path = PurePosixPath(member.filename.replace("\\", "/"))
            leads_out = path.is_absolute() or ".." in path.parts or ":" in member.filename
            if leads_out or (member.external_attr >> 16) & KIND == SYMLINK:
                raise zipfile.BadZipFile(f"the member {member.filename!r} leads out of the folder")
        file.extractall(unpacked)
