"""`audiomamba models`."""

from typing import Annotated

import typer

__all__ = ["EXAMPLES", "models"]

EXAMPLES = (
    "Examples:\n\n`audiomamba models`\n\n`audiomamba models general`\n\n"
    "`audiomamba models aum_base`\n\n`audiomamba models --released 'dass*'`"
)


def models(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME|DIR]", show_default=False, help="Show all that is known of one model."
        ),
    ] = None,
    released: Annotated[
        bool,
        typer.Option(
            "--released", help="List released weights, those of NAME only; * may be in it."
        ),
    ] = False,
) -> None:
    """List the models: shipped with weights, released, and all that can be trained.

    A NAME of the list, or the folder of a saved model, shows its settings and layers: what each
    gives, how many parameters it has, and its multiply-accumulates (MACs). Nothing is fetched.
    """
    from audiomamba import listing

    if released:
        text = listing.list_released(name or "*")
    else:
        text = listing.list_models() if name is None else listing.describe_model(name)
    typer.echo(text, nl=False)
