"""`audiomamba segment`, `audiomamba detect` and `audiomamba train-images`."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from audiomamba.cli.recordings import Overwrite
from audiomamba.errors import AudioMambaError, ConfigError
from audiomamba.outputs import claimed
from audiomamba.terminal import output, print_error, progress_bar

if TYPE_CHECKING:
    from torch import Tensor

    from audiomamba.vision import ImageModel

__all__ = [
    "DETECT_EXAMPLES",
    "SEGMENT_EXAMPLES",
    "SEGMENT_SOUND_EXAMPLES",
    "TRAIN_EXAMPLES",
    "detect",
    "segment",
    "segment_sound",
    "train",
]

SEGMENT_EXAMPLES = (
    "Example:\n\n`audiomamba segment photos/ --model run --pictures seen > classes.jsonl`"
)
DETECT_EXAMPLES = "Example:\n\n`audiomamba detect street.jpg --model run --pictures seen`"
SEGMENT_SOUND_EXAMPLES = (
    "Example:\n\n`audiomamba segment-sound bell.wav --model run --pictures seen`"
)
TRAIN_EXAMPLES = (
    "Examples:\n\n`audiomamba train-images --recipe shapes/segment --out run`\n\n"
    "`audiomamba train-images --recipe ade20k/vim_tiny.paper --data ADEChallengeData2016 --out run`"
)

Images = Annotated[
    list[Path], typer.Argument(metavar="IMAGE...", help="Image files, or folders with some.")
]
Model = Annotated[
    Path, typer.Option("--model", "-m", metavar="DIR", show_default=False, help="A trained model.")
]
Pictures = Annotated[
    Path | None,
    typer.Option(metavar="DIR", show_default=False, help="Draw into a copy of each image there."),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="FILE", show_default=False, help="Instead of stdout."),
]


def segment(
    images: Images,
    model: Model,
    pictures: Pictures = None,
    out: Out = None,
    overwrite: Overwrite = False,
) -> None:
    """Find the class of each pixel of images.

    Prints a line of JSON for each image: its classes, with the share of pixels that each has. An
    image that cannot be read is named on stderr; the others are done.
    """
    from audiomamba.vision.pictures import draw_map
    from audiomamba.vision.training.tasks import segment as find

    def one(loaded: "ImageModel", image: "Tensor", picture: Path | None) -> dict[str, Any]:
        classes = find(loaded.model, image, loaded.recipe)  # type: ignore[arg-type]
        if picture is not None:
            draw_map(image, classes, picture)
        counts = classes.flatten().bincount(minlength=len(loaded.labels)) / classes.numel()
        order = counts.argsort(descending=True, stable=True)
        shares = [(loaded.labels[i], round(counts[i].item(), 4)) for i in order.tolist()]
        return {"classes": [{"label": name, "share": share} for name, share in shares if share]}

    _each(_images("segment", images), model, one, _Outputs(pictures, out, overwrite))


def detect(
    images: Images,
    model: Model,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Least score of what is reported.")
    ] = 0.5,
    pictures: Pictures = None,
    out: Out = None,
    overwrite: Overwrite = False,
) -> None:
    """Find the objects in images.

    Prints a line of JSON for each image: its objects, with label, score and box (left, top, right,
    bottom in pixels). An image that cannot be read is named on stderr; the others are done.
    """
    from audiomamba.vision.pictures import draw_detections
    from audiomamba.vision.training.tasks import detect as find

    def one(loaded: "ImageModel", image: "Tensor", picture: Path | None) -> dict[str, Any]:
        found = find(loaded.model, image, loaded.recipe).above(threshold)  # type: ignore[arg-type]
        if picture is not None:
            draw_detections(image, found, loaded.labels, picture)
        rows = zip(found.classes.tolist(), found.scores.tolist(), found.boxes.tolist(), strict=True)
        return {
            "objects": [
                {
                    "label": loaded.labels[label],
                    "score": round(score, 4),
                    "box": [round(side, 1) for side in box],
                }
                for label, score, box in rows
            ]
        }

    _each(_images("detect", images), model, one, _Outputs(pictures, out, overwrite))


def segment_sound(
    recordings: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Recordings, or folders with some.")
    ],
    model: Model,
    pictures: Pictures = None,
    out: Out = None,
    overwrite: Overwrite = False,
) -> None:
    """Find which kind of sound is loudest where in time and frequency.

    Prints a line of JSON for each recording: its sounds, with label, start and end in seconds, and
    the frequencies between which they are. A recording that cannot be read is named on stderr; the
    others are done.
    """
    from audiomamba import audio
    from audiomamba.vision.sounds import draw_sound, patches
    from audiomamba.vision.sounds import segment_sound as find

    def one(loaded: "ImageModel", samples: "Tensor", picture: Path | None) -> dict[str, Any]:
        front_end = loaded.recipe.front_end
        features, classes = find(loaded.model, samples, front_end)  # type: ignore[arg-type]
        if picture is not None:
            draw_sound(features, classes, picture)
        return {"sounds": [asdict(p) for p in patches(classes, loaded.labels, front_end)]}  # type: ignore[arg-type]

    def read(loaded: "ImageModel", file: Path) -> "Tensor":
        return audio.load(file, sample_rate=loaded.recipe.front_end.sample_rate)  # type: ignore[union-attr]

    files = audio.find(recordings)
    _each(_Inputs("segment-sound", files, read), model, one, _Outputs(pictures, out, overwrite))


def train(
    recipe: Annotated[
        str, typer.Option(metavar="NAME", show_default=False, help="How; --list shows the names.")
    ] = "",
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", show_default=False, help="The set of images, as given out."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", show_default=False, help="The run.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Change a field of the recipe."),
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read images.")] = 0,
    show: Annotated[bool, typer.Option("--list", help="Show the recipes, and end.")] = False,
) -> None:
    """Train a model of images by a recipe of the papers, or go on with such a run."""
    from audiomamba import config
    from audiomamba.train.fitting import processes
    from audiomamba.vision import fit_images
    from audiomamba.vision.data.corpora import open_images
    from audiomamba.vision.training.recipes import RECIPES, get_recipe

    if show:
        for name, one in RECIPES.items():
            typer.echo(f"{name:32}{one.source}")
        return
    if not recipe or out is None:
        raise ConfigError("expected --recipe NAME and --out DIR; --list shows the recipes")
    how = config.override(get_recipe(recipe), changes or [])
    corpus = recipe.partition("/")[0]
    training = open_images(corpus, data, "training", how.task)
    held_out = open_images(corpus, data, "validation", how.task)
    scores = fit_images(how, training, held_out, out, n_workers=workers)
    if processes.rank() == 0:  # of those that torchrun started
        for name, score in scores.items():
            typer.echo(f"{name:16}{score:.4f}")


@dataclass(frozen=True)
class _Inputs:
    """Files, how they are read, and what a model of them does."""

    task: str
    files: list[Path]
    read: "Callable[[ImageModel, Path], Tensor]"


class _Outputs(NamedTuple):
    """What is written beside stdout."""

    pictures: Path | None
    out: Path | None
    overwrite: bool


def _images(task: str, images: list[Path]) -> _Inputs:
    from audiomamba.vision.data.images import read_image

    files = [file for path in images for file in _files(path)]
    return _Inputs(task, files, lambda _loaded, file: read_image(file))


def _each(
    inputs: _Inputs,
    folder: Path,
    one: "Callable[[ImageModel, Tensor, Path | None], dict[str, Any]]",
    outputs: _Outputs,
) -> None:
    """Do the same with each file, and print a line for each."""
    from audiomamba.vision import load_images

    loaded = load_images(folder)
    if loaded.recipe.task != inputs.task:
        raise ConfigError(f"{folder} is a model to {loaded.recipe.task}, not to {inputs.task}")
    pictures, files = outputs.pictures, [path for path in (outputs.out,) if path is not None]
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
    n_failed, lines = 0, None
    with (
        claimed(files, [*inputs.files, folder, *folder.iterdir()], overwrite=outputs.overwrite),
        ExitStack() as stack,
        progress_bar(inputs.task, len(inputs.files)) as advance,
    ):
        for index, file in enumerate(inputs.files):
            try:
                picture = None if pictures is None else pictures / f"{index + 1:04}-{file.stem}.png"
                found = one(loaded, inputs.read(loaded, file), picture)
            except AudioMambaError as error:
                print_error(error)
                n_failed += 1
            else:
                line = json.dumps({"file": str(file), **found}, ensure_ascii=False)
                if lines is None:  # nothing is opened before there is something to write
                    lines = stack.enter_context(output(outputs.out))
                lines.write(line + "\n")
            advance()
    if n_failed:
        raise typer.Exit(1)


def _files(path: Path) -> Iterator[Path]:
    from audiomamba.vision.data.images import find_images

    if path.is_dir():
        yield from find_images(path)
    else:
        yield path
