"""`audiomamba data`: fetch corpora, make their manifests, pack them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audiomamba.errors import AudioMambaError, ConfigError, DataError
from audiomamba.terminal import counter, format_table, print_error

if TYPE_CHECKING:
    from audiomamba.data import Collection, Prepared

__all__ = ["app"]

DOWNLOAD_EXAMPLES = "Example:\n\n`audiomamba data download esc50 --to ESC-50`"
PREPARE_EXAMPLES = (
    "Examples:\n\n`audiomamba data prepare esc50 --from ESC-50 --to manifests/esc50`\n\n"
    "`audiomamba data prepare own --from labels.csv --to manifests/mine`\n\n"
    "`audiomamba data prepare collection --from sounds --to manifests/sounds "
    "--exclude ESC-50/meta/esc50.csv`"
)
SHARD_EXAMPLES = "Example:\n\n`audiomamba data shard manifests/audioset --to shards --rate 32000`"

LINK_EXAMPLES = "Example:\n\n`audiomamba data link s3://sounds/shards --to shards`"
COLLECTION = "collection"

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Fetch corpora, list their clips with what is missing, pack them for reading at scale.",
)
To = Annotated[
    Path, typer.Option("--to", metavar="DIR", show_default=False, help="Where to; it is made.")
]
Jobs = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", show_default="one per processor", help="Recordings read side by side."
    ),
]


@app.command()
def corpora() -> None:
    """List the published corpora that can be prepared, and which of them can be fetched."""
    from audiomamba import data

    rows = [("name", "classes", "metric", "license", "download")]
    for name, corpus in data.CORPORA.items():
        if name != "own":
            labels = corpus.label_list
            n_classes = str(len(labels.names)) if labels else "-"
            size = f"{corpus.download.size / 1e9:.1f} GB" if corpus.download else "-"
            rows.append((name, n_classes, corpus.metric, corpus.license, size))
    typer.echo(format_table(rows, "<><<>"), nl=False)


@app.command(epilog=DOWNLOAD_EXAMPLES)
def download(
    corpus: Annotated[
        str,
        typer.Argument(
            metavar="CORPUS",
            show_default=False,
            help="A name that `audiomamba data corpora` lists.",
        ),
    ],
    to: To,
) -> None:
    """Fetch a corpus from where its authors put it.

    What comes is checked against its published size and hash. A download that was interrupted goes
    on with the same command.
    """
    from audiomamba import data

    with counter("fetching", "bytes") as progress:
        found = data.download(corpus, to, progress=progress)
    typer.echo(f"{found.name} is in {to}; its license: {found.license}")


Sources = Annotated[
    Path | None,
    typer.Option(
        metavar="CSV",
        show_default="DIR/sources.csv if it is there",
        help="For a collection: source and license of files and folders, with the columns "
        "path, source, license and freesound_id.",
    ),
]
Exclude = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="LIST",
        show_default=False,
        help="For a collection: what must not be in it, a text file or CSV table of SHA-256 "
        "hashes, hashes of sound and Freesound ids. May be repeated.",
    ),
]


@app.command(epilog=PREPARE_EXAMPLES)
def prepare(
    corpus: Annotated[
        str,
        typer.Argument(
            metavar="CORPUS",
            show_default=False,
            help="A name that `audiomamba data corpora` lists; own for a folder per class or a CSV "
            "file of your own; collection for any tree of recordings, without labels.",
        ),
    ],
    source: Annotated[
        Path,
        typer.Option(
            "--from",
            metavar="DIR|CSV",
            show_default=False,
            help="The corpus as it was distributed.",
        ),
    ],
    to: To,
    sources: Sources = None,
    exclude: Exclude = None,
    jobs: Jobs = None,
) -> None:
    """Read a corpus from beginning to end and list its clips in DIR/manifest.jsonl.

    Every command takes the manifest, or its folder, for --data. Clips that are missing or broken
    are left out, and named in DIR/problems.csv; the exit code is then 1. What was interrupted goes
    on with the same command, which also takes in files that have come since.

    Of a collection, silent files and doubles (the same bytes, or the same sound in another file)
    are left out too, and DIR/recordings.csv has source, license and hashes of what stays.
    """
    from audiomamba import data

    if corpus == COLLECTION:
        _prepare_collection(source, to, sources, exclude or [], jobs)
        return
    if sources or exclude:
        option = "--sources" if sources else "--exclude"
        raise ConfigError(f"{option} is for `data prepare {COLLECTION}`; leave it out for {corpus}")
    with counter("reading", "recordings") as progress:
        found = data.prepare(corpus, source, to, n_workers=jobs, progress=progress)
    typer.echo(_summary(found), nl=False)
    if found.problems:
        n_broken = len(found.problems) - found.n_missing
        print_error(
            DataError(
                f"{found.n_missing} clips are missing, {n_broken} cannot be used: "
                f"{found.problems_path} names them"
            )
        )
        raise typer.Exit(1)


def _prepare_collection(
    source: Path, to: Path, sources: Path | None, exclude: list[Path], jobs: int | None
) -> None:
    from audiomamba import data

    with counter("reading", "recordings") as progress:
        found = data.prepare_collection(
            source, to, sources=sources, exclude=exclude, n_workers=jobs, progress=progress
        )
    typer.echo(_collection_summary(found), nl=False)
    if found.counts["broken"]:
        print_error(
            DataError(f"{found.counts['broken']} cannot be read: {found.problems_path} names them")
        )
        raise typer.Exit(1)


@app.command(epilog=SHARD_EXAMPLES)
def shard(
    manifest: Annotated[
        Path,
        typer.Argument(
            metavar="MANIFEST", show_default=False, help="What `audiomamba data prepare` wrote."
        ),
    ],
    to: To,
    seconds: Annotated[
        float, typer.Option(metavar="S", help="Sound in one tar file, in seconds.")
    ] = 3600.0,
    rate: Annotated[
        int | None,
        typer.Option(
            min=1000,
            metavar="HZ",
            show_default="the recordings' own",
            help="Rate to change the recordings to.",
        ),
    ] = None,
    jobs: Jobs = None,
) -> None:
    """Pack clips into tar files in WebDataset's layout, mono, 16-bit FLAC.

    DIR gets the tar files and a manifest that every command takes for --data. What was interrupted
    goes on with the same command.
    """
    from audiomamba import data

    with counter("packing", "clips") as progress:
        found = data.shard(
            data.open_manifest(manifest),
            to,
            shard_seconds=seconds,
            sample_rate=rate,
            n_workers=jobs,
            progress=progress,
        )
    typer.echo(f"{found.path}: {found.n_clips} clips in {found.n_shards} tar files")
    for reason in found.failed:
        print_error(AudioMambaError(f"left out: {reason}"))
    if found.failed:
        raise typer.Exit(1)


@app.command(epilog=LINK_EXAMPLES)
def link(
    shards: Annotated[
        str,
        typer.Argument(
            metavar="s3://...",
            show_default=False,
            help="Where the folder is that `audiomamba data shard` made.",
        ),
    ],
    to: To,
) -> None:
    """Stand for tar files on object storage, which are read there by ranges and not copied.

    DIR gets their manifest, which every command takes for --data, and small files that say where
    they are.
    """
    from audiomamba import data

    typer.echo(f"{data.link(shards, to)}: reads its clips from {shards}")


def _summary(found: "Prepared") -> str:
    """What a manifest holds, in a few lines."""
    manifest = found.manifest
    clips = manifest.clips
    counts = [f"{name} {int(clips.in_splits([name]).sum())}" for name in manifest.splits]
    size = f"{len(clips)} of {found.n_listed} clips, {found.hours:.2f} hours"
    lines = [f"{found.path}: {size}, {len(manifest.labels)} classes"]
    if counts:
        lines.append(f"splits: {', '.join(counts)}")
    lines.extend(f"note: {warning}" for warning in (*manifest.notes, *manifest.warnings()))
    return "".join(f"{line}\n" for line in lines)


def _collection_summary(found: "Collection") -> str:
    """What a collection holds and what it leaves out, in a few lines."""
    n_sources = len(set(found.manifest.clips.groups()))
    size = f"{len(found.manifest.clips)} of {found.n_listed} recordings, {found.hours:.2f} hours"
    lines = [f"{found.path}: {size}, {n_sources} sources"]
    lines.extend(f"{name}: {hours:.2f} hours" for name, hours in found.license_hours.items())
    if found.problems:
        counts = ", ".join(f"{n} {reason}" for reason, n in sorted(found.counts.items()))
        lines.append(f"left out: {counts}; {found.problems_path} names them")
    return "".join(f"{line}\n" for line in lines)
