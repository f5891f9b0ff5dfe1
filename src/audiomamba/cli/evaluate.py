"""`audiomamba evaluate`."""

import json
from typing import Annotated

import typer

from audiomamba.cli.options import Data, Threads
from audiomamba.terminal import columns, number

__all__ = ["EXAMPLES", "evaluate"]

EXAMPLES = (
    "Examples:\n\n`audiomamba evaluate runs/fold-1 --data ESC-50`\n\n"
    "`audiomamba evaluate starter --data my-clips --split all --json`"
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
            help="The part to evaluate on: a fold's number, valid, test, or all.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object with everything that was found.")
    ] = False,
    threads: Threads = None,
) -> None:
    """Measure how well a model does on clips whose labels are known.

    Prints accuracy, mean average precision, mean AUC and d-prime, and every class's own figures.
    Needs the extra audiomamba[train].
    """
    from audiomamba import train as training

    found = training.evaluate(run, data, split=split, n_threads=threads)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2))
        return
    scores = found.metrics
    names = ("n_clips", "accuracy", "mean_average_precision", "mean_auc", "d_prime")
    rows = [(name.replace("_", " "), number(getattr(scores, name))) for name in names]
    typer.echo(f"{found.model} on {found.split or 'all clips'} of {found.data}\n")
    typer.echo(columns(rows, "<>"))
    classes: list[tuple[str, ...]] = [("class", "clips", "AP", "AUC", "recall")]
    for one in scores.classes:
        figures = (one.n_clips, one.average_precision, one.auc, one.recall)
        classes.append((one.label, *map(number, figures)))
    typer.echo(columns(classes, "<>>>>"), nl=False)
