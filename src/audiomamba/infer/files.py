"""Many recordings in a row: one that fails does not stop the others."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiomamba.errors import AudioError, AudioMambaError, MissingDependencyError
from audiomamba.infer.many import score_many
from audiomamba.infer.tagger import Mode, Scored, Tag, Tagger

__all__ = ["Choice", "Failed", "Tagged", "tag_chosen", "tag_files", "tag_unordered"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """How recordings are read, and which of their tags are kept.

    Args:
        top: keep at most this many tags of each; None for all.
        threshold: keep only tags that score at least this.
        window_s: as for Tagger.tag.
        hop_s: as for Tagger.tag.
        mode: as for Tagger.tag.
    """

    top: int | None = None
    threshold: float = 0.0
    window_s: float | None = None
    hop_s: float | None = None
    mode: str = "windows"


@dataclass(frozen=True, slots=True)
class Tagged:
    """The tags of one recording that were asked for.

    Args:
        file: the recording.
        seconds: its length.
        tags: the highest score first; may be empty.
        note: what is to be known about the scores, as Scored.note.
    """

    file: Path
    seconds: float
    tags: Sequence[Tag]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """A recording that could not be tagged.

    Args:
        file: the recording.
        error: why; the message names the file.
    """

    file: Path
    error: AudioMambaError


def tag_files(
    tagger: Tagger,
    files: Iterable[Path],
    *,
    top: int | None = None,
    threshold: float = 0.0,
    window_s: float | None = None,
    hop_s: float | None = None,
    mode: Mode = "windows",
) -> Iterator[Tagged | Failed]:
    """Tag recordings: they are read while the model works, and their windows share batches.

    Args:
        tagger: the model.
        files: the recordings.
        top: keep at most this many tags of each; None for all.
        threshold: keep only tags that score at least this.
        window_s: as for Tagger.tag.
        hop_s: as for Tagger.tag.
        mode: as for Tagger.tag; recordings that are read natively take turns.

    Returns:
        One result per recording, in their order.

    Raises:
        ConfigError: a length is out of its range, or the model cannot read natively; when a result
            is asked for.
        UnknownNameError: there is no such mode; when a result is asked for.
    """
    choice = Choice(top=top, threshold=threshold, window_s=window_s, hop_s=hop_s, mode=mode)
    return tag_chosen(tagger, list(files), choice)


def tag_chosen(tagger: Tagger, files: Sequence[Path], choice: Choice) -> Iterator[Tagged | Failed]:
    """Tag recordings as tag_files does.

    Args:
        tagger: the model.
        files: the recordings.
        choice: how they are read, and which tags are kept.

    Yields:
        One result per recording, in their order.

    Raises:
        ConfigError: as for Tagger.tag.
        UnknownNameError: as for Tagger.tag.
    """
    early: dict[int, Tagged | Failed] = {}
    n_given = 0
    for place, result in tag_unordered(tagger, files, choice):
        early[place] = result
        while n_given in early:
            yield early.pop(n_given)
            n_given += 1


def tag_unordered(
    tagger: Tagger, files: Sequence[Path], choice: Choice
) -> Iterator[tuple[int, Tagged | Failed]]:
    """Tag recordings as tag_files does, and give every result as soon as it is ready.

    Args:
        tagger: the model.
        files: the recordings.
        choice: how they are read, and which tags are kept.

    Yields:
        The place of a recording among the files, from 0, and its result.

    Raises:
        ConfigError: as for Tagger.tag.
        UnknownNameError: as for Tagger.tag.
    """
    tagger.check_mode(choice.mode, choice.window_s, choice.hop_s)
    if choice.mode == "native":
        found_of_all = _score_natively(tagger, files)
    else:
        found_of_all = score_many(tagger, files, window_s=choice.window_s, hop_s=choice.hop_s)
    for place, found in found_of_all:
        if not isinstance(found, Scored):
            yield place, Failed(files[place], found)
            continue
        tags = tagger.ranked(found.scores)[: choice.top]
        kept = [tag for tag in tags if tag.score >= choice.threshold]
        yield place, Tagged(files[place], found.seconds, kept, found.note)


def _score_natively(
    tagger: Tagger, files: Sequence[Path]
) -> Iterator[tuple[int, Scored | AudioMambaError]]:
    """Score recordings one after the other, each in one pass."""
    for place, file in enumerate(files):
        try:
            yield place, tagger.score(file, mode="native")
        except (AudioError, MissingDependencyError) as error:
            yield place, error
