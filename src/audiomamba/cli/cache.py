"""`audiomamba cache`: what was fetched."""

import typer

from audiomamba.terminal import format_table

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="List the models that were fetched, or delete them.",
)


@app.command("list")
def list_() -> None:
    """List the models that were fetched, with their size, commit and folder.

    AUDIOMAMBA_CACHE names another folder for them.
    """
    from audiomamba import hub

    rows = [("size", "commit", "fetched as", "folder")]
    for entry, size in hub.list_cache():
        commit = (entry.commit or "-")[:12]
        rows.append((f"{size / 1e6:.1f} MB", commit, entry.address, entry.folder))
    typer.echo(f"cache: {hub.cache_folder()}")
    typer.echo(format_table(rows, "><<<") if rows[1:] else "nothing was fetched\n", nl=False)


@app.command()
def clear() -> None:
    """Delete all models that were fetched.

    Files of the Hugging Face hub are kept in the cache of huggingface_hub, for other programs too;
    `hf cache` manages that.
    """
    from audiomamba import hub

    size = hub.clear_cache()
    typer.echo(f"{hub.cache_folder()}: {size / 1e6:.1f} MB deleted")
