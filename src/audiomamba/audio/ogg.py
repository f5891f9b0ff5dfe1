"""Ogg files that are several ones after the other, as recordings of internet radio are."""

import os
from typing import BinaryIO

__all__ = ["links_of"]

MARK = b"OggS"
FIRST_PAGE = 0x02  # bit of a page's flags: the first of a stream
N_HEAD = 27  # bytes of a page before its table of segments
SEARCH_BYTES = 1 << 16


def links_of(file: BinaryIO) -> list[tuple[int, int]]:
    """Find the links of a chain: files that were joined, each whole in itself.

    Args:
        file: an Ogg file, seekable; it is left at its beginning.

    Returns:
        The first byte of each, and the byte after its last; a file that is no chain has one.
    """
    size, at = file.seek(0, os.SEEK_END), 0
    starts: list[int] = []
    in_first_pages = False
    while at >= 0 and at < size:
        file.seek(at)
        head = file.read(N_HEAD + 255)
        if not head.startswith(MARK) or len(head) < N_HEAD:
            at = _next_mark(file, at + 1)  # damage, or what is no page
            continue
        is_first = bool(head[5] & FIRST_PAGE)
        if is_first and not in_first_pages:
            starts.append(at)
        in_first_pages = is_first
        n_segments = head[26]
        at += N_HEAD + n_segments + sum(head[N_HEAD : N_HEAD + n_segments])
    file.seek(0)
    starts = [0, *starts[1:]] if starts else [0]
    return list(zip(starts, [*starts[1:], size], strict=True))


def _next_mark(file: BinaryIO, at: int) -> int:
    """Where the next page may begin; -1 if nowhere."""
    while True:
        file.seek(at)
        data = file.read(SEARCH_BYTES)
        found = data.find(MARK)
        if found >= 0:
            return at + found
        if len(data) < len(MARK):
            return -1
        at += len(data) - len(MARK) + 1
