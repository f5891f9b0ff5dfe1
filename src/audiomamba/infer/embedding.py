"""Embeddings of recordings, and of every moment of them, as vectors and as files.

A recording that fails leaves nothing in the file.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiomamba.audio.blocks import OnDamage
from audiomamba.errors import AudioError, ConfigError, MissingDependencyError
from audiomamba.infer.formats.embeddings import EMBEDDING_FORMATS, ROWS_AT_ONCE, EmbeddingFile
from audiomamba.infer.formats.format import choose_by_suffix
from audiomamba.infer.frame_scores import embed_frames
from audiomamba.infer.frame_stream import FrameStream
from audiomamba.infer.framing import Framing, step_samples
from audiomamba.infer.recording import Audio, as_paths
from audiomamba.infer.results import Embedded, Failed
from audiomamba.infer.sound_model import SoundModel
from audiomamba.infer.windows import WindowMean
from audiomamba.outputs import claimed, writing

__all__ = ["DTYPES", "check_output", "embed_files", "embed_recording"]

DTYPES = ("float32", "float16")

_Floats = NDArray[np.floating[Any]]


@torch.no_grad()  # not inference mode: a classifier may be trained on the result
def embed_recording(
    sound_model: SoundModel, recording: Audio, *, on_damage: OnDamage | None = None
) -> tuple[Tensor, float]:
    """Embed a recording as one vector: the mean over its windows, every moment counting alike.

    Args:
        sound_model: the model.
        recording: as for Tagger.tag.
        on_damage: as for audio.stream.

    Returns:
        (dim,) float32, and the recording's length in seconds.

    Raises:
        AudioError: as for Tagger.tag.
        ConfigError: as for Tagger.tag.
    """
    mean = WindowMean()
    for batch in sound_model.windows(recording, on_damage=on_damage):
        features, lengths = sound_model.inputs(batch)
        mean.add_batch(batch, sound_model.model.embed(features, lengths).cpu())
    return mean.result(), mean.n_samples / sound_model.front_end.sample_rate


def check_output(out: Path, dtype: str) -> type[EmbeddingFile]:
    """Say, before any work is done, if embeddings cannot be written.

    Args:
        out: where they are to go; the suffix says the format.
        dtype: of the numbers.

    Returns:
        The format.

    Raises:
        ConfigError: the format or the type is unknown, or the file's folder does not exist.
        MissingDependencyError: the format needs pyarrow, and it is not installed.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"embeddings as {dtype!r}; expected {' or '.join(DTYPES)}")
    return choose_by_suffix(EMBEDDING_FORMATS, out, "embeddings")


def embed_files(
    sound_model: SoundModel,
    files: str | PathLike[str] | Iterable[str | PathLike[str]],
    out: Path,
    *,
    framing: Framing | None = None,
    dtype: str = "float32",
    about: Mapping[str, str] | None = None,
    overwrite: bool = True,
) -> Iterator[Embedded | Failed]:
    """Embed recordings into a file, which is there when the last result was taken.

    With .parquet, a row holds file, seconds and embedding, or file, start_s and embedding of a
    frame; with .npy the array holds the embeddings (rows, dim), and a .json beside it says which
    rows belong to which recording. The model's name and the other settings are in the parquet
    file's metadata, as JSON under the key "audiomamba", or in the .json.

    Args:
        sound_model: the model, such as a Tagger.
        files: the recordings, or a single one.
        out: where the embeddings go.
        framing: how recordings become frames, each with an embedding; None for one embedding per
            recording.
        dtype: of the numbers, "float32" or "float16".
        about: what else the metadata hold, such as the model's hash.
        overwrite: whether files that are there already may be replaced.

    Returns:
        One result per recording, in their order; one that fails does not stop the others.

    Raises:
        ConfigError: nothing can be written there, another call writes there, or the framing does
            not fit the model.
        MissingDependencyError: the format needs pyarrow, and it is not installed.

    Examples:
        >>> import audiomamba
        >>> files = [Path("my-clips/dog/1.wav"), Path("my-clips/dog/2.wav")]
        >>> made = embed_files(audiomamba.load("general"), files, Path("clips.npy"))
        >>> [one.to_dict()["first_row"] for one in made], len(np.load("clips.npy"))
        ([0, 1], 2)
    """
    chosen = check_output(out, dtype)
    if framing is not None:
        step_samples(sound_model, framing)
    facts: dict[str, Any] = {
        "model": sound_model.name,
        **(about or {}),
        "dtype": dtype,
        "sample_rate": sound_model.front_end.sample_rate,
        "step_s": None if framing is None else framing.step_s,
    }
    paths = as_paths(files)
    claim = claimed(chosen.files(out), paths, overwrite=overwrite)
    table = chosen(out, np.dtype(dtype), facts)
    return _embed_files(sound_model, paths, table, framing, claim)


def _embed_files(
    sound_model: SoundModel,
    files: Iterable[Path],
    table: EmbeddingFile,
    framing: Framing | None,
    claim: AbstractContextManager[None],
) -> Iterator[Embedded | Failed]:
    dtype = str(table.dtype)
    with claim, writing(table.out), table:
        for file in files:
            damages: list[AudioError] = []
            try:
                if framing is None:
                    values, seconds = embed_recording(sound_model, file, on_damage=damages.append)
                    added = table.add(file, seconds, [_as(values[None], dtype)])
                else:
                    frames = embed_frames(sound_model, file, framing, on_damage=damages.append)
                    added = _add_frames(table, file, frames)
                yield replace(added, damage=next(iter(damages), None))
            except (AudioError, MissingDependencyError) as error:
                yield Failed(file, error)


def _add_frames(table: EmbeddingFile, file: Path, frames: FrameStream) -> Embedded:
    """Write the frames of a recording once all of them are there."""
    with TemporaryFile() as spool:
        dim = 0
        for block in frames:
            dim = block.shape[1]
            spool.write(_as(block, str(table.dtype)).tobytes())
        spool.seek(0)
        return table.add(file, frames.seconds, _read_rows(spool, table.dtype, dim))


def _read_rows(spool: IO[bytes], dtype: np.dtype[Any], dim: int) -> Iterator[_Floats]:
    while data := spool.read(ROWS_AT_ONCE * dim * dtype.itemsize):
        yield np.frombuffer(data, dtype=dtype).reshape(-1, dim)


def _as(values: Tensor, dtype: str) -> _Floats:
    array: _Floats = values.numpy().astype(dtype)
    return array
