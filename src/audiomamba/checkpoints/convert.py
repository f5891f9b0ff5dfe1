"""Turning a released weight file into a model folder."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from audiomamba.audio import FrontEnd
from audiomamba.checkpoints import from_aum
from audiomamba.checkpoints.format import Checkpoint, save
from audiomamba.checkpoints.labels import packaged_labels
from audiomamba.checkpoints.released import CODE_LICENSE, CORPORA, corpus_of
from audiomamba.checkpoints.state import read_state
from audiomamba.errors import CheckpointError
from audiomamba.models import AuMConfig

__all__ = ["ConversionReport", "convert"]


@dataclass(frozen=True, kw_only=True)
class ConversionReport:
    """What a conversion did.

    Args:
        source: the file that was read.
        folder: the model folder that was written.
        origin: whose weights these are.
        config: the model's settings, read off the tensors.
        n_parameters: how many numbers the model has.
        n_tensors: how many tensors were read, all of them used.
        corpus: what the model was trained on, guessed by its number of classes; None if unknown.
    """

    source: Path
    folder: Path
    origin: str
    config: AuMConfig
    n_parameters: int
    n_tensors: int
    corpus: str | None


def convert(
    source: str | Path, out: str | Path, *, labels: Sequence[str] | None = None
) -> ConversionReport:
    """Turn a weight file that AuM's authors released into a model folder.

    Args:
        source: the released file (.pth), or the same tensors as .safetensors. It is read as data
            only.
        out: the folder to write.
        labels: names of the classes, in order; None for the packaged list of the corpus, else plain
            numbers.

    Returns:
        What was done.

    Raises:
        CheckpointError: the file cannot be read, is not AuM's, has a key too many or too few, needs
        a front end that
            is not available, or has another number of classes than labels.
    """
    source, out = Path(source), Path(out)
    state = read_state(source)
    if not from_aum.is_aum(state):
        first = ", ".join(list(state)[:3])
        raise CheckpointError(
            f"{source}: not the weights of a known model (it starts with {first}); "
            "known: AuM as released by its authors"
        )
    model = from_aum.build_aum(state, str(source))
    config = model.config
    corpus = corpus_of(config.n_classes)
    front_end = _front_end(source, config, corpus)
    names = tuple(labels) if labels is not None else packaged_labels(corpus, config.n_classes)
    checkpoint = Checkpoint(
        name=out.name,
        model=model,
        front_end=front_end,
        labels=names,
        scores=CORPORA[corpus].scores if corpus else "sigmoid",
        license=CODE_LICENSE,
        notes={"origin": "AuM, released by its authors", "trained on": corpus or "unknown"},
    )
    save(out, checkpoint)
    return ConversionReport(
        source=source,
        folder=out,
        origin="AuM",
        config=config,
        n_parameters=sum(value.numel() for value in model.parameters()),
        n_tensors=len(state),
        corpus=corpus,
    )


def _front_end(source: Path, config: AuMConfig, corpus: str | None) -> FrontEnd:
    front_end = CORPORA[corpus].front_end if corpus else FrontEnd()
    if front_end is None:
        raise CheckpointError(
            f"{source}: {config.n_classes} classes are those of {corpus}, whose front end "
            "(24 kHz, 5 ms hop) this version does not have"
        )
    return replace(front_end, n_mels=config.n_mels, n_frames=config.n_frames)
