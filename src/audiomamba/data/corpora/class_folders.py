"""A data set of one's own as folders: one per class, and for the splits if there are any.

Splits may stand above the classes (train/dog/1.wav) or below (dog/train/1.wav).
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from audiomamba import audio
from audiomamba.audio.files import SUFFIXES
from audiomamba.data.manifest import Clip, Manifest
from audiomamba.data.split_names import IGNORED, known_split
from audiomamba.errors import DataError

__all__ = ["read_folders"]

# What this package writes: a folder with one of them and without recordings is no class.
OF_OUTPUTS = frozenset(
    {
        *("manifest.jsonl", "journal.jsonl", "run.json", "finetune.json", "cross_validation.json"),
        *("model.safetensors", "recipe.json", "plan.json", "set.json"),
    }
)
MOST_COMMON_WORD = "train"  # also a thing that makes sound


def read_folders(folder: Path, leave_out: Path | None = None) -> Manifest:
    """List the clips of a folder that has one folder per class.

    The folders of classes may also stand in folders of splits, such as train, val and test.

    Args:
        folder: the folder.
        leave_out: a folder that is no class, wherever it is; what this package wrote is left out
            in any case.

    Returns:
        The clips; classes in alphabetical order.

    Raises:
        DataError: there are no folders in it, or it cannot be told which are splits.
        AudioError: the folder of a class has no audio files in it.

    Examples:
        >>> manifest = read_folders(Path("my-clips"))  # a folder with the folders dog and rain
        >>> manifest.labels, len(manifest.clips)
        (('dog', 'rain'), 4)
    """
    found = [child for child in _folders(folder) if not _is_output(child, leave_out)]
    children = [child for child in found if known_split(child.name) != IGNORED]
    if not children:
        raise DataError(f"{folder}: no folders in it; expected one per class, or a CSV file")
    table = next(iter(sorted((*folder.glob("*.csv"), *folder.glob("*.tsv")))), None)
    if len(children) == 1 and table is not None and not known_split(children[0].name):
        raise DataError(
            f"{folder}: {children[0].name} is its only folder, beside {table.name}; expected one "
            f"folder per class, or {table} in place of the folder"
        )
    if _are_splits(folder, children):
        clips = [
            replace(clip, split=known_split(home.name))
            for home in children
            for child in _folders(home)
            for clip in _class(child)
        ]
    else:
        clips = [clip for child in children for clip in _class(child)]
    kept = [clip for clip in clips if clip.split != IGNORED]
    _check_divided(folder, kept)
    labels = sorted({clip.labels[0] for clip in kept})
    n_ignored = len(found) - len(children)
    return Manifest(labels=labels, clips=kept, notes=_notes(folder, n_ignored, clips, kept))


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, hidden ones left out."""
    try:
        children = [child for child in folder.iterdir() if child.is_dir()]
    except OSError as error:
        raise DataError(f"{folder}: {(error.strerror or 'cannot be read').lower()}") from error
    return sorted(child for child in children if not child.name.startswith("."))


def _is_output(folder: Path, leave_out: Path | None) -> bool:
    """Whether a folder without recordings is where results go, or holds earlier ones."""
    names = [name for _, folders, files in os.walk(folder) for name in (*folders, *files)]
    if any(Path(name).suffix.lower() in SUFFIXES for name in names):
        return False
    home = os.path.realpath(folder)
    goes_there = leave_out is not None and Path(os.path.realpath(leave_out)).is_relative_to(home)
    return goes_there or not OF_OUTPUTS.isdisjoint(names)


def _are_splits(folder: Path, children: Sequence[Path]) -> bool:
    """Tell whether the folders are splits, which hold folders of classes."""
    named = [child for child in children if known_split(child.name)]
    numbered = [child for child in named if child.name.isdigit()]
    if any(_folders(child) and not _holds_sound(child) for child in numbered):
        raise DataError(
            f"{folder}: {numbered[0].name} may be a fold or a class; name folds fold1, fold2, ..., "
            "or put the recordings of a class right into its folder"
        )
    named = [child for child in named if child not in numbered]
    others = [child for child in children if child not in named]
    if others and [it.name.casefold() for it in named if _holds_sound(it)] == [MOST_COMMON_WORD]:
        named = [child for child in named if not _holds_sound(child)]
    if not named:
        return False
    names = ", ".join(child.name for child in named)
    if others:
        more = ", ".join(child.name for child in children if child not in named)
        raise DataError(
            f"{folder}: {names}, by name of a split, beside {more}; expected splits that hold the "
            "classes, or classes alone"
        )
    for child in named:
        if _holds_sound(child):
            raise DataError(
                f"{child}: a split by its name, but recordings stand in it; expected one folder "
                "per class"
            )
    return True


def _holds_sound(folder: Path) -> bool:
    """Whether recordings stand in the folder itself."""
    return any(_is_recording(child) for child in folder.iterdir())


def _is_recording(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _class(folder: Path) -> Iterator[Clip]:
    """The clips of a class, with the split that a folder in it may name."""
    label = folder.name.encode(errors="backslashreplace").decode()  # a name need not be UTF-8
    for path in audio.find([folder]):
        first, *more = path.relative_to(folder).parts
        split = known_split(first) if more and not first.isdigit() else None
        yield Clip(path=path, labels=(label,), split=split)


def _check_divided(folder: Path, clips: Sequence[Clip]) -> None:
    """Refuse classes of which some are divided into splits, and some are not."""
    undivided = [clip for clip in clips if clip.split is None]
    if undivided and len(undivided) < len(clips):
        raise DataError(
            f"{folder}: {undivided[0].path.relative_to(folder)} is in no split, while others are; "
            "expected splits in every class, or in none"
        )


def _notes(
    folder: Path, n_ignored: int, clips: Sequence[Clip], kept: Sequence[Clip]
) -> Iterator[str]:
    """What is left out."""
    if n_ignored or len(kept) < len(clips):
        yield f"folders named as {IGNORED!r} are left out"
    stray = sorted(child.name for child in folder.iterdir() if _is_recording(child))
    if stray:
        yield (
            f"{len(stray)} recordings stand in no folder of a class and are left out, such as "
            f"{stray[0]}"
        )
