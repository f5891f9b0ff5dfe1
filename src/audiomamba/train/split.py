"""Which clips a run learns from, and which it holds out."""

from dataclasses import dataclass

from audiomamba.data import Clips, Manifest
from audiomamba.data.split_names import IGNORED, SPLIT_WORDS
from audiomamba.errors import DataError

__all__ = ["NOTHING", "Split", "split_clips"]

NOTHING = "none"  # the name of what is held out when a run trains on all clips
NEVER_TRAINED_ON = ("valid", "test", IGNORED)
KNOWN = frozenset(SPLIT_WORDS.values())
HELD_OUT_FRACTION = 0.2  # of a data set that has no splits


@dataclass(frozen=True, kw_only=True)
class Split:
    """The clips of a data set, split for one run.

    Args:
        name: the split that is held out; NOTHING for none.
        training: clips to learn from.
        held_out: clips to evaluate on.
    """

    name: str
    training: Clips
    held_out: Clips


def split_clips(manifest: Manifest, held_out: str | None, seed: int) -> Split:
    """Split the clips of a data set for one run.

    Args:
        manifest: the data set.
        held_out: the split to hold out, or NOTHING. None for the usual one: the first fold where
            there are folds, else "valid", else "test"; where the data set has no splits, or one
            named "train" only, a fifth of the clips of each class.
        seed: decides which fifth.

    Returns:
        The clips to learn from, and those to evaluate on.

    Raises:
        DataError: there is no such split; or in a data set of one's own a split has an unknown
            name, or no clips of a class are left to learn from.
    """
    if manifest.corpus is None:
        _check_names(manifest)
    if held_out == NOTHING:
        return Split(name=NOTHING, training=manifest.leave_out([IGNORED]), held_out=Clips())
    if set(manifest.splits) <= {"train"} and held_out in (None, "valid"):
        manifest = manifest.with_held_out(HELD_OUT_FRACTION, seed)
    name = held_out or _usual(manifest)
    held = manifest.select(name)
    training = manifest.leave_out((name, *NEVER_TRAINED_ON))
    lost = set(manifest.clips.label_names) - set(training.label_names)
    for label in manifest.labels:
        if label in lost and manifest.corpus is None:
            raise DataError(f"all clips of {label!r} are held out with the split {name!r}")
    return Split(name=name, training=training, held_out=held)


def _check_names(manifest: Manifest) -> None:
    """Refuse splits of which nobody knows whether they are to be trained on."""
    if not KNOWN.issuperset(name for name in manifest.splits if name not in manifest.folds):
        known = ", ".join(manifest.splits)
        raise DataError(
            f"the data set has the splits {known}; expected folds, or train, valid, test and ignore"
        )


def _usual(manifest: Manifest) -> str:
    """The split that is held out if nothing is said."""
    names = (*manifest.folds[:1], "valid", "test")
    for name in names:
        if name in manifest.splits:
            return name
    known = ", ".join(manifest.splits)
    raise DataError(
        f"the data set has the splits {known}; expected folds, or one named valid or test"
    )
