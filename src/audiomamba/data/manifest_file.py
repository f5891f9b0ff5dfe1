"""A manifest on disk: one JSON object per line, UTF-8.

The first line describes the data set: {"audiomamba_manifest": 1, "corpus": ..., "labels": [...],
"n_clips": ...}. Each further line is a clip: path, relative to the manifest; labels; and where they
say something: key, start_s, end_s, seconds, sample_rate, split, group, digest, as data.Clip has
them. A file of that kind opens wherever it and the recordings are moved to together.
"""

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from audiomamba.atomic import replacing
from audiomamba.data.manifest import Clip, Clips, Manifest
from audiomamba.data.split_names import known_split
from audiomamba.errors import DataError
from audiomamba.outputs import writing

__all__ = ["MANIFEST_NAME", "find_manifest", "first_clips", "read_manifest", "write_manifest"]

MANIFEST_NAME = "manifest.jsonl"
MARK, VERSION = "audiomamba_manifest", 1
UNSAID = {"key": "", "start_s": 0.0}  # values that are not written, as None is not
OPTIONAL: Mapping[str, type | tuple[type, ...]] = {
    "key": str,
    "start_s": (int, float),
    "end_s": (int, float),
    "split": str,
    "group": str,
    "seconds": (int, float),
    "sample_rate": int,
    "digest": str,
}


def find_manifest(source: Path) -> Path | None:
    """Tell where a manifest is.

    Args:
        source: a manifest, or a folder that may hold one as manifest.jsonl.

    Returns:
        The manifest's path; None if there is none.
    """
    path = source / MANIFEST_NAME if source.is_dir() else source
    return path if path.suffix == ".jsonl" and path.is_file() else None


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write a manifest, completely or not at all.

    Args:
        path: the file to write.
        manifest: the data set.

    Raises:
        ConfigError: the file cannot be written.

    Examples:
        >>> clips = [Clip(path=Path("clips/1.wav").absolute(), labels=("dog",))]
        >>> write_manifest(Path("manifest.jsonl"), Manifest(labels=("dog",), clips=clips))
        >>> read_manifest(Path("manifest.jsonl")).clips[0].path.name
        '1.wav'
    """
    head = {
        MARK: VERSION,
        "corpus": manifest.corpus,
        "labels": manifest.labels,
        "n_clips": len(manifest.clips),
    }
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            replacing(path) as part,
            part.open("w", encoding="utf-8", errors="surrogateescape") as file,
        ):
            file.write(_line(head))
            file.writelines(_line(row) for row in _rows(manifest.clips, path.parent))


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Args:
        path: the file.

    Returns:
        The data set, not checked.

    Raises:
        DataError: the file cannot be read, is not a manifest, or is damaged.

    Examples:
        >>> write_manifest(Path("manifest.jsonl"), Manifest(labels=("dog", "rain"), clips=()))
        >>> read_manifest(Path("manifest.jsonl")).labels
        ('dog', 'rain')
    """
    try:
        with path.open(encoding="utf-8", errors="surrogateescape") as file:
            head = _head(path, file.readline())
            clips = Clips(_clips(path, file, is_own=head["corpus"] is None))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    if len(clips) != head["n_clips"]:
        raise DataError(f"{path}: cut short, {len(clips)} of {head['n_clips']} clips are there")
    return Manifest(labels=head["labels"], clips=clips, corpus=head["corpus"])


def first_clips(path: Path, n_clips: int) -> list[Clip]:
    """Read the first clips of a manifest.

    Args:
        path: the file.
        n_clips: how many at most.

    Returns:
        The clips.

    Raises:
        DataError: the file cannot be read, is not a manifest, or is damaged.

    Examples:
        >>> clips = [Clip(path=Path("1.wav"), labels=("dog",))]
        >>> write_manifest(Path("manifest.jsonl"), Manifest(labels=("dog",), clips=clips))
        >>> [clip.name for clip in first_clips(Path("manifest.jsonl"), 5)]
        ['1.wav']
    """
    try:
        with path.open(encoding="utf-8", errors="surrogateescape") as file:
            head = _head(path, file.readline())
            return list(islice(_clips(path, file, is_own=head["corpus"] is None), n_clips))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"


def _rows(clips: Iterable[Clip], folder: Path) -> Iterator[dict[str, Any]]:
    """One dictionary per clip."""
    base = os.path.realpath(folder)
    relative: dict[Path, str] = {}
    for clip in clips:
        parent = clip.path.parent
        if parent not in relative:
            relative[parent] = os.path.relpath(os.path.realpath(parent), base)
        row: dict[str, Any] = {
            "path": os.path.join(relative[parent], clip.path.name).replace(os.sep, "/"),  # noqa: PTH118
            "labels": clip.labels,
        }
        values = ((name, getattr(clip, name)) for name in OPTIONAL)
        row |= {name: value for name, value in values if value not in (None, UNSAID.get(name))}
        yield row


def _head(path: Path, line: str) -> dict[str, Any]:
    """The first line of a manifest."""
    try:
        head = json.loads(line)
    except ValueError:
        head = None
    if not isinstance(head, dict) or MARK not in head:
        raise DataError(
            f"{path}: not a manifest, its first line does not hold {MARK!r}; "
            "`audiomamba data prepare` writes manifests"
        )
    if head[MARK] != VERSION:
        raise DataError(f"{path}: a manifest of version {head[MARK]}; expected {VERSION}")
    if not _are_texts(head.get("labels")) or not {"corpus", "n_clips"} <= head.keys():
        raise DataError(f"{path}: the first line does not hold labels, corpus and n_clips")
    return head


def _clips(path: Path, lines: Iterable[str], *, is_own: bool) -> Iterator[Clip]:
    """The clips of a manifest; splits of a data set of one's own may have usual names."""
    folder = path.parent
    parents: dict[str, Path] = {}
    for number, line in enumerate(lines, start=2):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            parent, name = os.path.split(row.pop("path"))
            if parent not in parents:
                parents[parent] = Path(os.path.normpath(folder / parent))
            labels = row.pop("labels")
            _check(labels, row)
            if is_own and row.get("split"):
                row["split"] = known_split(row["split"]) or row["split"]
            yield Clip(path=parents[parent] / name, labels=tuple(labels), **row)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            reason = f": {error}" if type(error) is TypeError else ""
            raise DataError(f"{path}: line {number} does not describe a clip{reason}") from error


def _check(labels: object, row: Mapping[str, Any]) -> None:
    """Refuse values of another kind than a clip's fields."""
    if not _are_texts(labels):
        raise TypeError(f"labels is {labels!r}; expected a list of names")
    for name, value in row.items():
        if value is not None and not isinstance(value, OPTIONAL.get(name, ())):
            raise TypeError(f"{name} is {value!r}")
        if isinstance(value, float) and not math.isfinite(value):
            raise TypeError(f"{name} is {value}")


def _are_texts(names: object) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) for name in names)
