"""The command line: parse, make one public call, print.

Nothing heavy is imported before a command needs it, so that --help is instant.
Exit codes: 0 done, 1 an input failed (named on stderr, the rest done), 2 the call itself was wrong,
130 interrupted.
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from audiomamba import __version__
from audiomamba.bench.cli import BENCH_EXAMPLES, bench
from audiomamba.errors import (
    AudioError,
    AudioMambaError,
    BackendError,
    ConfigError,
    DataError,
    MissingDependencyError,
)
from audiomamba.terminal import columns, complain, number, output, progress_bar

if TYPE_CHECKING:
    from audiomamba.infer import Tagger
    from audiomamba.infer.write import Writer

__all__ = ["app", "main"]

DEFAULT_TOP = 3


class _Commands(TyperGroup):
    """The commands, with one line on stderr and an exit code for what went wrong."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except AudioMambaError as error:
            complain(error)
            raise typer.Exit(_exit_code(error)) from None


app = typer.Typer(
    cls=_Commands,
    name="audiomamba",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Model = Annotated[
    str,
    typer.Option("--model", "-m", metavar="NAME|DIR", help="A shipped model, or a model's folder."),
]
Data = Annotated[
    Path,
    typer.Option(
        metavar="DIR|CSV",
        show_default=False,
        help="The clips: a folder laid out as ESC-50, a folder with one folder per class, or a "
        "CSV file with the columns filename and label.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", show_default=False, help="Processor threads to use."),
]


def main() -> None:
    """Run the command line."""
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


@app.command(
    epilog="Examples:\n\n`audiomamba tag dog.ogg`\n\n"
    "`audiomamba tag archive/ --threshold 0.5 --csv --out tags.csv`"
)
def tag(
    recordings: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE|DIR...",
            show_default=False,
            help="Recordings, and folders that are searched for recordings to any depth.",
        ),
    ],
    model: Model = "starter",
    top: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            show_default=f"{DEFAULT_TOP}, or all with --threshold",
            help="Show at most this many tags per recording.",
        ),
    ] = None,
    threshold: Annotated[
        float,
        typer.Option(min=0, max=1, metavar="SCORE", help="Show tags that score at least this."),
    ] = 0.0,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="JSON lines: an object per recording: file, seconds, tags."),
    ] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="CSV: a row per tag: file, seconds, label, score.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Write the tags there, not to stdout."),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also draw spectrograms with their tags: .png, .svg or .pdf.",
        ),
    ] = None,
    threads: Threads = None,
) -> None:
    """Say what is heard in recordings.

    Every tag has a score from 0 to 1. A recording that is longer than the model's input is tagged
    piece by piece, and the scores are averaged. A recording that cannot be read is named on
    stderr; the others are done.
    """
    if as_json and as_csv:
        raise ConfigError("--json and --csv were both given; expected one of them")
    import torch

    from audiomamba import infer
    from audiomamba.infer.picture import check, draw

    if threads is not None:
        torch.set_num_threads(threads)
    tagger = infer.load(model)
    files, n_failed = _find(recordings)
    if picture is not None:
        check(picture, len(files))
    if top is None and not threshold:
        top = DEFAULT_TOP
    writer = _writer(files, tagger, as_json=as_json, as_csv=as_csv)
    tagged: list[infer.Tagged] = []
    with output(out) as stream, progress_bar("tagging", len(files)) as advance:
        for result in infer.tag_files(tagger, files, top=top, threshold=threshold):
            if isinstance(result, infer.Failed):
                complain(result.error)
                n_failed += 1
            else:
                stream.write("" if tagged else writer.header())
                stream.write(writer.write(result))
                stream.flush()
                tagged.append(result)
            advance()
    if picture is not None and tagged:
        draw(tagged, tagger, picture)
    if n_failed:
        raise typer.Exit(1)


@app.command(
    epilog="Examples:\n\n`audiomamba models`\n\n`audiomamba models starter`\n\n"
    "`audiomamba models aum_base`",
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


@app.command(
    epilog="Examples:\n\n`audiomamba convert audio_model.pth models/aum-audioset`\n\n"
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
) -> None:
    """Turn weights as their authors released them into a folder that `tag --model` takes.

    The file is read as data: a file that would run code is refused. The model's settings are read
    off the tensors, and every tensor is accounted for.
    """
    from audiomamba import checkpoints

    report = checkpoints.convert(file, out, labels=None if labels is None else _labels(labels))
    typer.echo(
        f"{report.folder}: {report.origin}, {report.config.n_classes} classes "
        f"({report.corpus or 'unknown corpus'}), {report.n_parameters / 1e6:.2f} M parameters; "
        f"{report.n_tensors} tensors, {len(report.unused)} of them of no use here"
    )
    settings = [(name, str(value)) for name, value in asdict(report.config).items()]
    typer.echo(columns(settings, "<<"), nl=False)
    for key in report.unused:
        typer.echo(f"left out: {key}")


@app.command(
    epilog="Examples:\n\n`audiomamba train esc10/starter --data ESC-50 --out runs/fold-1 --fold 1`"
    "\n\n`audiomamba train own/starter --data my-clips --out runs/mine --set epochs=30`"
)
def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            show_default=False,
            help="What to train and how: own/starter for clips of your own; esc10/ or esc50/ "
            "followed by starter, aum-tiny, aum-tiny-mean, ast-tiny or cnn-small.",
        ),
    ],
    data: Data,
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", show_default=False, help="Where the run is kept."),
    ],
    fold: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Hold this fold out.", show_default="the first"),
    ] = None,
    cv: Annotated[
        bool, typer.Option("--cv", help="Train once per fold, each time holding that fold out.")
    ] = False,
    all_clips: Annotated[
        bool, typer.Option("--all", help="Train on all clips; nothing is left to evaluate on.")
    ] = False,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            show_default=False,
            help="Change a setting of the recipe: epochs=20, augment.mixup=0; repeatable.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--no-resume", help="Go on with a run that --out holds, or refuse to."
        ),
    ] = True,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", show_default="one per core", help="Folds side by side, with --cv."
        ),
    ] = None,
    threads: Threads = None,
) -> None:
    """Train a model by a recipe.

    The run's folder gets the settings, the metrics of every epoch, and the model in last/ and
    best/, each ready for `tag --model`. A run that was interrupted goes on with the
    same command. Needs the extra audiomamba[train].
    """
    if sum((fold is not None, cv, all_clips)) > 1:
        raise ConfigError("more than one of --fold, --cv and --all was given; expected one")
    if find_spec("lightning") is None:
        raise MissingDependencyError("lightning", "train", "training")
    from audiomamba import recipes
    from audiomamba import train as training

    chosen = recipes.override(recipes.get(recipe), changes or [])
    progress = sys.stderr.isatty()
    if cv:
        found = training.cross_validate(
            chosen, data, out, jobs=jobs, n_threads=threads, progress=progress
        )
        typer.echo(found.to_markdown(), nl=False)
        return
    result = training.fit(
        chosen,
        data,
        out,
        fold=fold,
        train_on_all=all_clips,
        resume=resume,
        n_threads=threads,
        progress=progress,
    )
    rows = [(name.replace("_", " "), number(value)) for name, value in result.metrics.items()]
    typer.echo(columns(rows, "<>"), nl=False)
    typer.echo(f"The model is in {result.folder / 'last'}: {result.seconds:.0f} s of training.")


@app.command(
    epilog="Examples:\n\n`audiomamba evaluate runs/fold-1 --data ESC-50`\n\n"
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


app.command(epilog=BENCH_EXAMPLES)(bench)


@app.command(epilog="Examples:\n\n`audiomamba doctor`")
def doctor() -> None:
    """Say what this installation can do, what it lacks, and how to mend it."""
    from audiomamba.doctor import examine

    area = ""
    for finding in examine():
        if finding.area != area:
            typer.echo(f"{'' if not area else chr(10)}{finding.area}")
            area = finding.area
        mark = {"ok": " ", "slow": "!", "missing": "-"}[finding.state]
        typer.echo(f"{mark} {finding.name:<30}{finding.value}")
        if finding.advice:
            typer.echo(f"{'':<32}-> {finding.advice}")


def _exit_code(error: AudioMambaError) -> int:
    """What the process ends with when a command could not be done."""
    if isinstance(error.__cause__, KeyboardInterrupt | SystemExit):
        return 130
    wrong_call = isinstance(error, ConfigError | BackendError | MissingDependencyError)
    return 2 if wrong_call else 1


def _find(recordings: Iterable[Path]) -> tuple[list[Path], int]:
    """The files to tag, and how many arguments led to none."""
    from audiomamba import audio

    files: list[Path] = []
    n_failed = 0
    for path in recordings:
        try:
            files += audio.find([path])
        except AudioError as error:
            complain(error)
            n_failed += 1
    return files, n_failed


def _writer(files: list[Path], tagger: "Tagger", *, as_json: bool, as_csv: bool) -> "Writer":
    """What turns tags into text."""
    from audiomamba.infer import write

    if as_json:
        return write.JsonWriter()
    if as_csv:
        return write.CsvWriter()
    return write.TableWriter([str(file) for file in files], tagger.labels)


def _labels(table: Path) -> list[str]:
    """The class names in a CSV file."""
    from audiomamba.data.corpora.table import read_table

    rows = read_table(table, [])
    for column in ("display_name", "label"):
        if rows and column in rows[0]:
            return [row[column] for row in rows]
    raise DataError(f"{table}: no column label or display_name with names of classes")
