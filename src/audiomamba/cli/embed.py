"""`audiomamba embed`."""

from pathlib import Path
from typing import Annotated

import typer

from audiomamba.cli.options import DEFAULT_MODEL, Device, Model, Threads, load_tagger
from audiomamba.cli.recordings import Overwrite, Recordings, find_files, inputs_of
from audiomamba.infer.formats.embeddings import EMBEDDING_FORMATS
from audiomamba.infer.formats.format import suffixes_of
from audiomamba.outputs import refuse_inputs
from audiomamba.terminal import print_error, progress_bar

__all__ = ["EXAMPLES", "embed"]

EXAMPLES = (
    "Examples:\n\n`audiomamba embed archive/ --out archive.parquet`\n\n"
    "`audiomamba embed talk.mp3 --frames --step 0.5 --dtype float16 --out talk.npy`"
)


def embed(
    recordings: Recordings,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            show_default=False,
            help=f"Where the embeddings go: {suffixes_of(EMBEDDING_FORMATS)} (with a .json beside "
            "it).",
        ),
    ],
    model: Model = DEFAULT_MODEL,
    frames: Annotated[
        bool, typer.Option("--frames", help="Embed every moment, not recordings as a whole.")
    ] = False,
    step: Annotated[
        float, typer.Option(metavar="S", help="With --frames: seconds between embeddings.")
    ] = 0.1,
    dtype: Annotated[
        str, typer.Option(metavar="float32|float16", help="Type of the numbers.")
    ] = "float32",
    overwrite: Overwrite = False,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Write what a model makes of recordings as vectors, for search, clustering or a classifier.

    The file holds the model's name and the hash of its weights. A recording that cannot be read is
    named on stderr and has no rows; the others are done.
    """
    from audiomamba import checkpoints, infer
    from audiomamba.infer.embedding import check_output

    chosen = check_output(out, dtype)
    folder = checkpoints.find(model)
    tagger = load_tagger(folder, device, threads)
    framing = infer.Framing(step_s=step) if frames else None
    about = {"model_sha256": checkpoints.fingerprint(folder)}
    files, n_failed = find_files(recordings)
    if not files:
        raise typer.Exit(1)
    refuse_inputs(chosen.files(out), inputs_of(files, folder))
    results = infer.embed_files(
        tagger, files, out, framing=framing, dtype=dtype, about=about, overwrite=overwrite
    )
    with progress_bar("embedding", len(files)) as advance:
        for result in results:
            wrong = result.error if isinstance(result, infer.Failed) else result.damage
            if wrong is not None:
                print_error(wrong)
                n_failed += 1
            advance()
    if n_failed:
        raise typer.Exit(1)
