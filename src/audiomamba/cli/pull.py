"""`audiomamba pull`."""

from typing import Annotated

import typer

__all__ = ["EXAMPLES", "pull"]

EXAMPLES = (
    "Examples:\n\n`audiomamba pull dass_medium_audioset`\n\n`audiomamba pull hf:org/name@v1.0`\n\n"
    "`audiomamba pull https://host/file.pth`"
)


def pull(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME|ADDRESS...",
            show_default=False,
            help="Names that `audiomamba models --released` lists, or addresses.",
        ),
    ],
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Look for newer files where some are there already.")
    ] = False,
) -> None:
    """Fetch released weights, so that they are there when the network is not.

    Each becomes a model folder in the cache, whose path is printed; a download that was broken off
    goes on where it stopped. What comes is compared with the hash that is published, and read as
    data: a file that would run code is refused. All commands fetch what their --model names; this
    one does nothing else.
    """
    from audiomamba import checkpoints

    for name in names:
        typer.echo(f"{name}: {checkpoints.find(name, refresh=refresh)}")
