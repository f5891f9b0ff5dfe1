"""Whether an exported model says what the model says, and how fast, on real sound."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from audiomamba.infer import SoundModel

__all__ = ["Agreement", "batches_of_sound", "compare", "new_session", "open_graph"]

BATCH_SIZES = (1, 3)
N_TIMED = 5
SOUND = "guitar.ogg"  # harmonics of a guitar, BStateham, 2012, CC0 1.0

Scores = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Agreement:
    """How an exported model compares with its origin.

    Args:
        largest_difference: of any score, over all inputs.
        worst: the input (batch, ...) on which it was found.
        time_ms: of the exported model for one input, the longest, on one thread.
        torch_time_ms: of PyTorch for the same, in turns with it.

    Examples:
        >>> found = Agreement(2e-7, torch.zeros(1, 16_000), time_ms=22.0, torch_time_ms=20.0)
        >>> found.time_ms / found.torch_time_ms
        1.1
    """

    largest_difference: float
    worst: Tensor = field(repr=False, compare=False)
    time_ms: float
    torch_time_ms: float


def compare(ours: Scores, theirs: Scores, inputs: Sequence[Tensor]) -> Agreement:
    """Run a model and its exported form on the same inputs.

    Args:
        ours: the model: its scores (batch, classes) of an input.
        theirs: the exported form: the same.
        inputs: batches; the last one's first row is also what is timed.

    Returns:
        The largest difference and the times.
    """
    worst, largest = inputs[0], -1.0
    for given in inputs:
        difference = float((ours(given) - theirs(given)).abs().max())
        if not difference <= largest:  # or no number at all
            worst, largest = given, difference
    times: list[tuple[float, float]] = []
    timed = inputs[-1][:1]
    for _ in range(N_TIMED):
        start = time.process_time()
        ours(timed)
        between = time.process_time()
        theirs(timed)
        times.append((between - start, time.process_time() - between))
    torch_ms, onnx_ms = (1000 * median(column) for column in zip(*times, strict=True))
    return Agreement(largest, worst, onnx_ms, torch_ms)


def new_session(file: Path, n_threads: int = 1) -> Any:
    """Open an ONNX file.

    Args:
        file: the file.
        n_threads: processor threads to use.

    Returns:
        ONNX Runtime's session.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def open_graph(file: Path) -> Scores:
    """Open an ONNX file that gives scores.

    Args:
        file: the file.

    Returns:
        A function from the input to scores, on one thread.
    """
    session = new_session(file)
    name = session.get_inputs()[0].name

    def scores(given: Tensor) -> Tensor:
        (found,) = session.run(["scores"], {name: given.numpy()})
        return torch.from_numpy(found)

    return scores


def batches_of_sound(
    sound_model: SoundModel, lengths: Sequence[int], recording: str | Path | None = None
) -> list[Tensor]:
    """Cut batches out of a recording, which is repeated as often as it takes.

    Args:
        sound_model: the model, whose rate they have.
        lengths: samples of each batch.
        recording: a file; None for one that ships with the package.

    Returns:
        (batch, samples) for each length and each of two sizes of batch.
    """
    if recording is None:
        with as_file(files("audiomamba.exporting").joinpath(SOUND)) as path:
            samples = sound_model.read(path)
    else:
        samples = sound_model.read(recording)
    batches = []
    for length in lengths:
        for n in BATCH_SIZES:
            repeated = samples.repeat(1 + (n * length) // len(samples))
            batches.append(repeated[: n * length].reshape(n, length))
    return batches
