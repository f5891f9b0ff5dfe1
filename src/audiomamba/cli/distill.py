"""`audiomamba distill`: a tagger of a teacher's labels from recordings without labels."""

from pathlib import Path
from typing import Annotated

import typer

from audiomamba.cli.options import Threads
from audiomamba.terminal import counter, format_number, format_table

__all__ = ["app"]

EXAMPLES_EXAMPLE = (
    "Example:\n\n`audiomamba distill examples manifests/sounds --teacher mn04_as_mAP_432.pt "
    "--to examples --shards 200 --held-out-shards 20`"
)
TRAIN_EXAMPLE = (
    "Example:\n\n`audiomamba distill train examples --teacher mn04_as_mAP_432.pt --out run`"
)
EXPORT_EXAMPLE = (
    "Example:\n\n`audiomamba distill export run --examples examples "
    "--teacher mn04_as_mAP_432.pt --to my-tagger`"
)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Make a tagger from recordings without labels: a small model learns from a large one.",
)
Teacher = Annotated[
    str,
    typer.Option(
        metavar="NAME|DIR|FILE",
        show_default=False,
        help="Who labels: a shipped model, a folder, or a released weight file. It reads any "
        "length and has independent labels.",
    ),
]
ExamplesDir = Annotated[
    Path,
    typer.Argument(metavar="EXAMPLES", show_default=False, help="What `distill examples` wrote."),
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        show_default=False,
        help="Change a setting; repeatable.",
    ),
]
N_SHOWN = 20


@app.command(epilog=EXAMPLES_EXAMPLE)
def examples(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="MANIFEST",
            show_default=False,
            help="What `audiomamba data prepare collection` wrote.",
        ),
    ],
    teacher: Teacher,
    to: Annotated[
        Path, typer.Option("--to", metavar="DIR", show_default=False, help="Where to; it is made.")
    ],
    shards: Annotated[int, typer.Option(min=0, metavar="N", help="Files of 256 examples.")] = 200,
    held_out_shards: Annotated[
        int, typer.Option(min=0, metavar="N", help="The same of sources that are held out.")
    ] = 20,
    per_shard: Annotated[int, typer.Option(min=1, metavar="N", help="Examples in a file.")] = 256,
    seed: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Decides the mixtures; processes with different seeds may write side by side.",
        ),
    ] = 0,
    changes: Changes = None,
    threads: Threads = None,
) -> None:
    """Mix recordings, and keep what the student will hear and what the teacher says.

    Windows are drawn by the labels that the teacher hears in them, so that rare sounds are not
    drowned. What was interrupted goes on with the same command; with a larger --shards it adds
    files, also while a student learns from those that are there. One of nine sources is held out.
    """
    from audiomamba import config
    from audiomamba import data as sound_data
    from audiomamba.recipes.mixtures import Mixtures
    from audiomamba.train.distillation.examples import ExampleCount, make_examples

    _use_threads(threads)
    count = ExampleCount(
        n_training=shards, n_held_out=held_out_shards, per_shard=per_shard, seed=seed
    )
    with counter("mixing", "done") as progress:
        made = make_examples(
            sound_data.open_manifest(data),
            teacher,
            to,
            count,
            mixtures=config.override(Mixtures(), changes or ()),
            progress=progress,
        )
    training, held_out = made.n_recordings
    speed = f", {made.n_made / made.seconds:.1f} a second" if made.n_made else ""
    typer.echo(
        f"{to}: {made.n_made} examples made{speed}; "
        f"{training} recordings to learn from, {held_out} held out"
    )


@app.command(epilog=TRAIN_EXAMPLE)
def train(
    examples: ExamplesDir,
    teacher: Teacher,
    out: Annotated[
        Path, typer.Option(metavar="DIR", show_default=False, help="Where the run is kept.")
    ],
    changes: Changes = None,
    save_every: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Save the state so often.")
    ] = 300.0,
    threads: Threads = None,
) -> None:
    """Train a student on examples.

    What was interrupted goes on with the same command: on one thread (--threads 1) to the same
    result, bit for bit. DIR gets the state, metrics.jsonl and run.json.
    """
    from audiomamba import config
    from audiomamba.recipes.student import GENERAL
    from audiomamba.train.distillation.student import train_student

    _use_threads(threads)
    recipe = config.override(GENERAL, changes or ())
    with counter("learning", "steps") as progress:
        run = train_student(
            examples, teacher, out, recipe, save_every_s=save_every, progress=progress
        )
    loss = "" if run.loss is None else f", loss {run.loss:.4f}, {run.examples_per_s:.0f} a second"
    typer.echo(f"{out}: {run.steps} steps on {run.examples} examples{loss}")


@app.command(epilog=EXPORT_EXAMPLE)
def export(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", show_default=False, help="What `distill train` wrote.")
    ],
    examples: Annotated[
        Path,
        typer.Option(metavar="DIR", show_default=False, help="What `distill examples` wrote."),
    ],
    teacher: Teacher,
    to: Annotated[
        Path,
        typer.Option("--to", metavar="DIR", show_default=False, help="Where the model goes."),
    ],
    trust: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="Labels to show besides, one a line: known to be good from elsewhere.",
        ),
    ] = None,
    license_name: Annotated[
        str, typer.Option("--license", metavar="NAME", help="The license of the weights.")
    ] = "unknown",
) -> None:
    """Write a student as a model for `tag --model`, with thresholds and trusted labels.

    It is judged by the examples of the sources held out: a label is shown if it has 20 of them and
    an average precision above 0.5 against the teacher.
    """
    from audiomamba.train.distillation.student_export import export_student, read_trusted

    found = export_student(
        run,
        examples,
        teacher,
        to,
        trust=() if trust is None else read_trusted(trust),
        license=license_name,
    )
    ranked = sorted(found.precision.items(), key=lambda one: -one[1])
    rows = [("label", "average precision"), *((name, format_number(it)) for name, it in ranked)]
    if len(rows) > 1:
        typer.echo(format_table(rows[: N_SHOWN + 1], "<>"), nl=False)
    typer.echo(
        f"{to}: {len(ranked)} labels measured on {found.n_examples} examples, "
        f"{len(found.trusted)} shown. The model is ready: audiomamba tag RECORDING --model {to}"
    )


def _use_threads(n_threads: int | None) -> None:
    if n_threads is not None:
        import torch

        torch.set_num_threads(n_threads)
