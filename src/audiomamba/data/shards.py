"""Tar files of many clips in WebDataset's layout, and a manifest that finds each clip in them.

A clip is two members, NUMBER.flac and NUMBER.json, side by side; numbers are indices in the
manifest that was packed. Readers of WebDataset stream such files as they are. This package needs no
order and no buffer: the manifest beside the shards says at which byte each recording begins, so
that shards are read clip by clip in any order, like files (see data.clip_reader).

Shards follow from the manifest alone: the same call makes the same bytes, and one that was
interrupted goes on with the shards that are not there.
"""

import hashlib
import io
import json
import os
import re
import tarfile
from array import array
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
from torch import Tensor

from audiomamba.atomic import replacing, write_json
from audiomamba.data.clip_reader import load_clip
from audiomamba.data.clips import Clip, Clips
from audiomamba.data.manifest import Manifest
from audiomamba.data.manifest_file import MANIFEST_NAME, write_manifest
from audiomamba.errors import AudioError, ConfigError, DataError
from audiomamba.output_folders import refuse_filled, removed_if_refused
from audiomamba.outputs import sole_writer, writing
from audiomamba.progress import Progress

__all__ = ["Sharded", "shard"]

PLAN_NAME = "plan.json"
FULL_SCALE = 32_768  # 16-bit samples of a mono recording come back bit by bit
CHUNK = 64  # clips that are encoded before the next ones are begun


@dataclass(frozen=True, kw_only=True)
class Sharded:
    """What shard did.

    Args:
        path: the shards' manifest.
        n_clips: clips in them.
        n_shards: tar files.
        failed: names of the clips that could not be read, with the reason.

    Examples:
        >>> Sharded(path=Path("shards/manifest.csv"), n_clips=4, n_shards=1, failed=()).failed
        ()
    """

    path: Path
    n_clips: int
    n_shards: int
    failed: tuple[str, ...]


def shard(
    manifest: Manifest,
    out: Path,
    *,
    shard_seconds: float = 3600.0,
    sample_rate: int | None = None,
    n_workers: int | None = None,
    progress: Progress | None = None,
) -> Sharded:
    """Pack clips into tar files, mono, 16-bit FLAC.

    The clips of a split are shuffled once, so that each shard holds a bit of everything, and a
    shard holds clips of one split only.

    Args:
        manifest: the clips, measured (data.prepare does that).
        out: folder for the shards and their manifest; it is made.
        shard_seconds: sound in one shard, more than 0.
        sample_rate: rate to change the recordings to, in Hz; None for their own.
        n_workers: clips that are encoded side by side, at least 1; None for one per processor.
        progress: called with the number of clips that are done, and of all.

    Returns:
        The shards' manifest, and what was left out.

    Raises:
        ConfigError: a number is out of range; or out cannot be written, or is being written by
            another call.
        DataError: clips have not been measured, the folder holds something else, or shards of other
            clips or settings, or no clip could be read.
        MissingDependencyError: a package that reads a format is not installed.

    Examples:
        >>> from audiomamba.data import open_manifest, prepare
        >>> listed = prepare("own", Path("my-clips"), Path("manifests")).manifest
        >>> found = shard(listed, Path("shards"))
        >>> found.n_shards, found.n_clips, open_manifest(Path("shards")).clips[0].path.name
        (1, 4, 'clips-000000.tar')
    """
    _check_numbers(shard_seconds, n_workers)
    plan = _plan(manifest, shard_seconds)
    with sole_writer(out), removed_if_refused(out), writing(out):
        if not (out / PLAN_NAME).exists():
            refuse_filled(out)
        _check_settings(out, manifest, shard_seconds, sample_rate)
        with ThreadPoolExecutor(n_workers or os.cpu_count() or 1) as pool:
            encode = partial(_encoded, pool, manifest.clips, sample_rate)
            failed = _write_missing(out, plan, encode, progress)
        return _listed(out, plan, manifest, failed)


def _listed(
    out: Path, plan: Mapping[str, list[int]], manifest: Manifest, failed: Mapping[int, str]
) -> Sharded:
    """Write the manifest of what is in the shards."""
    packed, numbers = _index_all([out / name for name in plan])
    lost = np.setdiff1d(np.arange(len(manifest.clips)), numbers).tolist()
    reasons = tuple(failed.get(index) or _unread(manifest.clips[index]) for index in lost)
    if not packed:
        raise DataError(f"none of {len(manifest.clips)} clips could be read: {reasons[0]}")
    clips = packed.take(np.argsort(numbers))  # an index means the same clip as before
    write_manifest(
        out / MANIFEST_NAME, Manifest(labels=manifest.labels, clips=clips, corpus=manifest.corpus)
    )
    return Sharded(
        path=out / MANIFEST_NAME, n_clips=len(packed), n_shards=len(plan), failed=reasons
    )


def _write_missing(
    out: Path,
    plan: Mapping[str, list[int]],
    encode: Callable[[list[int]], Iterator["_Encoded"]],
    progress: Progress | None,
) -> dict[int, str]:
    """Write the shards that are not there; tell what could not be read."""
    failed: dict[int, str] = {}
    n_done, n_clips = 0, sum(map(len, plan.values()))
    for name, indices in plan.items():
        if not (out / name).exists():
            failed |= _write_shard(out / name, encode(indices))
        n_done += len(indices)
        if progress is not None:
            progress(n_done, n_clips)
    return failed


def _plan(manifest: Manifest, shard_seconds: float) -> dict[str, list[int]]:
    """The shards' names, and the indices of the clips in each."""
    seconds = manifest.clips.seconds
    if np.isnan(seconds).any():
        name = manifest.clips[int(np.isnan(seconds).argmax())].name
        raise DataError(
            f"nobody has measured how long {name} is; `audiomamba data prepare` makes a manifest "
            "that can be packed"
        )
    plan: dict[str, list[int]] = {}
    rng = np.random.default_rng(0)
    undivided = ~manifest.clips.in_splits(manifest.splits)
    splits = {name: manifest.clips.in_splits([name]) for name in manifest.splits} | {"": undivided}
    for name, inside in splits.items():
        indices = rng.permutation(np.flatnonzero(inside))
        title = re.sub(r"[^A-Za-z0-9_]", "_", name) or "clips"
        shards = np.floor(np.cumsum(seconds[indices]) / shard_seconds).astype(int)
        for number, same in enumerate(np.unique(shards)):
            plan[f"{title}-{number:06d}.tar"] = indices[shards == same].tolist()
    return plan


def _check_numbers(shard_seconds: float, n_workers: int | None) -> None:
    if not shard_seconds > 0 or (n_workers is not None and n_workers < 1):
        raise ConfigError(
            f"shard_seconds is {shard_seconds} and n_workers {n_workers}; "
            "expected more than 0 and at least 1"
        )


def _check_settings(
    out: Path, manifest: Manifest, shard_seconds: float, sample_rate: int | None
) -> None:
    """Refuse a folder with shards of other clips or settings; note these in a new one."""
    out.mkdir(parents=True, exist_ok=True)
    settings = {
        "fingerprint": manifest.fingerprint,
        "shard_seconds": shard_seconds,
        "sample_rate": sample_rate,
    }
    path = out / PLAN_NAME
    if not path.exists():
        write_json(path, settings)
    elif json.loads(path.read_text(encoding="utf-8")) != settings:
        raise DataError(f"{out} holds shards of other clips or settings; choose another folder")


class _Encoded(NamedTuple):
    """A clip that is ready to be packed; without sound, what is wrong with it."""

    clip_index: int
    clip: Clip
    rate_hz: int
    sound: bytes | str


def _encoded(
    pool: ThreadPoolExecutor, clips: Clips, sample_rate: int | None, indices: list[int]
) -> Iterator[_Encoded]:
    """The clips of a shard, some of them ahead of time."""

    def encode(index: int) -> _Encoded:
        clip = clips[index]
        rate_hz = sample_rate or clip.sample_rate or 0
        try:
            if not rate_hz:
                raise DataError(f"{clip.path}: nobody has looked at its rate")
            sound: bytes | str = _flac(load_clip(clip, rate_hz), rate_hz)
        except (AudioError, DataError) as error:
            sound = str(error)
        return _Encoded(index, clip, rate_hz, sound)

    for start in range(0, len(indices), CHUNK):
        yield from pool.map(encode, indices[start : start + CHUNK])


def _flac(waveform: Tensor, rate_hz: int) -> bytes:
    """A waveform as 16-bit FLAC; what is beyond full scale is cut off."""
    samples = np.rint(waveform.numpy() * np.float32(FULL_SCALE))
    file = io.BytesIO()
    limited = samples.clip(-FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    soundfile.write(file, limited, rate_hz, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def _write_shard(path: Path, clips: Iterator[_Encoded]) -> dict[int, str]:
    """Write one tar file, completely or not at all; tell what could not be read."""
    failed: dict[int, str] = {}
    with (
        replacing(path) as part,
        tarfile.open(part, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for index, clip, rate_hz, sound in clips:
            if isinstance(sound, str):
                failed[index] = sound
                continue
            about = {
                "name": clip.name,
                "labels": clip.labels,
                "split": clip.split,
                "group": clip.group or _torn(clip),
                "seconds": clip.seconds,
                "sample_rate": rate_hz,
                "digest": hashlib.blake2b(sound, digest_size=16).hexdigest(),
            }
            _add(tar, f"{index:09d}.flac", sound)
            _add(tar, f"{index:09d}.json", json.dumps(about, ensure_ascii=False).encode())
    return failed


def _torn(clip: Clip) -> str | None:
    """What keeps pieces of one recording together, once each is a recording of its own."""
    return None if clip.start_s == 0 and clip.end_s is None else clip.digest


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a member that says nothing of when and by whom it was made."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _index_all(paths: list[Path]) -> tuple[Clips, np.ndarray]:
    """The clips of all shards, and their indices in the manifest that was packed."""
    indices = array("q")

    def clips() -> Iterator[Clip]:
        for path in paths:
            for index, clip in _index(path):
                indices.append(index)
                yield clip

    return Clips(clips()), np.asarray(indices)


def _index(path: Path) -> Iterator[tuple[int, Clip]]:
    """The clips of a shard and their indices in the manifest that was packed."""
    try:
        with tarfile.open(path, "r:") as tar:
            members = iter(tar)
            for sound, about in zip(members, members, strict=True):
                file = tar.extractfile(about)
                row: dict[str, Any] = json.loads(file.read() if file else b"")
                del row["name"]
                row["labels"] = tuple(row["labels"])
                key = f"{sound.offset_data}+{sound.size}"
                yield int(sound.name.partition(".")[0]), Clip(path=path, key=key, **row)
    except (tarfile.TarError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: damaged; delete it, and the same call makes it anew") from error


def _unread(clip: Clip) -> str:
    return f"{clip.path.with_name(clip.name)}: could not be read when its shard was made"
