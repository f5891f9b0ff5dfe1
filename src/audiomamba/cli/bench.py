"""`audiomamba bench`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated

import typer

from audiomamba.cli.options import DEFAULT_MODEL, Model, Threads
from audiomamba.cli.recordings import Overwrite
from audiomamba.outputs import claimed
from audiomamba.terminal import output

__all__ = ["EXAMPLES", "bench"]

THROUGHPUT = "throughput"

EXAMPLES = (
    "Examples:\n\n`audiomamba bench --quick`\n\n"
    "`audiomamba bench scan models --threads 2 --out results.jsonl`\n\n"
    "`audiomamba bench scan models training --device cuda --out gpu.jsonl`\n\n"
    "`audiomamba bench --compare results.jsonl --out pictures`\n\n"
    "`audiomamba bench throughput recordings/ --threads 2 --workers 2`"
)

Groups = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="GROUP|FILE|DIR",
        show_default="all groups",
        help="Groups of cases, which --list names; with --compare, files; or throughput and "
        "folders of recordings, which are tagged in turns by all that can do it.",
    ),
]
Quick = Annotated[
    bool, typer.Option("--quick", help="Only the smallest case of each group, in few rounds.")
]
ListCases = Annotated[bool, typer.Option("--list", help="List the cases, and run none.")]
Compare = Annotated[
    bool,
    typer.Option(
        "--compare", help="Draw files that --out wrote, and show their medians side by side."
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="FILE|DIR",
        show_default="nowhere; with --compare, here",
        help="Write a line of JSON per result there; with --compare, the pictures.",
    ),
]
Device = Annotated[str, typer.Option(metavar="cpu|cuda", help="Where to run.")]
Workers = Annotated[
    int, typer.Option(min=1, metavar="N", help="Of throughput: processes, each on one processor.")
]
InstructionSet = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        show_default="the best",
        help="What the compiled scans may use: avx512, avx2, sse.",
    ),
]


def bench(
    groups: Groups = None,
    quick: Quick = False,
    list_cases: ListCases = False,
    compare: Compare = False,
    out: Out = None,
    overwrite: Overwrite = False,
    device: Device = "cpu",
    instruction_set: InstructionSet = None,
    threads: Threads = None,
    workers: Workers = 2,
    model: Model = DEFAULT_MODEL,
) -> None:
    """Measure speed and memory beside other ways of doing the same.

    The implementations of a case take turns; medians, quartiles and ratios to the first are shown,
    and the memory of one call in a process of its own. What an implementation computes is checked
    before; one that is wrong is not timed, and the exit code is 1. A package that is not installed
    is named.
    Nothing else should run meanwhile.
    """
    from audiomamba.bench import command
    from audiomamba.bench.cases import select
    from audiomamba.bench.gpu_cases import groups_of

    if list_cases:
        typer.echo(command.listed(groups or [], quick=quick, device=device), nl=False)
        return
    if compare:
        files = [Path(file) for file in groups or []]
        typer.echo(command.compare(files, out or Path()), nl=False)
        return
    if groups and groups[0] == THROUGHPUT:
        from audiomamba.bench.throughput import report

        with _lines(out, overwrite=overwrite) as lines:
            report.measure(
                list(map(Path, groups[1:])),
                model=model,
                n_workers=workers,
                n_threads=threads,
                quick=quick,
                lines=lines,
                echo=lambda text: typer.echo(text, nl=False),
            )
        return
    chosen = select(groups, quick=quick, among=groups_of(device))
    with _lines(out, overwrite=overwrite) as lines:
        all_right = command.measure(
            chosen,
            device=device,
            n_threads=threads,
            instruction_set=instruction_set,
            lines=lines,
            echo=lambda text: typer.echo(text, nl=False),
        )
    if not all_right:
        raise typer.Exit(1)


@contextmanager
def _lines(out: Path | None, *, overwrite: bool) -> Iterator[IO[str] | None]:
    """Open the file of results, if one was asked for."""
    if out is None:
        yield None
        return
    with claimed([out], overwrite=overwrite), output(out) as lines:
        yield lines
