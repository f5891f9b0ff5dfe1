"""Files whose header says less than there is: wav, w64, aiff, caf and au.

Sizes of 32 bits are wrapped round where there is more than 4 GiB; and a program that was killed
while recording leaves the sizes of the last time that it wrote the header, or none. What follows
the samples then is no chunk, but more samples.
"""

import io
import os
from dataclasses import dataclass
from typing import BinaryIO, Literal

from audiomamba.audio.long_headers import caf_header, rf64_header

__all__ = ["LEAST_LEFT", "FilePart", "more_samples_follow", "without_sizes"]

LEAST_LEFT = 4096  # bytes after the samples that may be anything, such as a tag
MOST_PADDING = 1 << 20  # zero bytes after them that are no silence
TAGS = (b"ID3", b"TAG", b"APETAGEX")
UNKNOWN = b"\xff\xff\xff\xff"
MOST_CHUNKS = 10_000
LONGEST_FORMAT = 1 << 10  # bytes
MOST_BYTES = (1 << 32) - 1  # that sizes of 32 bits can tell


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a file is made of chunks, each with a name of four bytes, its size, and what it holds.

    Args:
        samples: name of the chunk with the samples.
        order: of the bytes of a size.
        n_bytes: of a size.
        first: where the first chunk begins.
        n_name: bytes of a name, of which the first four are looked at.
        whole: whether a size is that of the whole chunk, with its name and its size.
        even: what a chunk's length is a multiple of.
    """

    samples: bytes = b"data"
    order: Literal["little", "big"] = "little"
    n_bytes: int = 4
    first: int = 12
    n_name: int = 4
    whole: bool = False
    even: int = 2

    @property
    def n_head(self) -> int:
        """Bytes of a chunk before what it holds."""
        return self.n_name + self.n_bytes

    def size(self, head: bytes) -> int:
        """How many bytes a chunk holds, by its first n_head bytes."""
        size = int.from_bytes(head[self.n_name :], self.order)
        return max(0, size - self.n_head) if self.whole else size

    def size_bytes(self, n_held: int) -> bytes:
        """The size in the head of a chunk that holds so many bytes, or an unknown one."""
        if self.n_bytes == 4:
            return UNKNOWN
        n_counted = n_held + self.n_head if self.whole else n_held
        return n_counted.to_bytes(self.n_bytes, self.order)

    def after(self, at: int, size: int) -> int:
        """Where the next chunk begins."""
        return at + self.n_head + size + -size % self.even


LAYOUTS = {
    b"RIFF": _Layout(),
    b"RF64": _Layout(),
    b"BW64": _Layout(),
    b"RIFX": _Layout(order="big"),
    b"FORM": _Layout(samples=b"SSND", order="big"),
    b"caff": _Layout(order="big", n_bytes=8, first=8, even=1),
    b"riff": _Layout(n_bytes=8, first=40, n_name=16, whole=True, even=8),
}


class FilePart(io.RawIOBase):
    """A part of a file, read as a file, with other bytes before it or in it.

    Args:
        file: seekable.
        start: the part's first byte.
        end: the byte after its last; None for the end of the file.
        before: bytes that come before those of the part.
        changes: bytes that stand at places of the file in place of its own.

    Attribute error is what went wrong while it was read, which libsndfile does not pass on.

    Examples:
        >>> FilePart(io.BytesIO(b"abcdef"), 2, 5, changes={3: b"D"}).read()
        b'cDe'
    """

    def __init__(
        self,
        file: BinaryIO,
        start: int = 0,
        end: int | None = None,
        before: bytes = b"",
        changes: dict[int, bytes] | None = None,
    ) -> None:
        self._file, self._before, self._changes = file, before, changes or {}
        self._start = start - len(before)  # where the part would begin in the file, with them
        self._end = file.seek(0, os.SEEK_END) if end is None else end
        self._at = self._start
        self.error: OSError | None = None

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be read from any position."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position, counted from the part's beginning, the last position, or its end."""
        origin = {os.SEEK_SET: self._start, os.SEEK_CUR: self._at, os.SEEK_END: self._end}[whence]
        self._at = max(self._start, origin + offset)
        return self._at - self._start

    def tell(self) -> int:
        """Return the position reached, counted from the part's beginning."""
        return self._at - self._start

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        """Read what comes next."""
        view = memoryview(buffer).cast("B")
        n_wanted = max(0, min(len(view), self._end - self._at))
        data = self._before[self.tell() : self.tell() + n_wanted]
        try:
            if n_wanted and not data:
                self._file.seek(self._at)
                data = self._file.read(n_wanted)
        except OSError as error:
            self.error = error
        view[: len(data)] = data
        for position, new in self._changes.items():
            for index, byte in enumerate(new, start=position - self._at):
                if 0 <= index < len(data):
                    view[index] = byte
        self._at += len(data)
        return len(data)


def without_sizes(file: BinaryIO) -> FilePart | None:
    r"""Find out if there are samples beyond those that a header speaks of.

    Args:
        file: seekable; it is left at its beginning.

    Returns:
        The file with a header that says nothing of its size, if there are; else None.

    Raises:
        AudioError: there are more than 4 GiB, in a coding that only its own header can describe.

    Examples:
        >>> from pathlib import Path
        >>> data = Path("my-clips/dog/1.wav").read_bytes()  # 8000 samples of 16 bits
        >>> without_sizes(io.BytesIO(data))
        >>> part = without_sizes(io.BytesIO(data[:40] + bytes(4) + data[44:]))
        >>> part.read()[40:44]
        b'\xff\xff\xff\xff'
    """
    file.seek(0)
    head = file.read(12)
    try:
        if head[:4] == b".snd":
            return _au_without_size(file, head)
        layout = LAYOUTS.get(head[:4])
        return None if layout is None else _without_sizes(file, head[:4], layout)
    finally:
        file.seek(0)


def more_samples_follow(after: bytes) -> bool:
    """Say if what comes after the samples of a wav file are more of them.

    Args:
        after: the next LEAST_LEFT bytes, or what there is.

    Returns:
        Whether they are no chunk, and no tag.

    Examples:
        >>> more_samples_follow(b"LIST" + bytes(9_000)), more_samples_follow(bytes(9_000))
        (False, True)
    """
    if len(after) < LEAST_LEFT or after.startswith(TAGS):
        return False
    return not (_is_chunk(after) or _is_chunk(after[1:]))


def _is_chunk(head: bytes) -> bool:
    """Whether bytes can be the beginning of a chunk: its name and size."""
    return len(head) >= 8 and all(0x20 <= byte < 0x7F for byte in head[:4])


def _au_without_size(file: BinaryIO, head: bytes) -> FilePart | None:
    """An au file, which ends with its samples."""
    begin, size = (int.from_bytes(head[at : at + 4], "big") for at in (4, 8))
    if begin + size >= file.seek(0, os.SEEK_END):
        return None
    return FilePart(file, changes={8: UNKNOWN})


def _without_sizes(file: BinaryIO, mark: bytes, layout: _Layout) -> FilePart | None:
    """A file of chunks."""
    end, at = file.seek(0, os.SEEK_END), layout.first
    changes: dict[int, bytes] = {}
    size_64, about = None, b""
    if mark in (b"RF64", b"BW64"):
        changes = {0: b"RIFF", 4: UNKNOWN}
    for _ in range(MOST_CHUNKS):
        if at >= end:  # also by more than can be sought to
            return None
        file.seek(at)
        head = file.read(layout.n_head)
        size, begin = layout.size(head), at + len(head)
        if head[:4] == b"ds64":
            size_64 = int.from_bytes(file.read(16)[8:], "little")
            changes[at] = b"JUNK"
        elif head[:4] in (b"fmt ", b"COMM"):
            about = file.read(min(size, LONGEST_FORMAT))
        elif head[:4] == layout.samples:
            if size_64 is not None and head[4:] == UNKNOWN:
                size = size_64
            if _ends_right(file, layout, begin + size, end):
                return None
            if end - begin >= MOST_BYTES and layout.n_bytes == 4:
                return _with_long_header(file, mark, about, begin)
            changes[at + layout.n_name] = layout.size_bytes(end - begin)
            return FilePart(file, changes=changes)
        at = layout.after(at, size)
    return None


def _with_long_header(file: BinaryIO, mark: bytes, about: bytes, begin: int) -> FilePart:
    """More than 4 GiB of samples, with a header that can tell so."""
    end = file.seek(0, os.SEEK_END)
    if mark == b"FORM":  # the samples' place in their chunk comes before them
        file.seek(begin)
        begin += 8 + int.from_bytes(file.read(4), "big")
    n_bytes = end - begin
    if mark in (b"FORM", b"RIFX"):
        return FilePart(file, begin, before=caf_header(mark, about, n_bytes))
    return FilePart(file, begin, before=rf64_header(about, n_bytes))


def _ends_right(file: BinaryIO, layout: _Layout, at: int, end: int) -> bool:
    """Whether the samples end there, or where the file ends."""
    if end - at < LEAST_LEFT:
        return True
    file.seek(at)
    if end - at <= MOST_PADDING and not file.read(end - at).strip(b"\0"):
        return True
    file.seek(at)
    if file.read(LEAST_LEFT).startswith(TAGS):
        return True
    return any(_only_chunks(file, layout, at + pad, end) for pad in (0, -at % layout.even or 1))


def _only_chunks(file: BinaryIO, layout: _Layout, at: int, end: int) -> bool:
    """Whether there are nothing but chunks up to the end."""
    for _ in range(MOST_CHUNKS):
        if at >= end - 8:
            return at <= end + 1
        file.seek(at)
        head = file.read(layout.n_head)
        if not _is_chunk(head):
            return False
        at = layout.after(at, layout.size(head))
    return True
