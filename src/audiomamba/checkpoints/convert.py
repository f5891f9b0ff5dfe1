"""Turning a released weight file into a model folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from torch import Tensor

from audiomamba.audio import FrontEnd
from audiomamba.checkpoints import (
    from_ast,
    from_aum,
    from_dass,
    from_efficientat,
    from_htsat,
    from_mambaout,
    from_panns,
    from_ssamba,
    from_vim,
    from_vmamba,
)
from audiomamba.checkpoints.format import CONFIG_FILE, WEIGHTS_FILE, Checkpoint, save
from audiomamba.checkpoints.origin import Origin
from audiomamba.checkpoints.state import read_state
from audiomamba.data.corpora import corpus_with
from audiomamba.data.corpus import Corpus
from audiomamba.errors import CheckpointError, ConfigError
from audiomamba.models import ModelConfig
from audiomamba.output_folders import removed_if_refused, visible_names
from audiomamba.outputs import refuse_inputs, sole_writer, writing

__all__ = ["CONVERTER", "ORIGINS", "ConversionReport", "convert", "read_released"]

CONVERTER = 1  # raised when a file that was converted before would become another folder

ORIGINS: tuple[Origin, ...] = (
    from_ast.ORIGIN,
    from_ast.ORIGIN_DEIT,
    from_ast.ORIGIN_HUGGING_FACE,
    from_aum.ORIGIN,
    from_dass.ORIGIN,
    from_dass.ORIGIN_TRANSFORMERS,
    from_efficientat.ORIGIN,
    from_efficientat.ORIGIN_CONVOLUTIONAL,
    from_htsat.ORIGIN,
    from_htsat.ORIGIN_LINEAR,
    from_mambaout.ORIGIN,
    from_mambaout.ORIGIN_TIMM,
    from_panns.ORIGIN,
    from_ssamba.ORIGIN,
    from_vim.ORIGIN,
    from_vmamba.ORIGIN,
    from_vmamba.ORIGIN_JANUARY_2024,
)

OF_MODELS = frozenset({WEIGHTS_FILE, CONFIG_FILE, "run.json", "finetune.json"})
LEAST_LIKENESS = 0.3  # below it a file has only keys such as head.weight in common with an origin


@dataclass(frozen=True, kw_only=True)
class ConversionReport:
    """What a conversion did.

    Args:
        source: the file that was read.
        origin: whose weights these are.
        config: the model's settings, read off the tensors.
        n_parameters: how many numbers the model has.
        n_tensors: how many tensors were read.
        unused: keys of those that the model has no use for.
        corpus: what the model was trained on, guessed by its number of classes; None if unknown.
        folder: the model folder that was written; None if none was.

    Examples:
        >>> import torch
        >>> from audiomamba import models
        >>> torch.save(models.create("vim_tiny", depth=1, dim=32).state_dict(), "vim.pth")
        >>> report = read_released("vim.pth")[1]
        >>> report.origin, report.folder is None
        ('Vision Mamba', True)
    """

    source: Path
    origin: str
    config: ModelConfig
    n_parameters: int
    n_tensors: int
    unused: tuple[str, ...]
    corpus: str | None
    folder: Path | None = None


def convert(
    source: str | Path,
    out: str | Path,
    *,
    labels: Sequence[str] | None = None,
    overwrite: bool = False,
) -> ConversionReport:
    """Turn a weight file as its authors released it into a model folder.

    Args:
        source: as for read_released.
        out: the folder to write.
        labels: as for read_released.
        overwrite: whether a model that is there already may be replaced.

    Returns:
        What was done.

    Raises:
        CheckpointError: as for read_released.
        ConfigError: out holds a model or a run already, is being written by another call, or cannot
            be written.

    Examples:
        >>> import torch
        >>> from audiomamba import models
        >>> torch.save(models.create("vim_tiny", depth=1, dim=32).state_dict(), "vim.pth")
        >>> report = convert("vim.pth", "vim")
        >>> report.n_tensors, report.unused, report.folder.name
        (24, (), 'vim')
    """
    out = Path(out)
    with sole_writer(out), removed_if_refused(out), writing(out):
        files = [out / name for name in (WEIGHTS_FILE, CONFIG_FILE)]
        refuse_inputs([out, *files], [Path(source)])
        _refuse_models(out, overwrite=overwrite)
        checkpoint, report = read_released(source, name=out.resolve().name, labels=labels)
        save(out, checkpoint)
    return replace(report, folder=out)


def _refuse_models(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds a model or a run; weights to convert may lie there."""
    found = sorted(OF_MODELS.intersection(visible_names(out)))
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; expected a folder, or a name for a new one")
    if not overwrite and found:
        raise ConfigError(
            f"{out} holds a model already ({found[0]}); another name keeps it, --overwrite "
            "replaces it"
        )


def read_released(
    source: str | Path, *, name: str | None = None, labels: Sequence[str] | None = None
) -> tuple[Checkpoint, ConversionReport]:
    """Read a weight file as its authors released it.

    Args:
        source: the released file (.pth, .pt, .ckpt, .bin or .safetensors). It is read as data only.
        name: what to call the model; None for the file's name.
        labels: names of the classes, in order; None for the packaged list of the corpus, else plain
            numbers.

    Returns:
        The model, in evaluation mode, with what belongs to it; and what was done.

    Raises:
        CheckpointError: the file cannot be read, is not of a known origin, has a key too many or
            too few, or has another number of classes than labels.

    Examples:
        >>> import torch
        >>> from audiomamba import models
        >>> torch.save(models.create("vim_tiny", depth=1, dim=32).state_dict(), "vim.pth")
        >>> checkpoint, report = read_released("vim.pth")
        >>> report.origin, checkpoint.model.config.depth
        ('Vision Mamba', 1)
    """
    source = Path(source)
    state = read_state(source)
    origin = _origin_of(state, source)
    used, unused = origin.split(state)
    model = origin.build(used, str(source))
    config = model.config
    corpus = corpus_with(config.n_classes) if origin.front_end else None
    names = _labels(corpus, config.n_classes) if labels is None else tuple(labels)
    checkpoint = Checkpoint(
        name=source.stem if name is None else name,
        model=model,
        front_end=_front_end(origin, config, corpus),
        labels=names,
        scores=corpus.scores if corpus else _scores(origin),
        license=origin.license,
        notes={
            "origin": f"{origin.name}, released weights",
            "trained on": corpus.name if corpus else "unknown",
        },
    )
    report = ConversionReport(
        source=source,
        origin=origin.name,
        config=config,
        n_parameters=sum(value.numel() for value in model.parameters()),
        n_tensors=len(state),
        unused=unused,
        corpus=corpus.name if corpus else None,
    )
    return checkpoint, report


def _origin_of(state: Mapping[str, Tensor], source: Path) -> Origin:
    """The origin whose marks a file has; of several, the one with the most."""
    found = [origin for origin in ORIGINS if origin.recognises(state)]
    if found:
        return max(found, key=lambda origin: len(origin.marks))
    known = ", ".join(origin.name for origin in ORIGINS)
    raise CheckpointError(
        f"{source}: not the weights of a known model ({_hint(state)}); "
        f"give a file as its authors released it; known: {known}"
    )


def _hint(state: Mapping[str, Tensor]) -> str:
    """What a file of no origin looks like."""
    first, _, _ = next(iter(state)).partition(".")
    bare = {key.removeprefix(f"{first}."): value for key, value in state.items()}
    for origin in ORIGINS:
        if origin.recognises(bare) and all(key.startswith(f"{first}.") for key in state):
            return f"without the {first}. before every key it would be {origin.name}"
    nearest = max(ORIGINS, key=lambda origin: _likeness(origin, state))
    likeness = _likeness(nearest, state)
    if likeness[0] < LEAST_LIKENESS:
        return f"it starts with {', '.join(list(state)[:3])}"
    alike = (it for it in ORIGINS if it.marks == nearest.marks and _likeness(it, state) == likeness)
    names = " or ".join(origin.name for origin in alike)
    missing = [mark for mark in nearest.marks if mark not in state]
    shapes = [f"{mark} {tuple(state[mark].shape)}" for mark in nearest.marks if mark in state]
    return f"it is most like {names}, but " + (
        f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
        if missing
        else f"one of these shapes does not fit: {', '.join(shapes)}"
    )


def _likeness(origin: Origin, state: Mapping[str, Tensor]) -> tuple[float, bool]:
    """Which share of an origin's marks a file has, and whether the shapes fit.

    A mark counts the less the more origins share it.
    """
    shares = {mark: 1 / sum(mark in other.marks for other in ORIGINS) for mark in origin.marks}
    found = sum(share for mark, share in shares.items() if mark in state)
    try:
        fits = origin.fits(state)
    except KeyError:  # it looks at a tensor that is missing
        fits = False
    return found / sum(shares.values()), fits


def _labels(corpus: Corpus | None, n_classes: int) -> tuple[str, ...]:
    """The names of a corpus's classes; numbers where no list of them is known."""
    known = corpus.label_list if corpus else None
    return known.names if known else tuple(f"class {index}" for index in range(n_classes))


def _scores(origin: Origin) -> Literal["sigmoid", "softmax"]:
    """How logits become scores where no corpus is known: an image is of exactly one class."""
    return "softmax" if origin.front_end is None else "sigmoid"


def _front_end(origin: Origin, config: ModelConfig, corpus: Corpus | None) -> FrontEnd | None:
    """The origin's front end with the corpus's statistics, in the model's size."""
    front_end = origin.front_end
    if front_end is None:
        return None
    if corpus and front_end == FrontEnd():
        front_end = corpus.front_end
    front_end = origin.front_end_for(front_end, config)
    return replace(front_end, n_mels=config.n_mels, n_frames=config.n_frames)
