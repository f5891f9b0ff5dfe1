"""`audiomamba bench`."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from audiomamba.cli.options import Threads
from audiomamba.cli.recordings import Overwrite
from audiomamba.outputs import claimed
from audiomamba.terminal import output

__all__ = ["EXAMPLES", "bench"]

EXAMPLES = (
    "Examples:\n\n`audiomamba bench --quick`\n\n"
    "`audiomamba bench scan models --threads 2 --out results.jsonl`\n\n"
    "`audiomamba bench scan models training --device cuda --out gpu.jsonl`\n\n"
    "`audiomamba bench --compare results.jsonl --out pictures`"
)

Groups = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="GROUP|FILE",
        show_default="all groups",
        help="Groups of cases, which --list names; with --compare, files.",
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
    chosen = select(groups, quick=quick, among=groups_of(device))
    with ExitStack() as stack:
        lines = None
        if out is not None:
            stack.enter_context(claimed([out], overwrite=overwrite))
            lines = stack.enter_context(output(out))
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
