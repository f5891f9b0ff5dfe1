"""Many recordings in a row: one that fails does not stop the others."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiomamba.errors import AudioError, AudioMambaError, MissingDependencyError
from audiomamba.infer.tagger import Tag, Tagger

__all__ = ["Failed", "Tagged", "tag_files"]


@dataclass(frozen=True, slots=True)
class Tagged:
    """The tags of one recording that were asked for.

    Args:
        file: the recording.
        seconds: its length.
        tags: the highest score first; may be empty.
    """

    file: Path
    seconds: float
    tags: Sequence[Tag]


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
    tagger: Tagger, files: Iterable[Path], *, top: int | None = None, threshold: float = 0.0
) -> Iterator[Tagged | Failed]:
    """Tag recordings one after the other.

    Args:
        tagger: the model.
        files: the recordings.
        top: keep at most this many tags of each; None for all.
        threshold: keep only tags that score at least this.

    Yields:
        One result per recording, in their order.
    """
    rate = tagger.front_end.sample_rate
    for file in files:
        try:
            samples = tagger.read(file)
            tags = tagger.tag((samples, rate))
        except (AudioError, MissingDependencyError) as error:
            yield Failed(file, error)
        else:
            kept = [tag for tag in tags[:top] if tag.score >= threshold]
            yield Tagged(file, len(samples) / rate, kept)
