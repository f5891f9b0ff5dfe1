"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Data", "Model", "Threads"]

Model = Annotated[
    str,
    typer.Option("--model", "-m", metavar="NAME|DIR", help="A shipped model, or a model's folder."),
]
Data = Annotated[
    Path,
    typer.Option(
        metavar="DIR|CSV",
        show_default=False,
        help="The clips: a folder laid out as ESC-50, a folder with one folder per class, or a "
        "CSV file with the columns filename and label.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", show_default=False, help="Processor threads to use."),
]
