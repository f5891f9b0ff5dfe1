"""Any tree of recordings as a list of clips without labels: for a teacher to label.

Every file is read once, from beginning to end. Left out, and named, are files that are broken or
silent, that hold what another holds (byte by byte, or as sound: a FLAC of a WAV), and that are in a
list of what must not be used. Recordings of one source are one group, so that no source is in two
splits.
"""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from audiomamba import audio
from audiomamba.atomic import write_text
from audiomamba.audio.resample import resample_blocks
from audiomamba.data.clips import Clip
from audiomamba.data.deny_list import DenyList, freesound_ids, read_deny_lists
from audiomamba.data.journal import Journal, Recording, worker_count
from audiomamba.data.manifest import Manifest
from audiomamba.data.manifest_file import MANIFEST_NAME, write_manifest
from audiomamba.data.preparation import (
    PROBLEMS_NAME,
    Prepared,
    Problem,
    first_of,
    refuse_other_manifests,
    write_problems,
)
from audiomamba.data.silence import SILENT_BELOW
from audiomamba.data.source_table import TABLE_NAME, Source, SourceTable, read_source_table
from audiomamba.errors import AudioError, DataError
from audiomamba.output_folders import removed_if_refused
from audiomamba.outputs import refuse_inputs, sole_writer, writing
from audiomamba.progress import Progress

__all__ = ["RECORDINGS_NAME", "Collection", "LeftOut", "Listened", "listen", "prepare_collection"]

RECORDINGS_NAME = "recordings.csv"
JOURNAL_NAME = "sounds.jsonl"
NAMES = (MANIFEST_NAME, PROBLEMS_NAME, RECORDINGS_NAME, JOURNAL_NAME)
SOUND_RATE_HZ = 16_000
FULL_SCALE = 32_767
BLOCK_BYTES = 1 << 20

Reason = Literal["broken", "excluded", "silent", "duplicate"]


class Listened(NamedTuple):
    """What reading a whole recording has shown.

    Args:
        sample_rate: its rate in Hz.
        seconds: how long it is.
        digest: BLAKE2b of 128 bits of the file, in hex, as Clip.digest.
        sha256: SHA-256 of the file, in hex.
        sound: BLAKE2b of 128 bits, in hex, of what is heard: mono, 16 kHz, 16 bits.
        peak: its largest sample, of the same.
    """

    sample_rate: int
    seconds: float
    digest: str
    sha256: str
    sound: str
    peak: float


@dataclass(frozen=True)
class LeftOut(Problem):
    """A recording that the manifest leaves out.

    Args:
        kind: why.
    """

    kind: Reason


@dataclass(frozen=True, kw_only=True)
class Collection(Prepared):
    """What prepare_collection did.

    Args:
        recordings_path: the table of the recordings with source, license and hashes.
        license_hours: hours of sound by license.

    Examples:
        >>> found = prepare_collection(Path("my-clips"), Path("collection"))
        >>> list(found.license_hours), found.recordings_path.name
        (['unknown'], 'recordings.csv')
    """

    recordings_path: Path
    license_hours: dict[str, float]
    problems: tuple[LeftOut, ...]

    @property
    def counts(self) -> Counter[Reason]:
        """How many recordings are left out for each reason."""
        return Counter(problem.kind for problem in self.problems)


class _Found(NamedTuple):
    """A recording that can be read."""

    path: Path
    relative: str
    source: Source
    listened: Listened


def prepare_collection(
    source: Path,
    out: Path,
    *,
    sources: Path | None = None,
    exclude: Sequence[Path] = (),
    n_workers: int | None = None,
    progress: Progress | None = None,
) -> Collection:
    """Read all recordings below a folder and write a manifest of those that can be used.

    Recordings that an earlier call has read, and that have not changed, are not read again.

    Args:
        source: the folder.
        out: folder for manifest.jsonl, recordings.csv, problems.csv and the journal; it is made.
        sources: a CSV table of where files and folders come from, with columns path, source,
            license and freesound_id; None for sources.csv in the folder, if it is there.
        exclude: lists of what must not be used, as deny_list.read_deny_lists takes them.
        n_workers: recordings that are read side by side, at least 1; None for one per processor.
        progress: called with the number of recordings that are done, and of all.

    Returns:
        The manifest, and what it leaves out. Of recordings that hold the same, the first by path
        stays. What sounds like an excluded recording is excluded too, whatever its name.

    Raises:
        ConfigError: n_workers is less than 1; or out cannot be written, is being written by another
            call, is a table that is read, or holds something else.
        DataError: a table cannot be read, or no recording can be used.
        AudioError: the folder has no audio files in it.

    Examples:
        >>> found = prepare_collection(Path("my-clips"), Path("collection"))
        >>> found.n_listed, len(found.manifest.clips), found.counts["duplicate"]
        (4, 4, 0)
    """
    tables = [*([sources] if sources else []), *exclude]
    with sole_writer(out), removed_if_refused(out), writing(out):
        refuse_inputs([out / name for name in NAMES], tables)
        table, denied = _source_table(source, sources), read_deny_lists(exclude)
        return _prepare(source, out, table, denied, (worker_count(n_workers), progress))


def _prepare(
    source: Path,
    out: Path,
    table: SourceTable,
    denied: DenyList,
    means: tuple[int, Progress | None],
) -> Collection:
    """Read what is below a folder, and write what is found."""
    n_side_by_side, progress = means
    if not source.is_dir():
        raise DataError(f"{source}: no such folder; expected one with recordings")
    paths = audio.find([source])
    listing = Manifest(labels=(), clips=(Clip(path=path, labels=()) for path in paths))
    refuse_other_manifests(out, listing)
    with Journal(out / JOURNAL_NAME, Listened) as journal:
        failed = journal.complete(
            [_recording(path) for path in paths],
            _listen,
            n_workers=n_side_by_side,
            progress=progress,
        )
        found = list(_found(paths, source, table, journal.get))
    left_out = [LeftOut(path, reason, False, "broken") for (path, _), reason in failed.items()]
    kept, more = _sort_out(found, denied)
    left_out = sorted([*left_out, *more], key=lambda it: it.clip)
    write_problems(out / PROBLEMS_NAME, left_out)
    if not kept:
        of = f"its {len(paths)} recordings"
        raise DataError(f"{source}: none of {of} can be used{first_of(left_out)}")
    return _written(out, len(paths), kept, tuple(left_out))


def _written(
    out: Path, n_listed: int, kept: list[_Found], left_out: tuple[LeftOut, ...]
) -> Collection:
    """Write what stays, and say what it is."""
    _write_table(out / RECORDINGS_NAME, kept)
    manifest = Manifest(labels=(), clips=map(_clip, kept))
    write_manifest(out / MANIFEST_NAME, manifest)
    return Collection(
        path=out / MANIFEST_NAME,
        manifest=manifest,
        n_listed=n_listed,
        problems=left_out,
        problems_path=out / PROBLEMS_NAME,
        recordings_path=out / RECORDINGS_NAME,
        license_hours=_license_hours(kept),
    )


def listen(path: Path) -> Listened:
    """Read a recording from beginning to end.

    Args:
        path: the file.

    Returns:
        Its rate, length, hashes and loudest sample.

    Raises:
        AudioError: it cannot be read.
        MissingDependencyError: the file needs PyAV, and it is not installed.
    """
    sound, peak, n_samples = hashlib.blake2b(digest_size=16), 0.0, 0
    stream = audio.stream(path)

    def own_blocks() -> Iterator[np.ndarray]:
        nonlocal n_samples
        for block in stream:
            n_samples += len(block)
            yield block.numpy()

    for samples in resample_blocks(own_blocks(), stream.sample_rate, SOUND_RATE_HZ):
        peak = max(peak, float(np.abs(samples).max(initial=0)))
        heard = np.rint(np.clip(samples, -1, 1) * FULL_SCALE).astype("<i2")
        sound.update(heard.tobytes())
    digest, sha256 = hashlib.blake2b(digest_size=16), hashlib.sha256()
    try:
        with path.open("rb") as file:
            while content := file.read(BLOCK_BYTES):
                digest.update(content)
                sha256.update(content)
    except OSError as error:
        raise AudioError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from error
    return Listened(
        sample_rate=stream.sample_rate,
        seconds=n_samples / stream.sample_rate,
        digest=digest.hexdigest(),
        sha256=sha256.hexdigest(),
        sound=sound.hexdigest(),
        peak=peak,
    )


def _recording(path: Path) -> Recording:
    return str(path), ""


def _listen(recording: Recording) -> Listened | str:
    """Read one recording; what is wrong with it, if it cannot be read."""
    path, _ = recording
    try:
        return listen(Path(path))
    except AudioError as error:
        return str(error).removeprefix(path).lstrip(":").strip()


def _source_table(folder: Path, sources: Path | None) -> SourceTable:
    """The table that was given, or that lies in the folder; else one that says nothing."""
    path = sources or folder / TABLE_NAME
    return read_source_table(path) if sources or path.is_file() else SourceTable({})


def _found(
    paths: Sequence[Path],
    folder: Path,
    table: SourceTable,
    known: Callable[[Recording], Listened | None],
) -> Iterator[_Found]:
    """The recordings that could be read, in order."""
    top = folder.resolve().name
    for path in paths:
        listened = known(_recording(path))
        if listened is not None:
            relative = path.relative_to(folder).as_posix()
            yield _Found(path, relative, table.find(relative, top), listened)


def _sort_out(found: Sequence[_Found], denied: DenyList) -> tuple[list[_Found], list[LeftOut]]:
    """Tell what can be used from what cannot."""
    kept: list[_Found] = []
    left_out: list[LeftOut] = []
    excluded = _excluded(found, denied)
    same_bytes: dict[str, str] = {}
    same_sound: dict[str, str] = {}
    for it in found:
        heard = it.listened
        kind: Reason = "excluded"
        reason = excluded.get(it.path, "")
        if not reason and heard.peak < SILENT_BELOW:
            reason, kind = "silent: its largest sample is below -80 dB of full scale", "silent"
        for first, what in (
            (same_bytes.get(heard.sha256), "bytes"),
            (same_sound.get(heard.sound), "sound"),
        ):
            if not reason and first is not None:
                reason, kind = f"the same {what} as {first}", "duplicate"
        if reason:
            left_out.append(LeftOut(str(it.path), reason, False, kind))
        else:
            same_bytes[heard.sha256] = same_sound[heard.sound] = it.relative
            kept.append(it)
    return kept, left_out


def _excluded(found: Sequence[_Found], denied: DenyList) -> dict[Path, str]:
    """Why recordings must not be used, those that sound like such a one included."""
    reasons: dict[Path, str] = {}
    sounds: dict[str, str] = {}
    for it in found:
        heard = it.listened
        ids = [it.source.freesound_id, *freesound_ids(it.path.name)]
        if reason := denied.reason(sha256=heard.sha256, sound=heard.sound, ids=ids):
            reasons[it.path] = reason
            if heard.peak >= SILENT_BELOW:  # all silence sounds alike
                sounds.setdefault(heard.sound, it.relative)
    for it in found:
        if it.listened.sound in sounds and it.path not in reasons:
            like = sounds[it.listened.sound]
            reasons[it.path] = f"the same sound as {like}, which is excluded"
    return reasons


def _clip(found: _Found) -> Clip:
    heard = found.listened
    return Clip(
        path=found.path,
        labels=(),
        group=found.source.name,
        seconds=round(heard.seconds, 6),
        sample_rate=heard.sample_rate,
        digest=heard.digest,
    )


def _write_table(path: Path, kept: Iterable[_Found]) -> None:
    """Write the table of what the manifest has no room for."""
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("path", "seconds", "sample_rate", "source", "license", "sha256", "sound"))
    for _, relative, source, heard in kept:
        seconds = round(heard.seconds, 6)
        about = (relative, seconds, heard.sample_rate, source.name, source.license)
        rows.writerow((*about, heard.sha256, heard.sound))
    with writing(path):
        write_text(path, text.getvalue(), errors="surrogateescape")


def _license_hours(kept: Iterable[_Found]) -> dict[str, float]:
    """Hours by licence, the most first."""
    hours: Counter[str] = Counter()
    for it in kept:
        hours[it.source.license] += it.listened.seconds / 3600  # type: ignore[assignment]  # a Counter of floats
    return {name: float(n) for name, n in hours.most_common()}
