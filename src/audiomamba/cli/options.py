"""Options that several commands have."""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audiomamba.errors import ConfigError

if TYPE_CHECKING:
    from audiomamba.infer import Tagger

__all__ = [
    "DEFAULT_MODEL",
    "AllLabels",
    "Data",
    "DataIfAny",
    "Device",
    "DistillTemperature",
    "DistillWeight",
    "Hop",
    "LabelFile",
    "LabelMap",
    "Level",
    "Model",
    "Teacher",
    "TeacherCache",
    "Threads",
    "Window",
    "labels_in",
    "load_tagger",
    "model_argument",
    "with_teachers",
]

DEFAULT_MODEL = "general"
Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME|DIR|ADDRESS",
        help="A model that ships or was released (`audiomamba models`), a folder, a file of "
        "released weights, hf:org/name[@revision], or https://host/file.",
    ),
]
DATA = typer.Option(
    metavar="DIR|CSV|MANIFEST",
    show_default=False,
    help="The clips: a folder laid out as ESC-50, a folder with one folder per class, a CSV file "
    "with the columns filename and label, or what `audiomamba data` made. Folders or a column "
    "split may name train, valid and test in the usual ways.",
)
Data = Annotated[Path, DATA]
DataIfAny = Annotated[Path | None, DATA]
LabelMap = Annotated[
    Path | None,
    typer.Option(
        metavar="CSV",
        show_default=False,
        help="Where clips have other labels than the model: a file with the columns category, a "
        "label of clips, and label, one of the model's that stands for it. A category is scored by "
        "the highest of its labels.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", show_default=False, help="Processor threads to use."),
]
Device = Annotated[
    str,
    typer.Option(metavar="cpu|cuda[:N]", help="Where the model computes: cpu, or a GPU."),
]
Window = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        show_default="the model's input",
        help="Read recordings in windows of this length.",
    ),
]
Hop = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        show_default="the window",
        help="Begin a window every so many seconds; less than a window makes them overlap.",
    ),
]
LabelFile = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        metavar="FILE",
        show_default="those that the model is good at",
        help="Show only the labels of this text file, one on each line.",
    ),
]
Level = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        show_default="the labels themselves",
        help="Show kinds of sound instead of labels: 1 for the widest, 2 for those below, ...",
    ),
]
AllLabels = Annotated[
    bool,
    typer.Option("--all-labels", help="Also show the labels that the model is not good at."),
]
Teacher = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME|DIR",
        show_default=False,
        help="Learn from this trained model beside the labels: a shipped one, a folder or a run, "
        "{fold} in its name standing for the fold held out; repeatable.",
    ),
]
DistillWeight = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, metavar="N", show_default="0.9", help="The teachers' share in the loss."
    ),
]
DistillTemperature = Annotated[
    float | None,
    typer.Option(
        metavar="N", show_default="1", help="Above 1 for softer targets from the teachers."
    ),
]
TeacherCache = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        show_default=False,
        help="Let the teachers hear every clip once, as it is, and keep what they say here; "
        "else they hear every example as the student does.",
    ),
]


def model_argument(folder: Path) -> str:
    """Write a model's folder as --model takes it, whatever its name.

    Args:
        folder: the folder.

    Returns:
        Its path, quoted for a shell, with ./ before the name of a model that ships, and before
        what would be an option.

    Examples:
        >>> [model_argument(Path(name)) for name in ("birds", "general", "my birds")]
        ['birds', './general', "'my birds'"]
    """
    from audiomamba import checkpoints

    path = str(folder)
    if path in checkpoints.packaged() or path.startswith("-"):
        path = f".{os.sep}{path}"
    return shlex.quote(path)


def load_tagger(
    folder: Path,
    device: str,
    n_threads: int | None,
    *,
    label_file: Path | None = None,
    level: int | None = None,
    all_labels: bool = False,
) -> "Tagger":
    """Load the model that a command works with.

    Args:
        folder: the model's folder.
        device: the option --device.
        n_threads: the option --threads.
        label_file: the option --labels.
        level: the option --level.
        all_labels: the option --all-labels.

    Returns:
        The model, on the device.

    Raises:
        ConfigError: there is no such device, or the labels cannot be shown.
        UnknownNameError: the file has a label that the model does not know.
        CheckpointError: the folder is damaged or holds something else.
    """
    from audiomamba import infer
    from audiomamba.infer.device import as_device, use_threads
    from audiomamba.infer.freed_memory import keep_freed_memory

    as_device(device)  # before the time that loading takes
    labels = None if label_file is None else labels_in(label_file)
    use_threads(n_threads)
    keep_freed_memory()
    tagger = infer.load(folder, labels=labels, level=level, all_labels=all_labels)
    return tagger.to(device)


def labels_in(file: Path) -> list[str]:
    """Read the option --labels.

    Args:
        file: a text file.

    Returns:
        Its lines that are not empty.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = (getattr(error, "strerror", None) or "").lower() or "no UTF-8 text"
        raise ConfigError(f"--labels {file}: {reason}") from error
    return [line.strip() for line in lines if line.strip()]


def with_teachers(
    changes: list[str] | None,
    teachers: list[str] | None,
    weight: float | None,
    temperature: float | None,
    cache: Path | None,
) -> list[str]:
    """Turn the options that say what is learned from teachers into changes of a recipe.

    Args:
        changes: other changes, which come after these.
        teachers: the option --teacher.
        weight: the option --distill-weight.
        temperature: the option --distill-temperature.
        cache: the option --teacher-cache.

    Returns:
        All changes, as for recipes.override.

    Raises:
        ConfigError: one of the others is given without --teacher.
    """
    given = {
        "weight": ("--distill-weight", weight),
        "temperature": ("--distill-temperature", temperature),
        "cache": ("--teacher-cache", cache),
    }
    settings = [f"distillation.teachers={','.join(teachers)}"] if teachers else []
    for field, (option, value) in given.items():
        if value is None:
            continue
        if not teachers:
            raise ConfigError(f"{option} was given, but no teacher; expected --teacher NAME|DIR")
        settings.append(f"distillation.{field}={value}")
    return [*settings, *(changes or [])]
