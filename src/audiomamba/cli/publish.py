"""`audiomamba publish`."""

from pathlib import Path
from typing import Annotated

import typer

from audiomamba.errors import ConfigError

__all__ = ["EXAMPLES", "publish"]

EXAMPLES = (
    "Examples:\n\n`audiomamba publish models/mine me/my-tagger --license CC-BY-4.0`\n\n"
    "`audiomamba publish models/mine --to what-would-be-uploaded --license CC-BY-4.0`"
)


def publish(
    model: Annotated[
        str, typer.Argument(metavar="DIR|NAME", show_default=False, help="The model.")
    ],
    repo: Annotated[
        str | None,
        typer.Argument(
            metavar="[ORG/NAME]", show_default=False, help="The repository; it is made if need be."
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", show_default=False, help="Write what would be uploaded there instead."
        ),
    ] = None,
    spdx: Annotated[
        str | None,
        typer.Option(
            "--license",
            metavar="SPDX",
            show_default="what the folder says",
            help="Licence of the weights.",
        ),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Make a repository that only you see.")
    ] = False,
) -> None:
    """Upload a model to the Hugging Face hub, for this package and for transformers.

    What is uploaded: the weights, their settings, a card with licence, figures and how to use it,
    and the few lines of code that the transformers library takes the classes by. A README.md in the
    folder becomes the card. Log in first: `hf auth login`.
    """
    from audiomamba import publishing

    if (repo is None) == (to is None):
        raise ConfigError("expected a repository ORG/NAME, or --to DIR to look at it first")
    if to is not None:
        typer.echo(publishing.prepare(model, to, spdx=spdx))
    elif repo is not None:
        typer.echo(publishing.publish(model, repo, private=private, spdx=spdx))
