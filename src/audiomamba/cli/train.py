"""`audiomamba train`."""

import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

from audiomamba.cli.options import (
    DataIfAny,
    DistillTemperature,
    DistillWeight,
    Teacher,
    TeacherCache,
    Threads,
    with_teachers,
)
from audiomamba.errors import ConfigError, MissingDependencyError, TrainingError
from audiomamba.terminal import columns, complain, number

if TYPE_CHECKING:
    from audiomamba.train import RunResult

__all__ = ["EXAMPLES", "train"]

EXAMPLES = (
    "Examples:\n\n`audiomamba train --list`\n\n"
    "`audiomamba train esc10/starter --data ESC-50 --out runs/fold-1 --fold 1`\n\n"
    "`audiomamba train own/starter --data my-clips --out runs/mine --set epochs=30`\n\n"
    "`audiomamba train esc10/aum-tiny --set-of aum/table-ii --cv --data ESC-50 --out runs/ii`\n\n"
    "`audiomamba train esc10/cnn-small --data ESC-50 --out runs/small --teacher runs/fold-1`\n\n"
    "`torchrun --nproc-per-node 2 -m audiomamba train audioset/aum-base --data AS --out runs/as`"
)


class _Common(TypedDict):
    """What all ways of training take."""

    n_threads: int | None
    weights: Path | None
    progress: bool


Recipe = Annotated[
    str | None,
    typer.Argument(
        metavar="RECIPE",
        show_default=False,
        help="What to train and how: own/starter for clips of your own; --list shows all.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(metavar="DIR", show_default=False, help="Where the run is kept."),
]
Fold = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Hold this fold out.", show_default="the first"),
]
Cv = Annotated[
    bool, typer.Option("--cv", help="Train once per fold, each time holding that fold out.")
]
AllClips = Annotated[
    bool, typer.Option("--all", help="Train on all clips; nothing is left to evaluate on.")
]
SetOf = Annotated[
    str | None,
    typer.Option(
        metavar="PAPER/TABLE",
        show_default=False,
        help="Train what a table of a paper compares, by the paper's recipe or by RECIPE.",
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        show_default=False,
        help="Change a setting of the recipe: epochs=20, augment.mixup=0; repeatable.",
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        show_default=False,
        help="Folder with the weights that recipes start from, such as imagenet/vim-small.pth.",
    ),
]
Resume = Annotated[
    bool,
    typer.Option("--resume/--no-resume", help="Go on with a run that --out holds, or refuse to."),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        show_default="one per core",
        help="Runs side by side, with --cv or --set-of.",
    ),
]
SaveEvery = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="SECONDS",
        show_default="300",
        help="Save the state so often within an epoch, for a run that may be interrupted.",
    ),
]
Shard = Annotated[
    bool,
    typer.Option(
        "--shard",
        help="Let each process that torchrun starts keep only its share of the weights: less "
        "memory, more traffic.",
    ),
]
Wandb = Annotated[
    str | None,
    typer.Option(
        metavar="PROJECT",
        show_default=False,
        help="Also send the curves to this project of Weights & Biases.",
    ),
]
ListRecipes = Annotated[
    bool, typer.Option("--list", help="List the recipes and the tables, and end.")
]


def train(
    recipe: Recipe = None,
    data: DataIfAny = None,
    out: Out = None,
    fold: Fold = None,
    cv: Cv = False,
    all_clips: AllClips = False,
    set_of: SetOf = None,
    changes: Changes = None,
    weights: Weights = None,
    teacher: Teacher = None,
    distill_weight: DistillWeight = None,
    distill_temperature: DistillTemperature = None,
    teacher_cache: TeacherCache = None,
    resume: Resume = True,
    jobs: Jobs = None,
    save_every: SaveEvery = None,
    shard: Shard = False,
    wandb: Wandb = None,
    threads: Threads = None,
    list_recipes: ListRecipes = False,
) -> None:
    """Train a model by a recipe, or all models of a table of a paper.

    The run's folder gets the settings, the metrics of every epoch, and the model in last/ and
    best/, each ready for `tag --model`. A run that was interrupted goes on with the
    same command. torchrun starts several processes, on GPUs or machines of their own, that train
    one model: each takes the recipe's batch size. Needs the extra audiomamba[train].
    """
    if list_recipes:
        from audiomamba.listing import list_recipes as listed

        typer.echo(listed(), nl=False)
        return
    if recipe is None and set_of is None:
        raise ConfigError("no recipe was given; expected RECIPE or --set-of, which --list shows")
    if data is None or out is None:
        raise ConfigError(f"{'--data' if data is None else '--out'} is missing")
    if sum((fold is not None, cv, all_clips)) > 1:
        raise ConfigError("more than one of --fold, --cv and --all was given; expected one")
    if set_of is not None and (all_clips or not resume):
        raise ConfigError("--all and --no-resume do not go with --set-of; leave them out")
    if cv or set_of is not None:
        _refuse({"--save-every": save_every, "--shard": shard or None, "--wandb": wandb})
    changes = with_teachers(changes, teacher, distill_weight, distill_temperature, teacher_cache)
    if find_spec("lightning") is None:
        raise MissingDependencyError("lightning", "train", "training")
    from audiomamba import recipes
    from audiomamba import train as training
    from audiomamba.train.run import SAVE_EVERY_S

    common: _Common = {"n_threads": threads, "weights": weights, "progress": sys.stderr.isatty()}
    if set_of is not None:
        found = training.run_set(
            set_of,
            data,
            out,
            on=recipe,
            changes=changes,
            cv=cv,
            fold=fold,
            jobs=jobs,
            **common,
        )
        typer.echo(found.to_markdown(), nl=False)
        _complain_of(found.problems)
        return
    chosen = recipes.override(recipes.get(str(recipe)), changes)
    if cv:
        folds = training.cross_validate(chosen, data, out, jobs=jobs, **common)
        typer.echo(folds.to_markdown(), nl=False)
        return
    result = training.fit(
        chosen,
        data,
        out,
        fold=fold,
        train_on_all=all_clips,
        resume=resume,
        save_every_s=SAVE_EVERY_S if save_every is None else save_every,
        shard=shard,
        wandb=wandb,
        **common,
    )
    _show(result)


def _refuse(options: Mapping[str, object]) -> None:
    """Refuse options of a single run, where several runs are asked for."""
    for name, value in options.items():
        if value is not None:
            raise ConfigError(f"{name} does not go with --cv and --set-of; leave it out")


def _show(result: "RunResult") -> None:
    """Print how a run ended, once for all processes that trained together."""
    from audiomamba.train.fitting.processes import rank

    if rank() > 0:
        return
    rows = [(name.replace("_", " "), number(value)) for name, value in result.metrics.items()]
    typer.echo(columns(rows, "<>"), nl=False)
    typer.echo(f"The model is in {result.folder / 'last'}: {result.seconds:.0f} s of training.")


def _complain_of(problems: Sequence[str]) -> None:
    """Name what was not done, and end with the exit code for it."""
    for problem in problems:
        complain(TrainingError(problem))
    if problems:
        raise typer.Exit(1)
