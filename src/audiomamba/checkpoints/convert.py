"""Turning a released weight file into a model folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from audiomamba.audio import FrontEnd
from audiomamba.checkpoints import from_aum
from audiomamba.checkpoints.format import Checkpoint, save
from audiomamba.checkpoints.labels import packaged_labels
from audiomamba.checkpoints.origin import Origin
from audiomamba.checkpoints.released import CORPORA, corpus_of
from audiomamba.checkpoints.state import read_state
from audiomamba.errors import CheckpointError
from audiomamba.models import ModelConfig

__all__ = ["ORIGINS", "ConversionReport", "convert"]

ORIGINS: tuple[Origin, ...] = (from_aum.ORIGIN,)


@dataclass(frozen=True, kw_only=True)
class ConversionReport:
    """What a conversion did.

    Args:
        source: the file that was read.
        folder: the model folder that was written.
        origin: whose weights these are.
        config: the model's settings, read off the tensors.
        n_parameters: how many numbers the model has.
        n_tensors: how many tensors were read.
        unused: keys of those that the model has no use for.
        corpus: what the model was trained on, guessed by its number of classes; None if unknown.
    """

    source: Path
    folder: Path
    origin: str
    config: ModelConfig
    n_parameters: int
    n_tensors: int
    unused: tuple[str, ...]
    corpus: str | None


def convert(
    source: str | Path, out: str | Path, *, labels: Sequence[str] | None = None
) -> ConversionReport:
    """Turn a weight file as its authors released it into a model folder.

    Args:
        source: the released file (.pth, .pt, .ckpt, .bin or .safetensors). It is read as data only.
        out: the folder to write.
        labels: names of the classes, in order; None for the packaged list of the corpus, else plain
            numbers.

    Returns:
        What was done.

    Raises:
        CheckpointError: the file cannot be read, is not of a known origin, has a key too many or
            too few, needs a front end that is not available, or has another number of classes than
            labels.
    """
    source, out = Path(source), Path(out)
    state = read_state(source)
    origin = _origin_of(state, source)
    used, unused = origin.split(state)
    model = origin.build(used, str(source))
    config = model.config
    corpus = corpus_of(config.n_classes)
    names = tuple(labels) if labels is not None else packaged_labels(corpus, config.n_classes)
    checkpoint = Checkpoint(
        name=out.name,
        model=model,
        front_end=_front_end(source, origin, config, corpus),
        labels=names,
        scores=CORPORA[corpus].scores if corpus else "sigmoid",
        license=origin.license,
        notes={"origin": f"{origin.name}, released weights", "trained on": corpus or "unknown"},
    )
    save(out, checkpoint)
    return ConversionReport(
        source=source,
        folder=out,
        origin=origin.name,
        config=config,
        n_parameters=sum(value.numel() for value in model.parameters()),
        n_tensors=len(state),
        unused=unused,
        corpus=corpus,
    )


def _origin_of(state: Mapping[str, Tensor], source: Path) -> Origin:
    """The origin whose marks a file has; of several, the one with the most."""
    found = [origin for origin in ORIGINS if origin.recognises(state)]
    if found:
        return max(found, key=lambda origin: len(origin.marks))
    nearest = max(ORIGINS, key=lambda origin: origin.resemblance(state))
    missing = ", ".join(mark for mark in nearest.marks if mark not in state)
    known = ", ".join(origin.name for origin in ORIGINS)
    if nearest.resemblance(state) > 0:
        hint = f"it is most like {nearest.name}, but " + (
            f"{missing} is missing" if missing else "a shape does not fit"
        )
    else:
        hint = f"it starts with {', '.join(list(state)[:3])}"
    raise CheckpointError(
        f"{source}: not the weights of a known model ({hint}); "
        f"give a file as its authors released it; known: {known}"
    )


def _front_end(
    source: Path, origin: Origin, config: ModelConfig, corpus: str | None
) -> FrontEnd | None:
    """The origin's front end with the corpus's statistics, in the model's size."""
    front_end = origin.front_end
    if front_end is None:
        return None
    if corpus and front_end == FrontEnd():
        front_end = CORPORA[corpus].front_end
        if front_end is None:
            raise CheckpointError(
                f"{source}: {config.n_classes} classes are those of {corpus}, whose front end "
                "(24 kHz, 5 ms hop) this version does not have"
            )
    return replace(front_end, n_mels=config.n_mels, n_frames=config.n_frames)
