"""The columns of tables of one's own, by the names that people give them."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from audiomamba.errors import DataError

__all__ = ["COLUMNS", "find_columns"]

COLUMNS: dict[str, tuple[str, ...]] = {
    "filename": (
        *("file_name", "file", "files", "fname", "path", "filepath", "file_path", "audio"),
        *("audio_path", "audio_file", "audio_filename", "audiofile", "audiopath", "wav"),
        *("wav_path", "wav_file", "wavfile", "recording", "clip", "begin_file", "begin_path"),
    ),
    "label": (
        *("class", "category", "tag", "classname", "class_name", "class_label", "label_name"),
        *("event_label", "primary_label", "species", "common_name", "annotation"),
    ),
    "labels": ("tags", "classes", "categories", "event_labels", "annotations"),
    "split": ("splits", "subset", "partition", "set", "data_split", "dataset_split"),
    "fold": ("folds", "fold_id", "kfold", "cv_fold"),
    "group": ("groups", "group_id", "speaker", "speaker_id", "src_file"),
    "start_s": (
        *("start", "start_time", "start_seconds", "start_sec", "start_time_s", "begin"),
        *("start_time_seconds", "begin_s", "begin_time", "begin_time_s", "onset", "onset_s"),
    ),
    "end_s": (
        *("end", "end_time", "end_seconds", "end_sec", "end_time_s", "stop", "stop_s"),
        *("end_time_seconds", "offset", "offset_s"),
    ),
}
OTHER_UNIT = re.compile(
    r"(start|begin|onset|end|stop|offset)(_time)?_(ms|msec|milliseconds|samples?|frames?|min|minutes)"
)


def find_columns(path: Path, names: Sequence[str]) -> dict[str, str]:
    """Tell what the columns of a table hold.

    Case, spaces and punctuation do not matter.

    Args:
        path: the table, for messages.
        names: its columns.

    Returns:
        The table's own name of each of COLUMNS that it has.

    Raises:
        DataError: several columns could be the same, or one has times in another unit.

    Examples:
        >>> find_columns(Path("clips.csv"), ["File name", "Class", "Start (s)"])
        {'filename': 'File name', 'label': 'Class', 'start_s': 'Start (s)'}
    """
    plain = {name: _plain(name) for name in names}
    for name in names:
        if OTHER_UNIT.fullmatch(plain[name]):
            raise DataError(
                f"{path}: the column {name} has no seconds in it; expected start_s and end_s"
            )
    found: dict[str, str] = {}
    for column, others in COLUMNS.items():
        same = [name for name in names if plain[name] == column]
        same = same or [name for name in names if plain[name] in others]
        if len(same) > 1:
            raise DataError(
                f"{path}: the columns {' and '.join(same)} could each be {column}; name one of "
                f"them {column}"
            )
        if same:
            found[column] = same[0]
    return found


def _plain(name: str) -> str:
    """A column's name in small letters, with "_" between its words."""
    name = unicodedata.normalize("NFKC", name).casefold()
    return re.sub(r"[^\w]+", "_", name).strip("_")
