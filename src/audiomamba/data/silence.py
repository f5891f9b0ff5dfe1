"""Clips in which there is nothing to hear."""

from audiomamba.data.clip_reader import load_clip
from audiomamba.data.clips import Clips
from audiomamba.data.manifest import some
from audiomamba.errors import DataError

__all__ = ["SILENT_BELOW", "refuse_silence", "silent_labels"]

SILENT_BELOW = 1e-4  # largest sample: -80 dB of full scale
RATE_HZ = 16_000


def silent_labels(clips: Clips) -> list[str]:
    """Name the labels of which every clip is silent.

    Of each label clips are read until one is not silent.

    Args:
        clips: the clips.

    Returns:
        Labels, sorted.

    Raises:
        AudioError: a file cannot be read.
        DataError: a piece lies outside its recording.

    Examples:
        >>> from pathlib import Path
        >>> from audiomamba.data import open_manifest
        >>> silent_labels(open_manifest(Path("my-clips")).clips)
        []
    """
    silent = set(clips.label_names)
    for clip in clips:
        if silent.isdisjoint(clip.labels):
            continue
        if float(load_clip(clip, RATE_HZ).abs().max()) >= SILENT_BELOW:
            silent.difference_update(clip.labels)
        if not silent:
            break
    return sorted(silent)


def refuse_silence(clips: Clips) -> None:
    """Refuse classes that cannot be told apart, as there is nothing to hear in them.

    Args:
        clips: clips to learn from. One class may be silence.

    Raises:
        AudioError: a file cannot be read.
        DataError: all clips of several classes are silent, or all clips of the only one.

    Examples:
        >>> from pathlib import Path
        >>> from audiomamba.data import open_manifest
        >>> refuse_silence(open_manifest(Path("my-clips")).clips)
    """
    silent = silent_labels(clips)
    if len(silent) > 1 or (silent and len(clips.label_names) == 1):
        raise DataError(
            f"all training clips of {some(silent)} are silent, below -80 dB of full scale; "
            "expected sound to learn from"
        )
