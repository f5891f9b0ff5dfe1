"""The command line: each command parses, makes one public call, prints.

Nothing heavy is imported before a command needs it, so that --help is instant.
Exit codes: 0 done, 1 an input failed (named on stderr, the rest done), 2 the call itself was wrong,
130 interrupted.
"""

import errno
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from audiomamba import __version__
from audiomamba.cli import (
    bench,
    bulk,
    cache,
    convert,
    data,
    distill,
    doctor,
    embed,
    evaluate,
    export,
    finetune,
    images,
    models,
    publish,
    pull,
    report,
    serve,
    tag,
    timeline,
    train,
    watch,
)
from audiomamba.cli.fetching import fetches
from audiomamba.errors import AudioMambaError, ConfigError, exit_code
from audiomamba.terminal import print_error

__all__ = ["app", "main"]

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _Commands(TyperGroup):
    """The commands, with one line on stderr and an exit code for what went wrong."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except AudioMambaError as error:
            print_error(error)
            raise typer.Exit(exit_code(error)) from None
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            place, reason = error.filename or "standard output", os.strerror(error.errno).lower()
            print_error(ConfigError(f"{place} cannot be written: {reason}"))
            _forget_what_waits_for_stdout()
            raise typer.Exit(2) from None


app = typer.Typer(
    cls=_Commands,
    name="audiomamba",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _forget_what_waits_for_stdout() -> None:
    """Let what cannot be printed vanish, which Python would try again at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        with open(os.devnull, "wb") as nothing:  # noqa: PTH123  # a device
            os.dup2(nothing.fileno(), sys.stdout.fileno())


def main() -> None:
    """Run the command line.

    Examples:
        >>> import sys
        >>> sys.argv = ["audiomamba", "--version"]
        >>> main()
        Traceback (most recent call last):
        SystemExit: 0
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a file name may hold what the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="audiomamba")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"audiomamba {__version__}")
        raise typer.Exit


@app.callback()
def _audiomamba(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Tag recordings, and train classifiers of sound on your own clips.

    First try: `audiomamba tag dog.ogg`. Every command explains itself with --help.

    Exit codes: 0 done; 1 an input failed (named on stderr, the rest done); 2 the call itself was
    wrong; 130 interrupted.
    """


app.command(epilog=tag.EXAMPLES)(fetches(tag.tag))
app.command(epilog=timeline.EXAMPLES)(fetches(timeline.timeline))
app.command(epilog=embed.EXAMPLES)(fetches(embed.embed))
app.command(epilog=models.EXAMPLES)(models.models)
app.command(epilog=pull.EXAMPLES)(fetches(pull.pull))
app.add_typer(cache.app, name="cache")
app.command(epilog=publish.EXAMPLES)(fetches(publish.publish))
app.command(epilog=convert.EXAMPLES)(convert.convert)
app.command(epilog=train.EXAMPLES)(fetches(train.train))
app.command(epilog=finetune.EXAMPLES)(fetches(finetune.finetune))
app.command(epilog=evaluate.EXAMPLES)(fetches(evaluate.evaluate))
app.command(epilog=export.EXAMPLES)(fetches(export.export))
app.command(epilog=report.EXAMPLES)(report.report)
app.command(epilog=serve.EXAMPLES)(fetches(serve.serve))
app.command(epilog=watch.EXAMPLES)(fetches(watch.watch))
app.add_typer(data.app, name="data")
app.add_typer(bulk.app, name="bulk")
app.command(epilog=images.SEGMENT_EXAMPLES)(images.segment)
app.command(epilog=images.DETECT_EXAMPLES)(images.detect)
app.command("segment-sound", epilog=images.SEGMENT_SOUND_EXAMPLES)(images.segment_sound)
app.command("train-images", epilog=images.TRAIN_EXAMPLES)(images.train)
app.add_typer(distill.app, name="distill")
app.command(epilog=bench.EXAMPLES)(bench.bench)
app.command(epilog=doctor.EXAMPLES)(doctor.doctor)
