"""`audiomamba models`."""

from typing import Annotated

import typer

__all__ = ["EXAMPLES", "models"]

EXAMPLES = (
    "Examples:\n\n`audiomamba models`\n\n`audiomamba models starter`\n\n"
    "`audiomamba models aum_base`"
)


def models(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME|DIR]", show_default=False, help="Show all that is known of one model."
        ),
    ] = None,
) -> None:
    """List the models: shipped with weights, released, and all that can be trained.

    A NAME of the list, or the folder of a saved model, shows its settings and layers: what each
    gives, how many parameters it has, and its multiply-accumulates (MACs).
    """
    from audiomamba import listing

    typer.echo(listing.list_models() if name is None else listing.describe_model(name), nl=False)
