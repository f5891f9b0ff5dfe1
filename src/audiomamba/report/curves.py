"""How a run went, as a picture."""

import base64
import io
from collections.abc import Mapping, Sequence

from audiomamba.errors import MissingDependencyError

__all__ = ["draw_curves", "has_averages"]

PANELS: Mapping[str, Mapping[str, str]] = {
    "loss": {"loss": "training, augmented", "log_loss": "held out"},
    "held-out clips": {"accuracy": "accuracy", "mean_average_precision": "mAP"},
}
AVERAGES = ("ema_", "swa_")
COLORS = ("#c8553d", "#22303c")
SIZE_INCHES = (9.0, 3.0)


def has_averages(epoch: Mapping[str, float]) -> bool:
    """Whether a line of metrics has those of averaged weights beside the others.

    Args:
        epoch: the line.

    Returns:
        Whether it has.
    """
    return any(name.startswith(AVERAGES) for name in epoch)


def draw_curves(epochs: Sequence[Mapping[str, float]]) -> str:
    """Draw the loss and the held-out metrics over the epochs.

    Figures of averaged weights are drawn solid, those of the weights themselves dotted beside them.

    Args:
        epochs: lines of metrics, at least one.

    Returns:
        The address of the picture, which holds all of it: "data:image/svg+xml;base64,...".

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "report", "a report") from error
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    for axes, (title, lines) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        for (name, label), color in zip(lines.items(), COLORS, strict=True):
            averaged = [average for average in AVERAGES if average + name in epochs[-1]]
            for prefix in ("", *averaged):
                epochs_shown = [line["epoch"] for line in epochs if prefix + name in line]
                values = [line[prefix + name] for line in epochs if prefix + name in line]
                style = ":" if averaged and not prefix else "-"
                shown = label if style == "-" else None
                axes.plot(epochs_shown, values, style, color=color, label=shown, marker=".")
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(drawn.getvalue()).decode()
