"""`audiomamba report`."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["EXAMPLES", "report"]

EXAMPLES = (
    "Examples:\n\n`audiomamba report birds --out report.html`\n\n"
    "`audiomamba report runs/aum runs/ast --out both.html`"
)


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            show_default=False,
            help="Folders that train, train --cv or finetune wrote.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FILE", show_default=False, help="The page."),
    ],
) -> None:
    """Write one HTML page about runs: curves, classes, confusions, the most wrong clips.

    The page needs no network. What is known of single clips comes from finetune or evaluate. Needs
    the extra audiomamba[report].
    """
    from audiomamba.report import write_report

    write_report(runs, out)
    typer.echo(f"{out} is written.")
