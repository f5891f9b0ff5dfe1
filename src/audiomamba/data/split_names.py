"""How people call the parts of a data set, in folders and in tables."""

import re

__all__ = ["IGNORED", "SPLIT_WORDS", "known_split"]

IGNORED = "ignore"  # what is to be used for nothing
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "valid": "valid",
    "val": "valid",
    "validate": "valid",
    "validation": "valid",
    "dev": "valid",
    "development": "valid",
    "test": "test",
    "testing": "test",
    "tst": "test",
    "eval": "test",
    "evaluate": "test",
    "evaluation": "test",
    "holdout": "test",
    "heldout": "test",
    IGNORED: IGNORED,
    "ignored": IGNORED,
    "exclude": IGNORED,
    "excluded": IGNORED,
    "unused": IGNORED,
    "discard": IGNORED,
    "skip": IGNORED,
}
# Words beside these that say nothing more: train_set, "test data", audio-val.
FILLERS = frozenset(
    {
        *("set", "data", "dataset", "split", "subset", "part", "partition", "portion", "folder"),
        *("audio", "clips", "files", "recordings", "samples", "sounds", "wav", "wavs"),
    }
)
# 3, fold 3, split_3, 3.0 as spreadsheets write it
FOLD = re.compile(r"(?:(?:fold|cv|split|part)[\s_-]*)?0*(\d+)(?:\.0+)?")


def known_split(name: str) -> str | None:
    """Tell which split a name means.

    Case, spaces and punctuation do not matter.

    Args:
        name: of a folder, or in a table.

    Returns:
        "train", "valid" or "test"; IGNORED for what is to be used for nothing; a number as text for
        a fold; None for a name that is none of these.

    Examples:
        >>> [known_split(name) for name in ("Training", "val_set", "hold-out", "fold 3", "dog")]
        ['train', 'valid', 'test', '3', None]
    """
    plain = name.strip().casefold()
    fold = FOLD.fullmatch(plain)
    if fold:
        return fold[1]
    words = [word for word in re.split(r"[^a-z0-9]+", plain) if word and word not in FILLERS]
    if len(words) > 1 and words[-1].isdigit():  # train_1, train_2
        words.pop()
    word = "".join(words)
    return SPLIT_WORDS.get(word) or SPLIT_WORDS.get(word.removesuffix("set"))
