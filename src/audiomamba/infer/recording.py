"""What may be given as a recording: a path, bytes, an open file, or samples with their rate."""

from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from audiomamba import audio
from audiomamba.audio.blocks import OnDamage, Source, check_sound
from audiomamba.audio.mono import as_rate
from audiomamba.audio.resample import resample
from audiomamba.errors import AudioError, ConfigError

__all__ = ["Audio", "Samples", "as_paths", "read_blocks"]

Samples = Tensor | NDArray[Any]
Audio = Source | tuple[Samples, int]


def read_blocks(
    recording: Audio, sample_rate: int, *, on_damage: OnDamage | None = None
) -> Iterator[Tensor]:
    """Decode, mix to one channel and resample, block by block.

    Args:
        recording: a file's path, the bytes of a file, a file open for reading bytes, or
            (samples, sample_rate) with samples (samples,) or (samples, channels), floating point
            from -1 to 1.
        sample_rate: the wanted rate in Hz.
        on_damage: as for audio.stream.

    Yields:
        (samples,) float32, at least one.

    Raises:
        AudioError: the recording cannot be read, or holds no samples.
        ConfigError: the samples have another shape or type, or it is no recording at all.
    """
    if not isinstance(recording, tuple):
        _check_kind(recording)
        yield from audio.stream(recording, sample_rate=sample_rate, on_damage=on_damage)
        return
    if len(recording) != 2:
        raise ConfigError(f"{len(recording)} things were given; expected (samples, sample_rate)")
    from_hz, mono = as_rate(recording[1]), audio.to_mono(recording[0])
    check_sound(mono.numpy(), "the recording", 0.0)
    samples = resample(mono, from_hz=from_hz, to_hz=sample_rate)
    if not len(samples):  # one or two at a high rate are none at a low one
        raise AudioError("the recording has no samples")
    yield samples


def as_paths(files: str | PathLike[str] | Iterable[str | PathLike[str]]) -> list[Path]:
    """List files; a single one need not be in a list.

    Args:
        files: their paths.

    Returns:
        The paths.

    Raises:
        ConfigError: something is no path.
    """
    several = [files] if isinstance(files, str | PathLike) else list(files)
    for file in several:
        if not isinstance(file, str | PathLike):
            raise ConfigError(f"{type(file).__name__} was given; expected the path of a recording")
    return [Path(file) for file in several]


def _check_kind(recording: object) -> None:
    """Refuse what is often given in place of a recording."""
    if isinstance(recording, list):
        raise ConfigError(
            "a list was given; expected one recording, or samples as (samples, sample_rate); "
            "audiomamba.infer.tag_files tags many files"
        )
    if hasattr(recording, "dtype"):
        raise ConfigError("samples were given without their rate; expected (samples, sample_rate)")
