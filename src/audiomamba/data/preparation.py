"""Making a manifest: each recording is read once, what is missing or broken is named.

The work can be stopped at any moment and goes on where it was: what is known about a recording
stands in a journal beside the manifest, and the manifest is written at the end, all at once.
"""

import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from audiomamba.atomic import write_text
from audiomamba.audio.files import SUFFIXES
from audiomamba.data.clip_reader import Examined, examine_recording
from audiomamba.data.clips import Clip
from audiomamba.data.corpora import get_corpus, list_clips
from audiomamba.data.corpora.own import OWN
from audiomamba.data.journal import Journal, Recording, worker_count
from audiomamba.data.manifest import Manifest
from audiomamba.data.manifest_file import MANIFEST_NAME, first_clips, write_manifest
from audiomamba.errors import AudioError, ConfigError, DataError
from audiomamba.output_folders import removed_if_refused, visible_names
from audiomamba.outputs import refuse_inputs, sole_writer, writing
from audiomamba.progress import Progress

__all__ = [
    "PROBLEMS_NAME",
    "Prepared",
    "Problem",
    "examine",
    "first_of",
    "prepare",
    "refuse_other_manifests",
    "refuse_unusable",
    "write_problems",
]

PROBLEMS_NAME = "problems.csv"
JOURNAL_NAME = "journal.jsonl"
NAMES = (MANIFEST_NAME, PROBLEMS_NAME, JOURNAL_NAME)
N_COMPARED = 1000  # clips of a manifest that is there: enough to tell whose it is
MISSING = "no such file"


@dataclass(frozen=True)
class Problem:
    """A clip that the manifest leaves out.

    Args:
        clip: its path, and what distinguishes it where the file holds several.
        reason: what is wrong with it, in words.
        missing: whether its file is not there.
    """

    clip: str
    reason: str
    missing: bool


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What prepare did.

    Args:
        path: the manifest.
        manifest: what stands in it.
        n_listed: clips that the corpus should have.
        problems: the clips that are left out.
        problems_path: the table of these.

    Examples:
        >>> found = prepare("own", Path("my-clips"), Path("manifests"))
        >>> found.manifest.labels, found.problems
        (('dog', 'rain'), ())
    """

    path: Path
    manifest: Manifest
    n_listed: int
    problems: tuple[Problem, ...]
    problems_path: Path

    @property
    def n_missing(self) -> int:
        """Clips whose file is not there."""
        return sum(problem.missing for problem in self.problems)

    @property
    def hours(self) -> float:
        """Length of all clips together."""
        return float(np.nansum(self.manifest.clips.seconds)) / 3600


def prepare(
    corpus: str,
    source: Path,
    out: Path,
    *,
    n_workers: int | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Read a corpus from beginning to end and write its manifest.

    Recordings that an earlier call has read, and that have not changed, are not read again.

    Args:
        corpus: one of data.CORPORA.
        source: the corpus as it was distributed or packed by others.
        out: folder for manifest.jsonl, problems.csv and the journal; it is made.
        n_workers: recordings that are read side by side, at least 1; None for one per processor.
        progress: called with the number of recordings that are done, and of all.

    Returns:
        The manifest, and what it leaves out.

    Raises:
        UnknownNameError: there is no such corpus.
        ConfigError: n_workers is less than 1; or out cannot be written, is being written by another
            call, is what is read, or holds something else.
        DataError: the corpus has another layout, or nothing of it is there.
        AudioError: a folder or an HDF5 file cannot be read.
        MissingDependencyError: a package that reads a format is not installed.

    Examples:
        >>> found = prepare("own", Path("my-clips"), Path("manifests"))
        >>> found.path.name, found.n_listed, found.n_missing, round(3600 * found.hours, 2)
        ('manifest.jsonl', 4, 0, 2.0)
    """
    known = get_corpus(corpus)
    told = out / PROBLEMS_NAME
    with sole_writer(out), removed_if_refused(out, told.is_file), writing(out):
        refuse_inputs([out / name for name in NAMES], [source])
        if known is OWN:
            refuse_inputs([out], [source])
        found = examine(corpus, source, out, n_workers=n_workers, progress=progress)
        write_problems(found.problems_path, found.problems)
        refuse_unusable(source, found)
        write_manifest(found.path, found.manifest)
    return found


def refuse_unusable(source: Path, found: Prepared) -> None:
    """Refuse a data set without a clip that can be used.

    Args:
        source: the data set.
        found: what examine found.

    Raises:
        DataError: there is no such clip.
    """
    if not found.manifest.clips:
        of = f"the {found.n_listed} clips of {found.manifest.corpus or 'own'}"
        raise DataError(f"{source}: none of {of} can be used{first_of(found.problems)}")


def examine(
    corpus: str,
    source: Path,
    out: Path,
    *,
    n_workers: int | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Read a corpus from beginning to end, and write nothing but the journal.

    Args:
        corpus: as for prepare.
        source: as for prepare.
        out: as for prepare.
        n_workers: as for prepare.
        progress: as for prepare.

    Returns:
        What prepare returns, before it is written; there may be no clip that can be used.

    Raises:
        ConfigError: n_workers is less than 1, or out holds something else.
        DataError: the corpus has another layout.
        AudioError: a folder or an HDF5 file cannot be read.
        MissingDependencyError: a package that reads a format is not installed.
    """
    n_side_by_side = worker_count(n_workers)
    listing = list_clips(source, corpus, leave_out=out)
    refuse_other_manifests(out, listing)
    problems: list[Problem] = []
    rates = _rates(listing)
    with Journal(out / JOURNAL_NAME, Examined) as journal:
        failed = journal.complete(
            [*rates],
            lambda recording: _read(recording, rates[recording]),
            n_workers=n_side_by_side,
            progress=progress,
        )
        clips = _ready(listing, journal, failed, problems)
        manifest = Manifest(
            labels=listing.labels, clips=clips, corpus=listing.corpus, notes=listing.notes
        )
    return Prepared(
        path=out / MANIFEST_NAME,
        manifest=manifest,
        n_listed=len(listing.clips),
        problems=tuple(problems),
        problems_path=out / PROBLEMS_NAME,
    )


def refuse_other_manifests(out: Path, listing: Manifest) -> None:
    """Refuse a folder that holds the manifest of other clips, or recordings.

    Args:
        out: where a manifest is to be written.
        listing: the clips that it is about.

    Raises:
        ConfigError: there is one of other clips already, or the folder is one of recordings.
    """
    names = visible_names(out)
    sound = [name for name in names if Path(name).suffix.lower() in SUFFIXES]
    if sound and listing.corpus is None and listing.labels:
        raise ConfigError(f"{out} holds recordings ({sound[0]}); expected a folder of its own")
    try:
        earlier = first_clips(out / MANIFEST_NAME, N_COMPARED) if MANIFEST_NAME in names else []
    except DataError:  # damaged, and made anew
        return
    home = cache(os.path.realpath)
    known = {(home(path.parent), path.name) for path in map(Path, listing.clips.files())}
    if earlier and not any((home(clip.path.parent), clip.path.name) in known for clip in earlier):
        raise ConfigError(
            f"{out} holds a manifest of other clips, such as {earlier[0].path}; expected another "
            "folder"
        )


def first_of(problems: Sequence[Problem]) -> str:
    """Say which problem came first, after a semicolon.

    Args:
        problems: any number.

    Returns:
        The end of a line; empty if there are none.
    """
    return f"; the first: {problems[0].clip} ({problems[0].reason})" if problems else ""


def _rates(listing: Manifest) -> dict[Recording, int | None]:
    """The sample rates that a listing claims for its recordings, where it does."""
    rates: dict[Recording, int | None] = {}
    for clip in listing.clips:
        rates.setdefault((str(clip.path), clip.key), clip.sample_rate)
    return rates


def _read(recording: Recording, sample_rate: int | None) -> Examined | str:
    """Read one recording; what is wrong with it, if it cannot be read."""
    path, key = recording
    if not os.path.exists(path):  # noqa: PTH110 (millions of them)
        return MISSING
    try:
        return examine_recording(Path(path), key, sample_rate)
    except (AudioError, DataError) as error:
        return str(error).removeprefix(path).lstrip("#:").strip()


def _ready(
    listing: Manifest,
    journal: Journal[Examined],
    failed: dict[Recording, str],
    problems: list[Problem],
) -> Iterator[Clip]:
    """The clips that can be used, measured; what is wrong with the others is added to problems."""
    seen: set[int] = set()
    for clip in listing.clips:
        recording = str(clip.path), clip.key
        found = journal.get(recording)
        reason = failed[recording] if found is None else _fault(clip, listing, found.seconds)
        mark = hash((recording, clip.start_s, clip.end_s))
        if not reason and mark in seen:
            reason = "listed more than once"
        seen.add(mark)
        if reason or found is None:
            name = str(clip.path.with_name(clip.name))
            problems.append(Problem(name, reason, reason == MISSING))
            continue
        end_s = found.seconds if clip.end_s is None else min(clip.end_s, found.seconds)
        yield replace(
            clip,
            seconds=round(end_s - clip.start_s, 6),
            sample_rate=found.sample_rate,
            digest=found.digest,
        )


def _fault(clip: Clip, listing: Manifest, seconds: float) -> str:
    """What is wrong with a clip whose recording can be read; empty for nothing."""
    unknown = [label for label in clip.labels if label not in listing.index]
    if unknown:
        return f"labeled {unknown[0]!r}, which is not in the label list"
    if clip.end_s is not None and clip.end_s <= clip.start_s:
        return f"the piece {clip.start_s}-{clip.end_s} s has no length"
    if clip.start_s >= seconds:
        return f"the piece begins at {clip.start_s} s; the recording ends at {seconds:.2f} s"
    return ""


def write_problems(path: Path, problems: Iterable[Problem]) -> None:
    """Write the table of what is left out; take an old one away where there is nothing to say.

    Args:
        path: the table, in CSV.
        problems: what is left out, and why.

    Raises:
        ConfigError: the table cannot be written.
    """
    problems = list(problems)
    with writing(path):
        if not problems:
            path.unlink(missing_ok=True)
            return
        text = io.StringIO(newline="")
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(("clip", "problem"))
        rows.writerows((problem.clip, problem.reason) for problem in problems)
        write_text(path, text.getvalue(), errors="surrogateescape")
