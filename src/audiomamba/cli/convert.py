"""`audiomamba convert`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from audiomamba.errors import DataError
from audiomamba.terminal import format_table

__all__ = ["EXAMPLES", "convert"]

EXAMPLES = (
    "Examples:\n\n`audiomamba convert audio_model.pth models/aum-audioset`\n\n"
    "`audiomamba convert audio_model.pth models/aum --labels class_labels_indices.csv`"
)


def convert(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", show_default=False, help="The released weights, .pth."),
    ],
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", show_default=False, help="The folder to write."),
    ],
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            show_default="the corpus's own",
            help="Names of the classes in order, in a column label or display_name.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a model that OUT holds already.")
    ] = False,
) -> None:
    """Turn weights as their authors released them into a folder that `tag --model` takes.

    The file is read as data: a file that would run code is refused. The model's settings are read
    off the tensors, and every tensor is accounted for.
    """
    from audiomamba import checkpoints

    names = None if labels is None else _labels(labels)
    report = checkpoints.convert(file, out, labels=names, overwrite=overwrite)
    typer.echo(
        f"{report.folder}: {report.origin}, {report.config.n_classes} classes "
        f"({report.corpus or 'unknown corpus'}), {report.n_parameters / 1e6:.2f} M parameters; "
        f"{report.n_tensors} tensors, {len(report.unused)} of them of no use here"
    )
    settings = [(name, str(value)) for name, value in asdict(report.config).items()]
    typer.echo(format_table(settings, "<<"), nl=False)
    for key in report.unused:
        typer.echo(f"left out: {key}")


def _labels(table: Path) -> list[str]:
    """The class names in a CSV file."""
    from audiomamba.data.corpora.table import read_table

    rows = read_table(table, [])
    columns = {name.casefold().replace(" ", "_"): name for name in (rows[0] if rows else ())}
    for column in ("display_name", "label"):
        if column in columns:
            return [row[columns[column]] for row in rows]
    raise DataError(f"{table}: no column label or display_name with names of classes")
