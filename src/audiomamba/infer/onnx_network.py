"""An exported graph in the place of a model: what comes in are waveforms, not features.

`audiomamba.export` writes such graphs; ONNX Runtime runs them.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from audiomamba.audio import FrontEnd
from audiomamba.checkpoints import Checkpoint
from audiomamba.config import from_plain
from audiomamba.errors import CheckpointError, ConfigError, MissingDependencyError
from audiomamba.models import AudioModel, ModelConfig
from audiomamba.models.base import FrameSteps

__all__ = ["OnnxNetwork", "is_exported", "read_exported"]

MODEL_FILE, LABELS_FILE, CONFIG_FILE = "model.onnx", "labels.json", "config.json"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class OnnxConfig(ModelConfig):
    """The sizes of a graph that reads sound up to a length."""

    family: ClassVar[str] = "onnx"

    def build(self) -> AudioModel:
        """Refuse: a graph is read, not made."""
        raise ConfigError("an exported graph is read from its folder; it has no fresh weights")


@dataclass(frozen=True, kw_only=True)
class AnyLengthOnnxConfig(OnnxConfig):
    """The sizes of a graph that reads sound of any length."""

    any_length: ClassVar[bool] = True
    one_pass: ClassVar[bool] = True


class OnnxNetwork(AudioModel):
    """Runs an exported graph; everywhere features are expected it takes (batch, samples).

    Args:
        config: its sizes.
        file: the graph.
        step_frames: frames from one of its steps of time to the next.
        n_samples: the only number of samples that it reads; None for others too.
    """

    def __init__(
        self, config: OnnxConfig, file: Path, step_frames: float, n_samples: int | None
    ) -> None:
        super().__init__(config)
        self._step_frames, self.n_samples = step_frames, n_samples
        self._session = _open(file)
        self._outputs = frozenset(output.name for output in self._session.get_outputs())

    @property
    def pools_frames(self) -> bool:
        """Whether the graph scores single steps."""
        return "frame_scores" in self._outputs

    def output(self, name: str, waveforms: Tensor) -> Tensor:
        """Run the graph.

        Args:
            name: of an output.
            waveforms: (batch, samples).

        Returns:
            The output.

        Raises:
            ConfigError: the graph has no such output.
        """
        if name not in self._outputs:
            raise ConfigError(f"the exported graph gives no {name}; use the model it was made from")
        (found,) = self._session.run([name], {"waveform": waveforms.contiguous().numpy()})
        return torch.from_numpy(found)

    def tokens(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Give the embeddings of the steps."""
        return self.frame_embeddings(features, lengths)

    def embed(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Embed waveforms: (batch, dim)."""
        del lengths  # those of a batch are alike
        return self.output("embedding", features)

    def frame_embeddings(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Embed each step of time: (batch, steps, dim)."""
        del lengths
        return self.output("frame_embeddings", features)

    def frame_steps(self, n_frames: int) -> FrameSteps:
        """Say how sound is divided into steps, of which there are no more than frames."""
        return FrameSteps(n_frames, self._step_frames)


def is_exported(folder: Path) -> bool:
    """Tell whether a folder holds an exported graph.

    Args:
        folder: any folder.

    Returns:
        Whether it does.
    """
    files = (folder / MODEL_FILE, folder / LABELS_FILE)
    return all(file.is_file() for file in files) and not (folder / CONFIG_FILE).exists()


def read_exported(folder: Path) -> Checkpoint:
    """Read what `audiomamba.export` wrote.

    Args:
        folder: the folder.

    Returns:
        A checkpoint whose model is an OnnxNetwork.

    Raises:
        CheckpointError: a file is damaged.
        ConfigError: the graph reads no waveforms.
        MissingDependencyError: onnxruntime is not installed.
    """
    file = folder / LABELS_FILE
    try:
        told: dict[str, Any] = json.loads(file.read_text("utf-8"))
        if told["format"] != FORMAT:
            raise CheckpointError(f"{file}: format {told['format']}; this version reads {FORMAT}")
        if told["input"] == "waveform":
            return _checkpoint(told, folder / MODEL_FILE)
    except (OSError, KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(f"{file}: {reason}") from error
    raise ConfigError(
        f"{folder}: the graph reads {told['input']}; expected one exported with its front end"
    )


def _checkpoint(told: dict[str, Any], file: Path) -> Checkpoint:
    front_end = from_plain(FrontEnd, told["front_end"])
    made = AnyLengthOnnxConfig if told["any_length"] else OnnxConfig
    sizes = {"n_mels": front_end.n_mels, "n_frames": front_end.n_frames}
    config = made(n_classes=len(told["labels"]), **sizes)
    step = float(told["frame_step_s"]) * front_end.sample_rate / front_end.shift_samples
    fixed = told["window_samples"] if told["fixed_length"] else None
    network = OnnxNetwork(config, file, step, fixed)
    network.moments_window_s = told.get("moments_window_s")
    return Checkpoint(
        name=told["name"],
        model=network,
        front_end=front_end,
        labels=tuple(told["labels"]),
        scores=told["scores"],
        thresholds=told["thresholds"] and tuple(told["thresholds"]),
        hidden=tuple(told["hidden"]),
        parents={name: tuple(above) for name, above in told["parents"].items()},
        license=told["license"],
        notes=told["notes"],
    )


def _open(file: Path) -> Any:
    """A session with as many threads as PyTorch has."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError("onnxruntime", "export", "an exported model") from error
    from onnxruntime.capi import onnxruntime_pybind11_state as states

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    wrong = (states.InvalidProtobuf, states.InvalidGraph, states.Fail, states.NotImplemented)
    try:
        return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except wrong as error:
        raise CheckpointError(f"{file}: not a graph that ONNX Runtime reads") from error
