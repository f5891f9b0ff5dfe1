"""`audiomamba bulk`: very many files, by many processes, on many machines."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audiomamba.cli.options import DEFAULT_MODEL, AllLabels, Device, Hop, LabelFile, Model, Window
from audiomamba.cli.recordings import Overwrite
from audiomamba.errors import AudioMambaError, ConfigError
from audiomamba.terminal import counter, format_table, print_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from audiomamba.bulk.launch import Progress, Share
    from audiomamba.bulk.sources import Recording

__all__ = ["app"]

MOST_NAMED = 20  # problems that are printed one by one
PLAN_EXAMPLES = (
    "Examples:\n\n`audiomamba bulk plan archive/ --out tagged`\n\n"
    "`audiomamba bulk plan s3://sounds/2024 --out s3://results/2024 --tags --embeddings`\n\n"
    "`audiomamba bulk plan files.parquet --column path --out tagged --timeline`"
)
RUN_EXAMPLES = (
    "Examples:\n\n`audiomamba bulk run tagged --workers 8`\n\n"
    "`audiomamba bulk run s3://results/2024 --shard 3/10`\n\n"
    "`sbatch --array=0-9 --wrap 'audiomamba bulk run /shared/tagged'`"
)
MERGE_EXAMPLES = "Example:\n\n`audiomamba bulk merge tagged --to tags.parquet`"

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Very many files, by many processes, on many machines: nothing lost, nothing done twice.",
)
Planned = Annotated[
    str,
    typer.Argument(
        metavar="OUT",
        show_default=False,
        help="What `audiomamba bulk plan` made, a folder or s3://",
    ),
]

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...",
        show_default=False,
        help="Folders, which are searched to any depth, s3://bucket/prefix or gs://bucket/"
        "prefix; tar files, whose members are the recordings; text files with a source on "
        "every line (.txt), or parquet files with a column of them.",
    ),
]
Out = Annotated[
    str,
    typer.Option(
        "--out",
        "-o",
        metavar="DIR|s3://...",
        show_default=False,
        help="Where the plan and the results go.",
    ),
]
WithTags = Annotated[bool, typer.Option("--tags", help="Compute tags; the default.")]
WithTimeline = Annotated[
    bool, typer.Option("--timeline", help="Compute events: what is heard from when to when.")
]
WithEmbeddings = Annotated[
    bool, typer.Option("--embeddings", help="Compute an embedding of each file.")
]
Top = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        show_default="3, or all with --threshold",
        help="Keep at most this many tags of each file.",
    ),
]
Threshold = Annotated[
    float, typer.Option(min=0, max=1, metavar="SCORE", help="Keep tags that score this.")
]
Step = Annotated[float, typer.Option(metavar="S", help="With --timeline: seconds between scores.")]
EventThreshold = Annotated[
    float | None,
    typer.Option(
        metavar="SCORE",
        show_default="the model's, or 0.3",
        help="With --timeline: the score at which an event begins.",
    ),
]
Dtype = Annotated[
    str, typer.Option(metavar="float32|float16", help="Type of the embeddings' numbers.")
]
Column = Annotated[str, typer.Option(metavar="NAME", help="The column of a parquet file to read.")]
PartFiles = Annotated[int, typer.Option(min=1, metavar="N", help="Files in a part.")]
Shard = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        show_default="Slurm's array variables, or all",
        help="Compute the I-th of N equal shares, from 0.",
    ),
]
Workers = Annotated[int, typer.Option(min=1, metavar="N", help="Processes on this machine.")]
Ray = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        show_default=False,
        help="Start the workers on this Ray cluster; `auto` for the one this machine is in.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        show_default="processors by workers",
        help="Processor threads of each worker's model.",
    ),
]
Decoders = Annotated[
    int, typer.Option(min=1, metavar="N", help="Decoding processes of each worker.")
]
TimeLimit = Annotated[
    float, typer.Option(min=0.1, metavar="S", help="Give up a file that takes this to decode.")
]
Spool = Annotated[
    float,
    typer.Option(
        min=0, metavar="GB", help="Room for each decoded file that is too long for memory."
    ),
]


@app.command(epilog=PLAN_EXAMPLES)
def plan(
    sources: Sources,
    out: Out,
    model: Model = DEFAULT_MODEL,
    tags: WithTags = False,
    timeline: WithTimeline = False,
    embeddings: WithEmbeddings = False,
    top: Top = None,
    threshold: Threshold = 0.0,
    window: Window = None,
    hop: Hop = None,
    step: Step = 0.1,
    event_threshold: EventThreshold = None,
    dtype: Dtype = "float32",
    labels: LabelFile = None,
    all_labels: AllLabels = False,
    column: Column = "file",
    part_files: PartFiles = 1000,
) -> None:
    """List files once, and say what is to be computed of them.

    The list is cut into parts, which `audiomamba bulk run` computes, each as a whole. Everything
    that a machine needs for that is put into OUT, also the model.
    """
    from audiomamba import bulk, checkpoints
    from audiomamba.cli.options import labels_in

    computation = bulk.Computation(
        tags=tags or not (timeline or embeddings),
        timeline=timeline,
        embeddings=embeddings,
        top=top if top is not None or threshold else 3,
        threshold=threshold,
        window_s=window,
        hop_s=hop,
        step_s=step,
        event_threshold=event_threshold,
        dtype=dtype,
        labels=None if labels is None else tuple(labels_in(labels)),
        all_labels=all_labels,
    )
    errors: list[AudioMambaError] = []
    with counter("listing", "files") as count:
        made = bulk.make_plan(
            _list(sources, column, errors),
            out,
            checkpoints.find(model),
            computation,
            part_files=part_files,
            progress=lambda n_files: count(n_files, n_files),
        )
    what = " and ".join(computation.names)
    typer.echo(
        f"audiomamba: {made.n_files} files in {made.n_parts} parts, for {what}; "
        f"`audiomamba bulk run {out}` computes them",
        err=True,
    )
    if errors:
        raise typer.Exit(1)


def _list(
    sources: "Iterable[str]", column: str, errors: list[AudioMambaError]
) -> "Iterator[Recording]":
    """The recordings of all sources; what cannot be listed is named, and the others are."""
    from audiomamba.bulk.sources import list_recordings
    from audiomamba.errors import AudioError

    for source in sources:
        try:
            yield from list_recordings(source, column)
        except AudioError as error:
            print_error(error)
            errors.append(error)


@app.command(epilog=RUN_EXAMPLES)
def run(
    out: Planned,
    shard: Shard = None,
    workers: Workers = 1,
    ray: Ray = None,
    threads: Threads = None,
    decoders: Decoders = 1,
    time_limit: TimeLimit = 600.0,
    spool: Spool = 8.0,
    device: Device = "cpu",
) -> None:
    """Compute the parts that are not done yet; the same call goes on where one was cut off.

    A file that cannot be read has a row that says why, also one that ends its process or takes too
    long; the exit code is 0 if all rows are there. Several calls may run at once.
    """
    from audiomamba import bulk
    from audiomamba.bulk.worker import WorkerOptions

    planned = bulk.Plan.open(out)
    share = _share(shard)
    options = WorkerOptions(
        device=device,
        n_threads=threads or max(1, (os.cpu_count() or 1) // workers),
        n_decoders=decoders,
        limit_s=time_limit,
        spool_bytes=round(spool * 1e9),
    )
    with counter("computing", "parts") as count:

        def tell(progress: "Progress") -> None:
            count(progress.n_done, progress.n_parts)

        if ray is not None:
            from audiomamba.bulk.ray import launch_on_ray

            progress = launch_on_ray(planned, ray, share, options=options, tell=tell)
        else:
            progress = bulk.launch(planned, share, n_workers=workers, options=options, tell=tell)
    ended = f", {progress.n_ended} workers were started again" if progress.n_ended else ""
    typer.echo(
        f"audiomamba: {progress.n_done} parts done, {progress.n_rows} files, "
        f"{progress.n_failed} of them failed{ended}",
        err=True,
    )


def _share(shard: str | None) -> "Share":
    """The share that was asked for, or that Slurm says."""
    from audiomamba.bulk.launch import ALL, Share

    if shard is not None:
        return Share.parse(shard)
    names = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT")
    given = [os.environ.get(name, "") for name in names]
    if not given[0]:
        return ALL
    if not all(value.isdecimal() for value in given):
        raise ConfigError(
            f"{', '.join(names)} are {', '.join(given)}; expected numbers, or --shard"
        )
    number, first, count = map(int, given)
    return Share(number - first, count)


@app.command()
def status(out: Planned) -> None:
    """Say how far it is."""
    from audiomamba import bulk

    found = bulk.status_of(bulk.Plan.open(out))
    rows = [
        ("parts", f"{found.n_parts_done} of {found.n_parts}"),
        ("files", f"{found.n_files_done} of {found.n_files}"),
        ("failed", str(found.n_failed)),
        ("hours of sound", f"{found.seconds / 3600:.2f}"),
    ]
    typer.echo(format_table(rows, "<>"), nl=False)


@app.command(epilog=MERGE_EXAMPLES)
def merge(
    out: Planned,
    to: Annotated[
        Path,
        typer.Option("--to", metavar="FILE", show_default=False, help=".parquet or .jsonl"),
    ],
    partial: Annotated[
        bool, typer.Option("--partial", help="Merge what there is, if not all is done.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Write all rows as one table, in the order of the plan."""
    from audiomamba import bulk

    planned = bulk.Plan.open(out)
    with counter("merging", "parts") as count:
        n_rows = bulk.merge(
            planned,
            to,
            partial=partial,
            overwrite=overwrite,
            tell=lambda n_parts: count(n_parts, planned.n_parts),
        )
    typer.echo(f"audiomamba: {n_rows} rows in {to}", err=True)


@app.command()
def verify(
    out: Planned,
    redo: Annotated[
        bool, typer.Option("--redo", help="Let the next run make damaged parts anew.")
    ] = False,
) -> None:
    """Check that every file has one row, and that no part has changed since it was written.

    Exit code 1 if something is wrong or not done yet.
    """
    from audiomamba import bulk
    from audiomamba.errors import DataError

    planned, n_problems, n_missing = bulk.Plan.open(out), 0, 0
    with counter("checking", "parts") as count:
        for problem in bulk.verify(
            planned, redo=redo, tell=lambda n_parts: count(n_parts, planned.n_parts)
        ):
            n_problems += 1
            n_missing += problem.is_missing
            if n_problems <= MOST_NAMED:
                print_error(DataError(problem.reason))
    if n_problems:
        typer.echo(
            f"audiomamba: {n_problems} of {planned.n_parts} parts have problems, {n_missing} of "
            "them are not done yet",
            err=True,
        )
        raise typer.Exit(1)
    typer.echo(f"audiomamba: {planned.n_files} files, each with one row", err=True)
