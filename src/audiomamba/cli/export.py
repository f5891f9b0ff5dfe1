"""`audiomamba export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from audiomamba.cli.options import LabelMap
from audiomamba.errors import ConfigError

if TYPE_CHECKING:
    from audiomamba.exporting import Exported

__all__ = ["EXAMPLES", "export"]

EXAMPLES = (
    "Examples:\n\n`audiomamba export general --to exported`\n\n"
    "`audiomamba export runs/birds --to birds --int8 --check my-clips`\n\n"
    "`audiomamba export general --to small --int8 --check ESC-50 "
    "--label-map esc50_to_audioset.csv`"
)


Source = Annotated[
    str,
    typer.Argument(
        metavar="NAME|DIR", show_default=False, help="A shipped model, or a model's folder."
    ),
]
Folder = Annotated[
    Path,
    typer.Option("--to", metavar="DIR", show_default=False, help="The folder to write."),
]
Format = Annotated[
    Literal["onnx", "pt2"],
    typer.Option(
        "--format", help="A graph for ONNX Runtime, or compiled code for PyTorch's C++ library."
    ),
]
Length = Annotated[
    str | None,
    typer.Option(
        metavar="SECONDS|any",
        show_default="any if the model can, else up to its own",
        help="The only length of sound that the graph reads, or any.",
    ),
]
FeaturesIn = Annotated[
    bool,
    typer.Option("--features-in", help="Let the graph take features instead of a waveform."),
]
Int8 = Annotated[
    bool,
    typer.Option(
        "--int8", help="Make the weights of linear layers int8, if --check shows little loss."
    ),
]
Check = Annotated[
    Path | None,
    typer.Option(
        metavar="DATA",
        show_default=False,
        help="With --int8: labelled clips, as `evaluate` reads them. Needs audiomamba[train].",
    ),
]
MaxLoss = Annotated[
    float,
    typer.Option(
        min=0, max=1, metavar="N", help="With --int8: how much of the accuracy may be lost."
    ),
]
Sound = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        show_default="one that ships with the package",
        help="The recording on which the scores are compared with PyTorch's.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the folder if it is there.")]


def export(
    model: Source,
    to: Folder,
    as_format: Format = "onnx",
    length: Length = None,
    features_in: FeaturesIn = False,
    int8: Int8 = False,
    check: Check = None,
    label_map: LabelMap = None,
    max_loss: MaxLoss = 0.01,
    sound: Sound = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a model as a folder that runs without PyTorch, or in PyTorch's C++ library.

    It holds model.onnx, from a waveform to scores, with the front end inside; labels.json, all that
    has to be known to use it; and tag.py, which tags recordings with onnxruntime, soundfile and
    numpy alone. With --format pt2 it holds model.pt2 instead, and no script.

    Before anything is written, scores on real sound are compared with the model's, at several
    lengths and sizes of batch: a difference of more than 1e-4 is refused. Large models take some
    minutes.
    """
    import audiomamba

    if int8 != (check is not None):
        raise ConfigError("--int8 and --check belong together: give both, or none")
    if label_map is not None and check is None:
        raise ConfigError("--label-map is for the clips of --check: give both, or none")
    done = audiomamba.export(
        model,
        to,
        format=as_format,
        length=_length(length),
        features_in=features_in,
        int8_check=check,
        label_map=label_map,
        max_loss=max_loss,
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
    agreement, found = done.agreement, done.accuracies
    int8 = (
        ""
        if found is None
        else (
            f"; with int8 {found.metric.replace('_', ' ')} {found.int8:.4f} instead of "
            f"{found.float32:.4f} on {found.n_clips} clips"
        )
    )
    nodes = "" if done.opset is None else f", {done.n_nodes} nodes of operator set {done.opset}"
    return (
        f"{done.folder}: {done.n_bytes / 1e6:.1f} MB{nodes}; "
        f"scores at most {agreement.largest_difference:.1g} from PyTorch's; "
        f"{agreement.time_ms:.0f} ms on one thread, PyTorch {agreement.torch_time_ms:.0f} ms{int8}"
    )
