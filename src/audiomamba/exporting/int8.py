"""Int8 weights, by ONNX Runtime's own tools, kept only if the model stays about as accurate."""

import shutil
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from audiomamba.errors import ConfigError
from audiomamba.exporting.program import quiet

if TYPE_CHECKING:
    import onnx

__all__ = ["MAX_LOSS", "Accuracies", "CheckClips", "quantize", "use_int8"]

QUANTIZED = ["MatMul", "Gemm"]  # linear layers; convolutions get slower in int8
MAX_LOSS = 0.01


@dataclass(frozen=True)
class Accuracies:
    """How accurate a model is on labelled clips before and after.

    Args:
        metric: "accuracy", or "mean_average_precision" where clips have several labels.
        float32: of the exported model.
        int8: of the same with int8 weights.
        n_clips: how many clips it was measured on.
    """

    metric: str
    float32: float
    int8: float
    n_clips: int


@dataclass(frozen=True)
class CheckClips:
    """Labelled clips to measure on.

    Args:
        data: the clips, laid out as `audiomamba evaluate` reads them.
        label_map: which of the model's labels stand for theirs; None if theirs are the model's.
    """

    data: Path
    label_map: Path | None = None


def quantize(file: Path, into: Path) -> None:
    """Quantize the weights of linear layers, channel by channel; activations as they come.

    Those of the front end stay as they are: its Fourier transform needs all of its precision.

    Args:
        file: the graph.
        into: where the quantized graph goes.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(file)
    _transpose_weights(model.graph)
    of_front_end = [
        node.name
        for node in model.graph.node
        if any(name.startswith("front_end.") for name in node.input)
    ]
    with quiet():
        quantize_dynamic(
            model,
            into,
            op_types_to_quantize=QUANTIZED,
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=of_front_end,
        )


def _transpose_weights(graph: "onnx.GraphProto") -> None:
    """Let weights that are used transposed stand in the graph so, once: only such are quantized."""
    from onnx import numpy_helper

    weights: dict[str, np.ndarray]
    weights = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    names: dict[Hashable, str]
    names = {_content(value): name for name, value in weights.items()}

    def transposed(name: str, axes: Sequence[int] | None, new_name: str) -> str:
        value = weights[name].transpose(axes)
        same = names.setdefault(_content(value), new_name)
        if same == new_name:
            graph.initializer.append(numpy_helper.from_array(value.copy(), same))
        return same

    other: dict[str, str] = {}
    for node in list(graph.node):
        attributes = {one.name: one for one in node.attribute}
        for number, name in enumerate(node.input):
            node.input[number] = other.get(name, name)
        if node.op_type == "Transpose" and node.input[0] in weights:
            axes = attributes["perm"].ints if "perm" in attributes else None
            other[node.output[0]] = transposed(node.input[0], axes, node.output[0])
            graph.node.remove(node)
        elif "transB" in attributes and attributes["transB"].i and node.input[1] in weights:
            node.input[1] = transposed(node.input[1], None, f"{node.input[1]}.T")
            attributes["transB"].i = 0


def _content(value: np.ndarray) -> Hashable:
    return value.shape, value.dtype.str, value.tobytes()


def use_int8(folder: Path, name: str, clips: CheckClips, max_loss: float) -> Accuracies:
    """Put int8 weights into an exported folder if they lose little on labelled clips.

    Args:
        folder: what was exported, labels included.
        name: of its graph's file.
        clips: to measure on.
        max_loss: the largest loss of the metric, from 0 to 1.

    Returns:
        What was measured; the graph has been replaced.

    Raises:
        ConfigError: more is lost.
        DataError: the data set is not what it should be, or has other labels than the model.
    """
    metric, before, n_clips = _measure(folder, clips)
    with _beside(folder) as other:
        shutil.copytree(folder, other)
        quantize(folder / name, other / name)
        _, after, _ = _measure(other, clips)
        if before - after > max_loss:
            raise ConfigError(
                f"int8 takes {metric.replace('_', ' ')} on {clips.data} from {before:.4f} to "
                f"{after:.4f}, a loss of more than {max_loss:g}; nothing was written: leave out "
                "int8, or allow a larger loss"
            )
        (other / name).replace(folder / name)
    return Accuracies(metric, before, after, n_clips)


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    other = folder.with_name(f"{folder.name}.int8")
    try:
        yield other
    finally:
        shutil.rmtree(other, ignore_errors=True)


def _measure(folder: Path, clips: CheckClips) -> tuple[str, float, int]:
    """The metric's name and value, and the number of clips."""
    from audiomamba.train import evaluate

    found = evaluate(folder, clips.data, label_map=clips.label_map, n_resamples=0).metrics
    metric = "accuracy" if found.confusion is not None else "mean_average_precision"
    return metric, float(getattr(found, metric)), found.n_clips
