"""`audiomamba train`."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NamedTuple, TypedDict

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
from audiomamba.terminal import format_number, format_table, print_error

__all__ = ["EXAMPLES", "train"]

EXAMPLES = (
    "Examples:\n\n`audiomamba train --list`\n\n"
    "`audiomamba train esc10/starter --data ESC-50 --out runs/fold-1 --fold 1`\n\n"
    "`audiomamba train own/starter --data my-clips --out runs/mine --set epochs=30`\n\n"
    "`audiomamba train esc10/aum-tiny --ablation aum/table-ii --cv --data ESC-50 --out runs/ii`\n\n"
    "`audiomamba train esc10/cnn-small --data ESC-50 --out runs/small --teacher runs/fold-1`\n\n"
    "`torchrun --nproc-per-node 2 -m audiomamba train audioset/aum-base --data AS --out runs/as`"
)


class _Common(TypedDict):
    """What one run, a cross-validation and an ablation take alike."""

    n_threads: int | None
    weights: Path | None
    progress: bool


class _What(NamedTuple):
    """What is trained on what."""

    recipe: str | None
    changes: list[str]
    data: Path
    out: Path


class _OfOneRun(NamedTuple):
    """Options that make sense for a single run only."""

    all_clips: bool
    resume: bool
    save_every: float | None
    shard: bool
    mirror: str | None
    wandb: str | None

    def refuse(self, several: str) -> None:
        """Refuse them where several runs are asked for, by the option that asks for them."""
        given = {
            "--all": self.all_clips,
            "--no-resume": not self.resume and several == "--ablation",
            "--save-every": self.save_every is not None,
            "--shard": self.shard,
            "--mirror": self.mirror is not None,
            "--wandb": self.wandb is not None,
        }
        for name, is_given in given.items():
            if is_given:
                raise ConfigError(f"{name} does not go with {several}; leave it out")


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
    typer.Option(min=0, metavar="N", help="Hold this fold out.", show_default="the first"),
]
Cv = Annotated[
    bool, typer.Option("--cv", help="Train once per fold, each time holding that fold out.")
]
AllClips = Annotated[
    bool, typer.Option("--all", help="Train on all clips; nothing is left to evaluate on.")
]
Ablation = Annotated[
    str | None,
    typer.Option(
        metavar="PAPER/TABLE",
        show_default=False,
        help="Train what a table of a paper compares, by the paper's recipe or by RECIPE.",
    ),
]
SetOf = Annotated[str | None, typer.Option(hidden=True)]  # the name that --ablation had
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
        help="Runs side by side, with --cv or --ablation.",
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
MirrorTo = Annotated[
    str | None,
    typer.Option(
        "--mirror",
        metavar="s3://...",
        show_default=False,
        help="Keep a copy of the run there, which a machine whose DIR is empty goes on from.",
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
    ablation: Ablation = None,
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
    mirror: MirrorTo = None,
    wandb: Wandb = None,
    threads: Threads = None,
    list_recipes: ListRecipes = False,
    set_of: SetOf = None,
) -> None:
    """Train a model by a recipe, or all models of a table of a paper.

    The run's folder gets the settings, the metrics of every epoch, and the model in last/ and
    best/, each ready for `tag --model`. A run that was interrupted is resumed by the same command.
    torchrun starts several processes, on GPUs or machines of their own, that train one model: each
    takes the recipe's batch size. Needs the extra audiomamba[train].
    """
    if set_of is not None:
        raise ConfigError(f"--set-of is now called --ablation; expected --ablation {set_of}")
    if list_recipes:
        _list()
        return
    if recipe is None and ablation is None:
        raise ConfigError("no recipe was given; expected RECIPE or --ablation, which --list shows")
    if data is None or out is None:
        raise ConfigError(f"{'--data' if data is None else '--out'} is missing")
    if sum((fold is not None, cv, all_clips)) > 1:
        raise ConfigError("more than one of --fold, --cv and --all was given; expected one")
    changes = with_teachers(changes, teacher, distill_weight, distill_temperature, teacher_cache)
    common: _Common = {"n_threads": threads, "weights": weights, "progress": sys.stderr.isatty()}
    of_one = _OfOneRun(all_clips, resume, save_every, shard, mirror, wandb)
    what = _What(recipe, changes, data, out)
    if ablation is not None:
        of_one.refuse(several="--ablation")
        _ablate(ablation, what, cv=cv, fold=fold, jobs=jobs, common=common)
    elif cv:
        of_one.refuse(several="--cv")
        _cross_validate(what, jobs=jobs, common=common)
    else:
        _train_one(what, of_one, fold=fold, common=common)


def _list() -> None:
    """Name all recipes and all tables of papers."""
    from audiomamba.listing import list_recipes

    typer.echo(list_recipes(), nl=False)


def _train_one(what: _What, options: _OfOneRun, *, fold: int | None, common: _Common) -> None:
    """Train one model."""
    _need_lightning()
    from audiomamba import recipes, train
    from audiomamba.train.fitting.execution import Execution
    from audiomamba.train.fitting.processes import rank

    chosen = recipes.override(recipes.get(str(what.recipe)), what.changes)
    execution: Execution = {
        "n_threads": common["n_threads"],
        "shard": options.shard,
        "mirror": options.mirror,
        "wandb": options.wandb,
        "progress": common["progress"],
    }
    if options.save_every is not None:
        execution["save_every_s"] = options.save_every
    result = train.fit(
        chosen,
        what.data,
        what.out,
        fold=fold,
        train_on_all=options.all_clips,
        resume=options.resume,
        weights=common["weights"],
        **execution,
    )
    if rank() > 0:  # of the processes that trained together, one says how it went
        return
    rows = [
        (name.replace("_", " "), format_number(value)) for name, value in result.metrics.items()
    ]
    typer.echo(format_table(rows, "<>"), nl=False)
    typer.echo(f"The model is in {result.folder / 'last'}: {result.seconds:.0f} s of training.")


def _cross_validate(what: _What, *, jobs: int | None, common: _Common) -> None:
    """Train once per fold."""
    _need_lightning()
    from audiomamba import recipes, train

    chosen = recipes.override(recipes.get(str(what.recipe)), what.changes)
    found = train.cross_validate(chosen, what.data, what.out, jobs=jobs, **common)
    typer.echo(found.to_markdown(), nl=False)


def _ablate(
    name: str, what: _What, *, cv: bool, fold: int | None, jobs: int | None, common: _Common
) -> None:
    """Train all cells of a table; those that were not run to their end are named on stderr."""
    _need_lightning()
    from audiomamba import train

    found = train.run_set(
        name,
        what.data,
        what.out,
        on=what.recipe,
        changes=what.changes,
        cv=cv,
        fold=fold,
        jobs=jobs,
        **common,
    )
    typer.echo(found.to_markdown(), nl=False)
    for problem in found.problems:
        print_error(TrainingError(problem))
    if found.problems:
        raise typer.Exit(1)


def _need_lightning() -> None:
    """Refuse to train without Lightning, before recipes and data are looked at."""
    if find_spec("lightning") is None:
        raise MissingDependencyError("lightning", "train", "training")
