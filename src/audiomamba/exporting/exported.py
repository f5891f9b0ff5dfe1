"""From a trained model to a folder that runs without PyTorch."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from audiomamba import __version__, checkpoints
from audiomamba.atomic import replace_folder
from audiomamba.checkpoints import Checkpoint
from audiomamba.errors import ConfigError, MissingDependencyError, UnknownNameError
from audiomamba.exporting.agreement import (
    Agreement,
    Scores,
    batches_of_sound,
    compare,
    open_graph,
)
from audiomamba.exporting.first_difference import first_difference
from audiomamba.exporting.graph import Graph
from audiomamba.exporting.inputs import GraphInput, Length, graph_input
from audiomamba.exporting.int8 import MAX_LOSS, Accuracies, CheckClips, use_int8
from audiomamba.exporting.onnx_file import check_graph, to_onnx
from audiomamba.exporting.package import check_compiler, open_package, to_package
from audiomamba.exporting.program import trace
from audiomamba.infer import SoundModel, Tagger
from audiomamba.output_folders import refuse_filled
from audiomamba.outputs import refuse_inputs, sole_writer, writing

__all__ = ["Exported", "export"]

LABELS_FILE, SCRIPT_FILE = "labels.json", "tag.py"
WRITTEN = ("model.onnx", "model.pt2", LABELS_FILE, SCRIPT_FILE)
Format = Literal["onnx", "pt2"]
FORMAT = 1
TOLERANCE = 1e-4  # of scores
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True)
class Exported:
    """An exported model.

    Args:
        folder: where it is.
        n_bytes: size of the model's file.
        opset: version of the operator set; None of a package.
        n_nodes: operations in the graph, those within loops counted once; None of a package.
        agreement: how its scores and its speed compare with PyTorch's; of int8 weights, those that
            it had in float32.
        accuracies: with int8 weights, what they cost on labelled clips.

    Examples:
        >>> import torch
        >>> agreement = Agreement(2e-7, torch.zeros(1, 16_000), time_ms=22.0, torch_time_ms=20.0)
        >>> Exported(Path("small"), 4_000_000, 18, 900, agreement).accuracies is None
        True
    """

    folder: Path
    n_bytes: int
    opset: int | None
    n_nodes: int | None
    agreement: Agreement
    accuracies: Accuracies | None = None


def export(
    model: Tagger | Checkpoint | str | Path,
    folder: str | Path,
    *,
    format: Format = "onnx",  # noqa: A002 (as the command line calls it)
    length: Length = None,
    features_in: bool = False,
    int8_check: str | Path | None = None,
    label_map: str | Path | None = None,
    max_loss: float = MAX_LOSS,
    recording: str | Path | None = None,
    overwrite: bool = False,
    on_step: Callable[[str], object] = lambda _: None,
) -> Exported:
    """Write a model as a folder that runs without this package: model.onnx, labels.json, tag.py.

    The graph goes from waveform to scores. Those on real sound are compared with the model's first.

    Args:
        model: a tagger, a checkpoint, the name of a shipped model, or a folder.
        folder: where to; made, whole or not at all.
        format: "onnx"; or "pt2" for model.pt2, compiled code for PyTorch's C++ library.
        length: seconds, the only length then; "any"; None for any, or what the model can.
        features_in: let the graph take features (batch, frames, mels) instead of a waveform.
        int8_check: labelled clips, as `audiomamba evaluate` reads them: the weights of linear
            layers become int8 if the accuracy on these hardly falls. None for float32.
        label_map: of these clips, as for `audiomamba evaluate`.
        max_loss: the most that it may fall, from 0 to 1.
        recording: the sound to compare with; None for one that ships with the package.
        overwrite: replace a folder that is there.
        on_step: is told in a few words what is done.

    Returns:
        What was written, and how it compares.

    Raises:
        ConfigError: it does not fit, the folder is in use, or scores or int8 differ too much.
        DataError: the clips for int8 have unknown labels.
        MissingDependencyError: audiomamba[export] is not installed.

    Examples:
        >>> export("general", ".")
        Traceback (most recent call last):
        audiomamba.errors.ConfigError: . is there already; name another folder, or ask to ...
    """
    folder = Path(folder)
    _check(folder, overwrite, model, (int8_check, label_map, recording))
    checkpoint = _checkpoint(model)
    given = _graph_input(checkpoint, format, features_in, length)
    clips = _clips(int8_check, label_map, given, format)
    with sole_writer(folder), writing(folder), _new_folder(folder) as part:
        file = part / f"model.{format}"
        done = _write_graph(file, checkpoint, given, recording, on_step)
        about = {"opset": done.opset, "source": _source(model)}
        _write_rest(file, checkpoint, given, about)
        if clips is not None:
            on_step(f"measuring int8 on {clips.data}")
            done = replace(done, accuracies=use_int8(part, file.name, clips, max_loss))
            _write_rest(file, checkpoint, given, about | {"int8": asdict(done)["accuracies"]})
    return replace(done, folder=folder, n_bytes=(folder / file.name).stat().st_size)


def _write_graph(
    file: Path,
    checkpoint: Checkpoint,
    given: GraphInput,
    recording: str | Path | None,
    told: Callable[[str], object],
) -> Exported:
    """Make the graph and compare it with the model."""
    graph = Graph(checkpoint, given.front_end)
    told("tracing the model")
    program = trace(graph, given.example, any_length=isinstance(given.axes[1], str))
    if file.suffix == ".pt2":
        told("compiling it, which takes minutes")
        to_package(program, file)
        made, opset, n_nodes, run = None, None, None, open_package(file)
    else:
        told("translating it to ONNX")
        made = to_onnx(program, _axes(graph, given), file, longest_s=given.longest_s)
        largest = max(weight.numel() for weight in graph.state_dict().values())
        (opset, n_nodes), run = check_graph(file, largest), open_graph(file)
    told("comparing it with PyTorch")
    agreement = _agreement(checkpoint, given, run, recording)
    if not agreement.largest_difference <= TOLERANCE:
        where = "in compiled code"
        if made is not None:
            where = first_difference(made, file, agreement.worst, TOLERANCE)
        raise ConfigError(
            f"scores of the exported {checkpoint.name} differ by "
            f"{agreement.largest_difference:.2g} from the model's: {where}; nothing was written"
        )
    return Exported(file.parent, file.stat().st_size, opset, n_nodes, agreement)


def _check(
    folder: Path,
    overwrite: bool,
    model: Tagger | Checkpoint | str | Path,
    others: Iterable[str | Path | None],
) -> None:
    """Refuse early what would fail in the end, and to write over what is read."""
    read = [Path(one) for one in others if one is not None]
    if isinstance(model, str | Path):
        read.append(checkpoints.find(model))
    refuse_inputs([folder], read)
    if folder.exists() and not overwrite:
        raise ConfigError(f"{folder} is there already; name another folder, or ask to overwrite it")
    refuse_filled(folder, beside=WRITTEN)


def _check_format(format: Format) -> None:  # noqa: A002
    """Refuse a format for which something is missing."""
    if format not in get_args(Format):
        raise UnknownNameError("format", format, get_args(Format))
    if format == "pt2":
        check_compiler()
        return
    for package in PACKAGES:
        if find_spec(package) is None:
            raise MissingDependencyError(package, "export", "exporting a model")


def _graph_input(
    checkpoint: Checkpoint,
    format: Format,  # noqa: A002
    features_in: bool,
    length: Length,
) -> GraphInput:
    """The input; compiled code does not notice sound that is too long, so it has one length."""
    _check_format(format)
    front_end = checkpoint.front_end
    padded = front_end is not None and not checkpoint.model.config.any_length
    if format == "pt2" and padded and length is None and front_end is not None:
        length = front_end.clip_s
    return graph_input(checkpoint, features_in=features_in, length=length)


def _clips(
    data: str | Path | None,
    label_map: str | Path | None,
    given: GraphInput,
    format: Format,  # noqa: A002
) -> CheckClips | None:
    """The clips that int8 is checked on, if it is asked for."""
    if data is None:
        return None
    if format != "onnx":
        raise ConfigError(f"int8 is for the format onnx; expected no int8 for {format}")
    if given.name != "waveform":
        raise ConfigError(f"int8 is checked on sound, and the graph reads {given.name}")
    return CheckClips(Path(data), None if label_map is None else Path(label_map))


def _checkpoint(model: Tagger | Checkpoint | str | Path) -> Checkpoint:
    if isinstance(model, Tagger):
        return model.checkpoint
    return model if isinstance(model, Checkpoint) else checkpoints.load(checkpoints.find(model))


def _source(model: Tagger | Checkpoint | str | Path) -> str | None:
    """The hash of the folder that the model was loaded from, if it is known."""
    if isinstance(model, Tagger | Checkpoint):
        return None
    return checkpoints.fingerprint(checkpoints.find(model))


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which takes its place and name once all is there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    part.mkdir()
    try:
        yield part
        replace_folder(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _axes(graph: Graph, given: GraphInput) -> dict[str, list[str | int]]:
    """The axes of the input and the outputs by name."""
    with torch.inference_mode():
        outputs = graph(given.example)
    steps = {"frame_scores", "frame_embeddings"} if given.any_length else set()
    axes: dict[str, list[str | int]] = {given.name: given.axes}
    for name, value in outputs.items():
        axes[name] = ["batch", *value.shape[1:]]
        if name in steps:
            axes[name][1] = "steps"
    return axes


def _agreement(
    checkpoint: Checkpoint, given: GraphInput, run: Scores, recording: str | Path | None
) -> Agreement:
    """Compare on one thread."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ours, inputs = _ours(checkpoint, given, recording)
        return compare(ours, run, inputs)
    finally:
        torch.set_num_threads(n_threads)


def _ours(
    checkpoint: Checkpoint, given: GraphInput, recording: str | Path | None
) -> tuple[Callable[[Tensor], Tensor], list[Tensor]]:
    """The model as a function from the graph's input to scores, and inputs to try."""
    if given.reads is None:
        graph = Graph(checkpoint, None)
        return torch.inference_mode()(lambda x: graph(x)["scores"]), [
            torch.randn(n, *given.example.shape[1:]) for n in (1, 3)
        ]
    sound_model = SoundModel(checkpoint)
    batches = batches_of_sound(sound_model, given.checked, recording)
    if given.name == "features":
        inputs = [_features(sound_model, batch) for batch in batches]
        return torch.inference_mode()(sound_model.score_features), inputs

    def ours(waveforms: Tensor) -> Tensor:
        return sound_model.score_features(_features(sound_model, waveforms))

    return torch.inference_mode()(ours), batches


def _features(sound_model: SoundModel, waveforms: Tensor) -> Tensor:
    return torch.cat([sound_model.one_pass_inputs(waveform) for waveform in waveforms])


def _write_rest(
    file: Path, checkpoint: Checkpoint, given: GraphInput, about: dict[str, Any]
) -> None:
    """Write what has to be known to use the graph, and the script that does."""
    front_end, model = given.reads, checkpoint.model
    facts: dict[str, Any] = {
        "format": FORMAT,
        "name": checkpoint.name,
        "family": model.config.family,
        "input": given.name,
        "axes": given.axes,
        "scores": checkpoint.scores,
        "license": checkpoint.license,
        "made_by": f"audiomamba {__version__}",
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        **about,
    }
    if front_end is not None:
        steps = model.frame_steps(front_end.n_frames)
        facts |= {
            "sample_rate": front_end.sample_rate,
            "window_samples": given.longest or front_end.n_samples,
            "fixed_length": isinstance(given.axes[1], int),
            "any_length": given.any_length,
            "frame_step_s": steps.n_frames * front_end.shift_samples / front_end.sample_rate,
            "moments_window_s": model.moments_window_s if given.any_length else None,
            "front_end": asdict(front_end),
        }
    facts |= {
        "labels": checkpoint.labels,
        "thresholds": checkpoint.thresholds,
        "hidden": checkpoint.hidden,
        "parents": dict(checkpoint.parents),
        "notes": dict(checkpoint.notes),
    }
    text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
    (file.parent / LABELS_FILE).write_text(text, "utf-8")
    if given.name == "waveform" and file.suffix == ".onnx":
        script = files("audiomamba.exporting").joinpath(f"{SCRIPT_FILE}.txt").read_bytes()
        (file.parent / SCRIPT_FILE).write_bytes(script)
