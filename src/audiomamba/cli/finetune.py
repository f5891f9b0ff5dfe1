"""`audiomamba finetune`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audiomamba.cli.evaluate import class_table, metrics_table
from audiomamba.cli.options import (
    DEFAULT_MODEL,
    Data,
    DistillTemperature,
    DistillWeight,
    Teacher,
    TeacherCache,
    Threads,
    model_argument,
    with_teachers,
)
from audiomamba.errors import DataError
from audiomamba.terminal import counter, format_number, format_table, print_error

if TYPE_CHECKING:
    from audiomamba.train import FinetuneResult

__all__ = ["EXAMPLES", "finetune"]

EXAMPLES = (
    "Examples:\n\n`audiomamba finetune --data my-clips --out birds`\n\n"
    "`audiomamba finetune --data labels.csv --out birds --probe`\n\n"
    "`audiomamba tag garden.wav --model birds`"
)
N_SHOWN = 10


Out = Annotated[
    Path,
    typer.Option(metavar="DIR", show_default=False, help="Where the model and the run go."),
]
Start = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME|DIR",
        help="The model to start from: a shipped one, a folder, or a name that "
        "`audiomamba models` lists, for fresh weights.",
    ),
]
Probe = Annotated[
    bool,
    typer.Option("--probe", help="Keep the encoder as it is; train only a linear head."),
]
Minutes = Annotated[
    float, typer.Option(metavar="N", help="How long training may take on this machine.")
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        show_default=False,
        help="Decide a setting yourself: epochs=20, learning_rate=3e-4; repeatable.",
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Train anew where DIR holds another model or other clips."),
]


def finetune(
    data: Data,
    out: Out,
    model: Start = DEFAULT_MODEL,
    probe: Probe = False,
    minutes: Minutes = 15.0,
    changes: Changes = None,
    teacher: Teacher = None,
    distill_weight: DistillWeight = None,
    distill_temperature: DistillTemperature = None,
    teacher_cache: TeacherCache = None,
    overwrite: Overwrite = False,
    threads: Threads = None,
) -> None:
    """Make a tagger of your own sounds from labeled clips.

    A linear head on the model's embeddings comes first. Where it is right about fewer than 85 % of
    the clips held out, or where --set changes something, all layers are trained on from it, and the
    better of the two is kept. Input length, loss, held-out clips, learning rate, number of epochs
    and thresholds are chosen by the clips and the machine. DIR becomes a model for `tag --model`,
    with the clips that it took for something else in confusions.csv. Clips that cannot be read are
    left out, and named at the end; the exit code is then 1. What was interrupted is resumed by the
    same command. Needs the extra audiomamba[train].
    """
    from audiomamba import train as training

    changes = with_teachers(changes, teacher, distill_weight, distill_temperature, teacher_cache)
    with counter("reading", "recordings") as reading:
        found = training.finetune(
            data,
            out,
            model=model,
            probe=probe,
            minutes=minutes,
            changes=changes,
            overwrite=overwrite,
            n_threads=threads,
            progress=sys.stderr.isatty(),
            reading=reading,
        )
    typer.echo(_summary(found), nl=False)
    for reason in found.skipped:
        print_error(DataError(reason))
    if found.skipped:
        raise typer.Exit(1)


def _summary(found: "FinetuneResult") -> str:
    """What was made, how good it is, and what it gets wrong."""
    held_out = found.held_out
    how = "a linear head" if found.recipe is None else f"{found.n_epochs} epochs"
    made = f"{how} on {found.n_training} clips in {found.seconds:.0f} s"
    lines = [
        f"{made}; on the clips held out, which also chose epoch and thresholds:\n",
        metrics_table(held_out.metrics, held_out.intervals),
        class_table(held_out.metrics),
    ]
    if held_out.most_wrong:
        rows = [("labeled", "given", "error", "clip")]
        rows += [
            (
                ", ".join(one.labels) or "(none)",
                ", ".join(one.given) or "(none)",
                format_number(one.error),
                one.path + one.piece,
            )
            for one in held_out.most_wrong[:N_SHOWN]
        ]
        lines.append(f"Most wrong, of those in {found.folder / 'confusions.csv'}:\n")
        lines.append(format_table(rows, "<<><"))
    model = model_argument(found.folder)
    lines.append(f"The model is ready: audiomamba tag RECORDING --model {model}")
    return "\n".join(lines) + "\n"
