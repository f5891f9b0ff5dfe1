"""`audiomamba train`."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from audiomamba.cli.options import Data, Threads
from audiomamba.errors import ConfigError, MissingDependencyError
from audiomamba.terminal import columns, number

__all__ = ["EXAMPLES", "train"]

EXAMPLES = (
    "Examples:\n\n`audiomamba train esc10/starter --data ESC-50 --out runs/fold-1 --fold 1`\n\n"
    "`audiomamba train own/starter --data my-clips --out runs/mine --set epochs=30`"
)


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            show_default=False,
            help="What to train and how: own/starter for clips of your own; esc10/ or esc50/ "
            "followed by starter, aum-tiny, aum-tiny-mean, ast-tiny or cnn-small.",
        ),
    ],
    data: Data,
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", show_default=False, help="Where the run is kept."),
    ],
    fold: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Hold this fold out.", show_default="the first"),
    ] = None,
    cv: Annotated[
        bool, typer.Option("--cv", help="Train once per fold, each time holding that fold out.")
    ] = False,
    all_clips: Annotated[
        bool, typer.Option("--all", help="Train on all clips; nothing is left to evaluate on.")
    ] = False,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            show_default=False,
            help="Change a setting of the recipe: epochs=20, augment.mixup=0; repeatable.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--no-resume", help="Go on with a run that --out holds, or refuse to."
        ),
    ] = True,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", show_default="one per core", help="Folds side by side, with --cv."
        ),
    ] = None,
    threads: Threads = None,
) -> None:
    """Train a model by a recipe.

    The run's folder gets the settings, the metrics of every epoch, and the model in last/ and
    best/, each ready for `tag --model`. A run that was interrupted goes on with the
    same command. Needs the extra audiomamba[train].
    """
    if sum((fold is not None, cv, all_clips)) > 1:
        raise ConfigError("more than one of --fold, --cv and --all was given; expected one")
    if find_spec("lightning") is None:
        raise MissingDependencyError("lightning", "train", "training")
    from audiomamba import recipes
    from audiomamba import train as training

    chosen = recipes.override(recipes.get(recipe), changes or [])
    progress = sys.stderr.isatty()
    if cv:
        found = training.cross_validate(
            chosen, data, out, jobs=jobs, n_threads=threads, progress=progress
        )
        typer.echo(found.to_markdown(), nl=False)
        return
    result = training.fit(
        chosen,
        data,
        out,
        fold=fold,
        train_on_all=all_clips,
        resume=resume,
        n_threads=threads,
        progress=progress,
    )
    rows = [(name.replace("_", " "), number(value)) for name, value in result.metrics.items()]
    typer.echo(columns(rows, "<>"), nl=False)
    typer.echo(f"The model is in {result.folder / 'last'}: {result.seconds:.0f} s of training.")
