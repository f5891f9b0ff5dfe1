"""The models as text: the list of all, and what is known of one."""

from dataclasses import asdict

import torch

from audiomamba import checkpoints, models
from audiomamba.terminal import columns

__all__ = ["describe_model", "list_models"]


def list_models() -> str:
    """List the models that ship with weights, the released ones, and those to be trained.

    Returns:
        Three tables, each with a title that says what to do with its models.
    """
    parts = (
        "Shipped with weights: audiomamba tag --model NAME",
        _indented(columns(_shipped(), "<>>><")),
        "Released by the authors of AuM: get the file, then audiomamba convert FILE OUT",
        *sorted({f"  from {it.address}, code under {it.license}" for it in checkpoints.RELEASED}),
        _indented(columns(_released(), "<<<<>")),
        "To be trained: audiomamba train RECIPE, or in Python models.create(NAME)",
        _indented(columns(_untrained(), "<>>>")),
    )
    return "\n".join(parts)


def describe_model(name_or_folder: str) -> str:
    """Say all that is known of a saved model.

    Args:
        name_or_folder: a model that ships with the package, or a folder.

    Returns:
        Its facts, its settings and those of its front end, one per line.

    Raises:
        UnknownNameError: there is no such model or folder.
        CheckpointError: the folder is damaged or holds something else.
    """
    folder = checkpoints.find(name_or_folder)
    found = checkpoints.load(folder)
    facts = {
        "name": found.name,
        "folder": folder,
        "parameters": _size(found.model),
        "window": f"{found.front_end.clip_s:.2f} s" if found.front_end else "images",
        "scores": found.scores,
        "license": found.license,
        "labels": ", ".join(found.labels),
    }
    parts = [
        columns(_texts(facts | dict(found.notes)), "<<"),
        "model",
        _indented(columns(_texts(asdict(found.model.config)), "<<")),
    ]
    if found.front_end:
        parts += ["front end", _indented(columns(_texts(asdict(found.front_end)), "<<"))]
    return "\n".join(parts)


def _shipped() -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("name", "parameters", "window", "labels", "license")]
    for name in checkpoints.packaged():
        found = checkpoints.load(checkpoints.find(name))
        window = f"{found.front_end.clip_s:.1f} s" if found.front_end else "images"
        n_labels = str(len(found.labels))
        rows.append((name, _size(found.model), window, n_labels, found.license))
    return rows


def _released() -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("model", "direction", "trained on", "from", "paper, %")]
    rows += [
        (it.model, it.direction, it.corpus, it.start, f"{it.metric} {it.score:.2f}")
        for it in checkpoints.RELEASED
    ]
    return rows


def _untrained() -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("name", "parameters", "frames", "mel bands")]
    for name in models.names():
        with torch.device("meta"):
            model = models.create(name)
        config = model.config
        rows.append((name, _size(model), str(config.n_frames), str(config.n_mels)))
    return rows


def _size(model: models.AudioModel) -> str:
    """How many numbers a model learns."""
    return f"{sum(value.numel() for value in model.parameters()) / 1e6:.2f} M"


def _texts(facts: dict[str, object]) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in facts.items()]


def _indented(text: str) -> str:
    return "".join(f"  {line}" for line in text.splitlines(keepends=True))
