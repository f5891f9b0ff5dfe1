"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Data", "DataIfAny", "Hop", "Model", "Threads", "Window"]

Model = Annotated[
    str,
    typer.Option("--model", "-m", metavar="NAME|DIR", help="A shipped model, or a model's folder."),
]
DATA = typer.Option(
    metavar="DIR|CSV|MANIFEST",
    show_default=False,
    help="The clips: a folder laid out as ESC-50, a folder with one folder per class, a CSV file "
    "with the columns filename and label, or what `audiomamba data` made.",
)
Data = Annotated[Path, DATA]
DataIfAny = Annotated[Path | None, DATA]
Threads = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", show_default=False, help="Processor threads to use."),
]
Window = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        show_default="the model's input",
        help="Read recordings in windows of this length.",
    ),
]
Hop = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        show_default="the window",
        help="Begin a window every so many seconds; less than a window makes them overlap.",
    ),
]
