"""`audiomamba evaluate`."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from audiomamba.cli.options import Data, Device, LabelMap, Threads
from audiomamba.errors import AudioError
from audiomamba.terminal import format_number, format_table, print_error

if TYPE_CHECKING:
    from audiomamba.metrics import Interval, Metrics

__all__ = ["EXAMPLES", "class_table", "evaluate", "metrics_table"]

EXAMPLES = (
    "Examples:\n\n`audiomamba evaluate runs/fold-1 --data ESC-50`\n\n"
    "`audiomamba evaluate birds --data my-clips --split all --json`\n\n"
    "`audiomamba evaluate general --data ESC-50 --label-map esc50_to_audioset.csv`"
)

METRICS = (
    "n_clips",
    "accuracy",
    "mean_average_precision",
    "mean_auc",
    "d_prime",
    "f1_micro",
    "f1_macro",
)
OF_A_CLASS = (
    ("AP", "average_precision"),
    ("AUC", "auc"),
    ("threshold", "threshold"),
    ("precision", "precision"),
    ("recall", "recall"),
    ("F1", "f1"),
)


def evaluate(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN|DIR|NAME",
            show_default=False,
            help="A run, a model's folder, or a shipped model.",
        ),
    ],
    data: Data,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            show_default="what the run held out",
            help="The split to evaluate on: a fold's number, valid, test, or all.",
        ),
    ] = None,
    label_map: LabelMap = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object with everything that was found.")
    ] = False,
    resamples: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="Resamples of the clips for 95 % intervals; 0 for none."
        ),
    ] = 1000,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Measure how well a model does on clips whose labels are known.

    Prints accuracy, mean average precision, mean AUC, d-prime and F1 with 95 % intervals where they
    were resampled, and every class's own metrics. Clips are read as `tag` reads recordings; those
    that cannot be read are named on stderr and left out. Needs the extra audiomamba[train].
    """
    from audiomamba import train as training

    found = training.evaluate(
        run,
        data,
        split=split,
        label_map=label_map,
        n_resamples=resamples,
        device=device,
        n_threads=threads,
    )
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2))
    else:
        typer.echo(f"{found.model} on {found.split or 'all clips'} of {found.data}\n")
        typer.echo(metrics_table(found.metrics, found.intervals))
        typer.echo(class_table(found.metrics), nl=False)
    for reason in found.failed:
        print_error(AudioError(reason))
    if found.failed:
        raise typer.Exit(1)


def metrics_table(found: "Metrics", intervals: Mapping[str, "Interval"]) -> str:
    """Lay out the metrics over all classes.

    Args:
        found: the metrics.
        intervals: of some of them, by name.

    Returns:
        One line per metric; classes that are in no mean are named last.
    """
    rows = []
    for name in METRICS:
        known = intervals.get(name)
        between = (
            "" if known is None else f"{format_number(known.low)} to {format_number(known.high)}"
        )
        rows.append((name.replace("_", " "), format_number(getattr(found, name)), between))
    left_out = ", ".join(found.left_out)
    note = f"No clips, so in no mean: {left_out}\n" if left_out else ""
    return format_table(rows, "<><") + note


def class_table(found: "Metrics") -> str:
    """Lay out the metrics of each class.

    Args:
        found: the metrics.

    Returns:
        One line per class.
    """
    rows: list[tuple[str, ...]] = [("class", "clips", *(head for head, _ in OF_A_CLASS))]
    for one in found.classes:
        cells = (format_number(getattr(one, name)) for _, name in OF_A_CLASS)
        rows.append((one.label, format_number(one.n_clips), *cells))
    return format_table(rows, "<>" + ">" * len(OF_A_CLASS))
