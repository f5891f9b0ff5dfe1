"""`audiomamba export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from audiomamba.errors import ConfigError

if TYPE_CHECKING:
    from audiomamba.exporting import Exported

__all__ = ["EXAMPLES", "export"]

EXAMPLES = (
    "Examples:\n\n`audiomamba export general --to exported`\n\n"
    "`audiomamba export runs/birds --to birds --length 5`"
)


def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="NAME|DIR", show_default=False, help="A shipped model, or a model's folder."
        ),
    ],
    to: Annotated[
        Path,
        typer.Option("--to", metavar="DIR", show_default=False, help="The folder to write."),
    ],
    length: Annotated[
        str | None,
        typer.Option(
            metavar="SECONDS|any",
            show_default="any if the model can, else up to its own",
            help="The only length of sound that the graph reads, or any.",
        ),
    ] = None,
    features_in: Annotated[
        bool,
        typer.Option("--features-in", help="Let the graph take features instead of a waveform."),
    ] = False,
    sound: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default="one that ships with the package",
            help="The recording on which the scores are compared with PyTorch's.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the folder if it is there.")
    ] = False,
) -> None:
    """Write a model as a folder that runs without PyTorch.

    It holds model.onnx, from a waveform to scores, with the front end inside; labels.json, all that
    has to be known to use it; and tag.py, which tags recordings with onnxruntime, soundfile and
    numpy alone.

    Before anything is written, scores on real sound are compared with the model's, at several
    lengths and sizes of batch: a difference of more than 1e-4 is refused. Large models take some
    minutes.
    """
    import audiomamba

    done = audiomamba.export(
        model,
        to,
        length=_length(length),
        features_in=features_in,
        recording=sound,
        overwrite=overwrite,
        on_step=lambda step: typer.echo(f"{model}: {step}", err=True),
    )
    typer.echo(_summary(done))


def _length(text: str | None) -> float | Literal["any"] | None:
    if text is None:
        return None
    if text == "any":
        return "any"
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"--length {text}; expected a number of seconds, or any") from None


def _summary(done: "Exported") -> str:
    agreement = done.agreement
    return (
        f"{done.folder}: {done.n_bytes / 1e6:.1f} MB, {done.n_nodes} nodes of operator set "
        f"{done.opset}; scores at most {agreement.largest_difference:.1g} from PyTorch's; "
        f"{agreement.time_ms:.0f} ms on one thread, PyTorch {agreement.torch_time_ms:.0f} ms"
    )
