"""Speech Commands version 2, all 35 words: WORD/SPEAKER_nohash_N.wav and the two published lists.

What neither validation_list.txt nor testing_list.txt names is for training; the background noise is
no class.

Source: Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition", 2018.
"""

from pathlib import Path

from audiomamba.audio.front_end import FrontEnd
from audiomamba.data.clips import Clip
from audiomamba.data.corpora.lists import find_lists, read_lists
from audiomamba.data.corpora.tree import Tree
from audiomamba.data.corpus import Corpus, Download
from audiomamba.data.labels import label_list
from audiomamba.data.manifest import Manifest
from audiomamba.errors import DataError

__all__ = ["SPEECH_COMMANDS", "read"]

LISTS = {"validation_list.txt": "valid", "testing_list.txt": "test"}


def read(folder: Path) -> Manifest:
    """List the words of Speech Commands.

    Args:
        folder: the folder that holds the lists and the words' folders, or the one above it.

    Returns:
        The clips, whether they are on disk or not; a clip's group is the speaker.

    Raises:
        DataError: the lists are not there, or name something else.
    """
    name = next(iter(LISTS))
    home = next(
        (path.parent for path in (folder / name, *folder.glob(f"*/{name}")) if path.is_file()), None
    )
    if home is None:
        tree = Tree(folder)
        lists = find_lists(tree)
        if lists:
            return read_lists("speech_commands", "speech_commands", tree, lists)
        raise DataError(f"{folder}: does not hold Speech Commands; expected {name}")
    words = label_list("speech_commands").names
    splits = _splits(home, words)
    found = (f"{word}/{path.name}" for word in words for path in (home / word).glob("*.wav"))
    clips = (
        Clip(
            path=home / path,
            labels=(path.partition("/")[0],),
            split=splits.get(path, "train"),
            group=path.partition("/")[2].partition("_nohash_")[0],
        )
        for path in sorted({*found, *splits})
    )
    return Manifest(labels=words, clips=clips, corpus="speech_commands")


def _splits(home: Path, words: tuple[str, ...]) -> dict[str, str]:
    """The split of every clip that a list names."""
    splits: dict[str, str] = {}
    for name, split in LISTS.items():
        if not (home / name).is_file():
            raise DataError(f"{home}: no {name}; expected the corpus's two lists")
        for line in (home / name).read_text(encoding="utf-8").split():
            if line.partition("/")[0] not in words:
                raise DataError(f"{home / name}: names {line!r}; expected WORD/NAME.wav")
            splits[line] = split
    return splits


SPEECH_COMMANDS = Corpus(
    name="speech_commands",
    read=read,
    labels="speech_commands",
    front_end=FrontEnd(n_frames=128, mean=-6.845978, std=5.5654526),
    scores="sigmoid",
    download=Download(
        url="https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
        size=2_428_923_189,
        sha256="af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
        table="testing_list.txt",
    ),
    license="CC BY 4.0",
    also=("speech_commands_v2",),
)
