"""Which clips a run learns from, and which it holds out."""

from dataclasses import dataclass

from audiomamba.data import Clips, Manifest
from audiomamba.errors import DataError

__all__ = ["NOTHING", "Parts", "divide"]

NOTHING = "none"  # the name of the part that is held out when a run trains on all clips
NEVER_TRAINED_ON = ("valid", "test")
HELD_OUT_FRACTION = 0.2  # of a data set that says nothing about its parts


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A data set divided for one run.

    Args:
        name: the part that is held out; NOTHING for none.
        training: clips to learn from.
        held_out: clips to evaluate on.
    """

    name: str
    training: Clips
    held_out: Clips


def divide(manifest: Manifest, held_out: str | None, seed: int) -> Parts:
    """Divide a data set for one run.

    Args:
        manifest: the data set.
        held_out: the part to hold out, or NOTHING. None for the usual one: the first fold where
            there are folds, else the part "valid", else "test"; where the data set has no parts, a
            fifth of the clips of each class.
        seed: decides which fifth.

    Returns:
        The parts.

    Raises:
        DataError: there is no such part, or no clips of a class of one's own data set are left to
            learn from.
    """
    if held_out == NOTHING:
        return Parts(name=NOTHING, training=manifest.clips, held_out=Clips())
    if not manifest.splits and held_out in (None, "valid"):
        manifest = manifest.with_held_out(HELD_OUT_FRACTION, seed)
    name = held_out or _usual(manifest)
    held = manifest.select(name)
    training = manifest.leave_out((name, *NEVER_TRAINED_ON))
    lost = set(manifest.clips.label_names) - set(training.label_names)
    for label in manifest.labels:
        if label in lost and manifest.corpus is None:
            raise DataError(f"all clips of {label!r} are held out with the part {name!r}")
    return Parts(name=name, training=training, held_out=held)


def _usual(manifest: Manifest) -> str:
    """The part that is held out if nothing is said."""
    names = (*manifest.folds[:1], *NEVER_TRAINED_ON)
    for name in names:
        if name in manifest.splits:
            return name
    known = ", ".join(manifest.splits)
    raise DataError(f"the data set's parts are {known}; expected folds, or one named valid or test")
