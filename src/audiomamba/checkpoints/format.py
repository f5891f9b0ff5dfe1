"""A saved model: a folder with model.safetensors and config.json.

config.json holds all that is needed to use the weights: the model's family and settings, the front
end, the labels, how logits become scores, the licence, and notes such as how it was trained.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from graphlib import CycleError, TopologicalSorter
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save as save_tensors

from audiomamba.atomic import replacing, write_json, write_text
from audiomamba.audio import FrontEnd
from audiomamba.checkpoints import transformers_files
from audiomamba.checkpoints.state import State, build, check_state, read_state
from audiomamba.config import from_plain
from audiomamba.errors import CheckpointError, ConfigError, UnknownNameError
from audiomamba.models import FAMILIES, AudioModel, ModelConfig
from audiomamba.models.ood import OODDetector

__all__ = ["Checkpoint", "Settings", "fingerprint", "load", "read_settings", "save"]

FORMAT = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
EXPORTED_FILES = ("model.onnx", "labels.json")
RUN_MODEL = "last"
_HASHED_AT_ONCE = 1 << 20
OOD_PREFIX = "familiarity."  # of the keys of the detector's tensors; an older name of it

Note = str | int | float


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A model with everything that is needed to use it.

    Args:
        name: what to call it.
        model: the model.
        front_end: how its input is made; None for a model of images.
        labels: one name per class, in the order of the logits.
        scores: how logits become scores: "sigmoid" for independent labels, "softmax" for exactly
            one.
        ood_detector: lowers the scores of sounds unlike those of the training; None for scores as
            they are.
        thresholds: the score from which on each class is heard, in the order of the labels; None
            if nobody has found out.
        hidden: labels whose scores are not to be trusted, which taggers leave out unless they are
            asked for.
        parents: the ontology of the labels: for each label and each kind above it the names of the
            kinds right above; empty for labels without one.
        license: the weights' licence, as an SPDX identifier where there is one.
        notes: facts worth keeping, such as the training data and the accuracy.

    Raises:
        CheckpointError: labels and front end do not fit the model, a hidden label is none of the
            labels, or the ontology has a circle.

    Examples:
        >>> from audiomamba import models
        >>> model = models.create("cnn_small", n_classes=2, n_mels=64, n_frames=96)
        >>> front_end = FrontEnd(n_mels=64, n_frames=96)
        >>> Checkpoint(
        ...     name="mine", model=model, front_end=front_end, labels=("dog",), scores="softmax"
        ... )
        Traceback (most recent call last):
        audiomamba.errors.CheckpointError: mine: 1 labels for 2 classes
    """

    name: str
    model: AudioModel
    front_end: FrontEnd | None
    labels: tuple[str, ...]
    scores: Literal["sigmoid", "softmax"]
    ood_detector: OODDetector | None = None
    thresholds: tuple[float, ...] | None = None
    hidden: tuple[str, ...] = ()
    parents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    license: str = "unknown"
    notes: Mapping[str, Note] = field(default_factory=dict)

    def __post_init__(self) -> None:
        config = self.model.config
        if len(self.labels) != config.n_classes:
            raise CheckpointError(
                f"{self.name}: {len(self.labels)} labels for {config.n_classes} classes"
            )
        if self.thresholds is not None and len(self.thresholds) != len(self.labels):
            raise CheckpointError(
                f"{self.name}: {len(self.thresholds)} thresholds for {len(self.labels)} labels"
            )
        unknown = sorted(set(self.hidden) - set(self.labels))
        if unknown:
            raise CheckpointError(f"{self.name}: {unknown[0]!r} is hidden, but is no label")
        _check_ontology(self.name, self.parents)
        if self.front_end is None:
            return
        if (self.front_end.n_mels, self.front_end.n_frames) != (config.n_mels, config.n_frames):
            raise CheckpointError(
                f"{self.name}: the front end makes {self.front_end.n_mels} mel bands and "
                f"{self.front_end.n_frames} frames, the model takes {config.n_mels} and "
                f"{config.n_frames}"
            )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What config.json says.

    Args:
        model: the model's settings.
        limit: of the out-of-distribution detector; None without one.
        detector_size: classes and channels of the detector; None where config.json does not say.
        others: the other arguments of Checkpoint.

    Examples:
        >>> import json
        >>> from audiomamba import checkpoints
        >>> config = json.loads((checkpoints.find("general") / "config.json").read_text())
        >>> read_settings(config, "general").others["scores"]
        'sigmoid'
    """

    model: ModelConfig
    limit: float | None
    detector_size: tuple[int, int] | None
    others: Mapping[str, Any]

    def checkpoint(self, model: AudioModel, detector: OODDetector | None) -> Checkpoint:
        """Put a model and a detector together with the rest.

        Args:
            model: of these settings.
            detector: if there is one.

        Returns:
            The checkpoint.

        Raises:
            CheckpointError: the labels do not fit the model.
        """
        return Checkpoint(model=model, ood_detector=detector, **self.others)


def read_settings(config: Mapping[str, Any], source: str) -> Settings:
    """Read what config.json says.

    Args:
        config: its values; those that are not known here are left alone.
        source: what to call it in messages.

    Returns:
        The settings.

    Raises:
        CheckpointError: a value is missing or none that is known.

    Examples:
        >>> read_settings({}, "mine/config.json")
        Traceback (most recent call last):
        audiomamba.errors.CheckpointError: mine/config.json...
    """
    try:
        if config["format"] != FORMAT:
            raise CheckpointError(
                f"{source}: format {config['format']}; this version reads {FORMAT}"
            )
        if config["family"] not in FAMILIES:
            raise UnknownNameError("model family", config["family"], FAMILIES)
        parents = {name: tuple(above) for name, above in (config.get("parents") or {}).items()}
        others = {
            "front_end": config["front_end"] and from_plain(FrontEnd, config["front_end"]),
            "labels": tuple(map(str, config["labels"])),
            "scores": config["scores"],
            "thresholds": config.get("thresholds") and tuple(map(float, config["thresholds"])),
            "hidden": tuple(map(str, config.get("hidden") or ())),
            "parents": parents,
            **{key: config[key] for key in ("name", "license", "notes")},
        }
        detector = config.get("familiarity") or {}
        limit = float(detector["limit"]) if detector else None
        n_classes, dim = detector.get("size") or (0, 0)
        model = from_plain(FAMILIES[config["family"]], config["model"])
    except (AttributeError, KeyError, TypeError, ValueError, ConfigError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(f"{source}: {reason}") from error
    if config["scores"] not in ("sigmoid", "softmax"):
        raise CheckpointError(
            f"{source}: scores is {config['scores']!r}; expected 'sigmoid' or 'softmax'"
        )
    size = (int(n_classes), int(dim)) if n_classes else None
    return Settings(model=model, limit=limit, detector_size=size, others=others)


def save(folder: str | Path, checkpoint: Checkpoint, *, dtype: torch.dtype = torch.float32) -> None:
    """Write a model folder; an existing one is overwritten.

    The transformers library loads a model of sound from it too, see audiomamba.hf.

    Args:
        folder: where to; made if it is not there.
        checkpoint: the model and what belongs to it.
        dtype: of the floating-point weights in the file; loading gives float32 again.

    Examples:
        >>> from audiomamba import checkpoints
        >>> shipped = load(checkpoints.find("general"))
        >>> save("copy", shipped, dtype=torch.float16)
        >>> load("copy").labels == shipped.labels
        True
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    detector, front_end = checkpoint.ood_detector, checkpoint.front_end
    state = checkpoint.model.state_dict()
    if detector is not None:
        state |= {OOD_PREFIX + key: value for key, value in detector.state_dict().items()}
    state = {
        key: (value.to(dtype) if value.is_floating_point() else value).contiguous()
        for key, value in state.items()
    }
    config = {
        "format": FORMAT,
        "name": checkpoint.name,
        "family": checkpoint.model.config.family,
        "model": asdict(checkpoint.model.config),
        "front_end": front_end and asdict(front_end),
        "labels": list(checkpoint.labels),
        "scores": checkpoint.scores,
        "familiarity": detector and {"limit": detector.limit, "size": list(detector.means.shape)},
        "thresholds": checkpoint.thresholds and list(checkpoint.thresholds),
        "hidden": list(checkpoint.hidden),
        "parents": {name: list(above) for name, above in checkpoint.parents.items()},
        "license": checkpoint.license,
        "notes": dict(checkpoint.notes),
    }
    if front_end is not None:
        config |= transformers_files.settings(checkpoint.labels)
        write_json(
            folder / transformers_files.PREPROCESSOR_FILE,
            transformers_files.preprocessor(front_end),
        )
        write_text(folder / transformers_files.CODE_FILE, transformers_files.CODE)
    with (
        replacing(folder / WEIGHTS_FILE) as weights_part,
        replacing(folder / CONFIG_FILE) as config_part,
    ):
        weights_part.write_bytes(save_tensors(state, metadata={"format": "pt"}))
        text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
        config_part.write_text(text, "utf-8", "backslashreplace")  # names need not be UTF-8


def load(folder: str | Path) -> Checkpoint:
    """Read a model folder.

    Args:
        folder: a folder that `save` wrote, or a training run's folder, of which the last model is
            taken.

    Returns:
        The checkpoint, its model in float32 and evaluation mode.

    Raises:
        CheckpointError: a file is missing or damaged, or a key or shape is not what the settings
            say.

    Examples:
        >>> from audiomamba import checkpoints
        >>> shipped = load(checkpoints.find("general"))
        >>> shipped.front_end.sample_rate, len(shipped.labels), shipped.scores
        (32000, 527, 'sigmoid')
    """
    folder = _model_folder(Path(folder))
    settings = read_settings(_read_config(folder / CONFIG_FILE), str(folder / CONFIG_FILE))
    weights = folder / WEIGHTS_FILE
    state = read_state(weights)
    detector = None if settings.limit is None else _ood_detector(state, settings.limit, weights)
    return settings.checkpoint(build(settings.model, state, str(weights)), detector)


def fingerprint(folder: str | Path) -> str:
    """Hash a model's weights and settings.

    Args:
        folder: as for load, or one that was exported.

    Returns:
        SHA-256 over model.safetensors and then config.json, or over model.onnx and then
        labels.json, 64 hexadecimal digits.

    Raises:
        CheckpointError: a file is missing or cannot be read.

    Examples:
        >>> from audiomamba import checkpoints
        >>> len(fingerprint(checkpoints.find("general")))
        64
    """
    found, paths = sha256(), [Path(folder) / name for name in EXPORTED_FILES]
    if not all(path.is_file() for path in paths):
        paths = [_model_folder(Path(folder)) / name for name in (WEIGHTS_FILE, CONFIG_FILE)]
    for path in paths:
        try:
            with path.open("rb") as file:
                while data := file.read(_HASHED_AT_ONCE):
                    found.update(data)
        except OSError as error:
            reason = (error.strerror or "cannot be read").lower()
            raise CheckpointError(f"{path}: {reason}") from error
    return found.hexdigest()


def _ood_detector(state: State, limit: float, source: Path) -> OODDetector:
    """Take the out-of-distribution detector out of a model's tensors."""
    own = {key: state.pop(key) for key in list(state) if key.startswith(OOD_PREFIX)}
    own = {key.removeprefix(OOD_PREFIX): value for key, value in own.items()}
    if "means" not in own or own["means"].ndim != 2:
        raise CheckpointError(f"{source}: {OOD_PREFIX}means is missing")
    n_classes, dim = own["means"].shape
    detector = OODDetector(n_classes, dim, limit)
    check_state(detector, own, str(source))
    detector.load_state_dict(own)
    return detector


def _check_ontology(name: str, parents: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse an ontology in which a kind stands above itself."""
    try:
        tuple(TopologicalSorter(parents).static_order())
    except CycleError as error:
        raise CheckpointError(f"{name}: {error.args[1][0]!r} stands above itself") from error


def _model_folder(folder: Path) -> Path:
    """The folder itself, or the last model of a training run."""
    for candidate in (folder, folder / RUN_MODEL):
        if (candidate / CONFIG_FILE).is_file():
            return candidate
    raise CheckpointError(
        f"{folder}: no {CONFIG_FILE} in it; expected a folder written by training or conversion"
    )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: holds {type(config).__name__}; expected a JSON object")
    return config
