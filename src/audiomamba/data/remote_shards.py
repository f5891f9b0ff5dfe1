"""Tar files of many clips that stay on object storage, for training without a copy of them.

In place of each is a small file of its name that says where it is. All else is as of local tar
files: the manifest beside them says at which byte each recording begins, and that range is read.
"""

import json
from pathlib import Path

from audiomamba.data.manifest_file import MANIFEST_NAME, read_manifest
from audiomamba.errors import DataError
from audiomamba.output_folders import filled_by_one_call
from audiomamba.outputs import writing
from audiomamba.storage import Storage

__all__ = ["link", "place_of"]

MARK = "audiomamba_remote"
MOST_BYTES = 4096  # of a file that says where another one is


def link(address: str, out: Path) -> Path:
    """Make a folder that stands for tar files on object storage.

    Args:
        address: where the folder is that `shard` made, s3://bucket/prefix or gs://bucket/prefix.
        out: the new folder.

    Returns:
        The manifest in it, which every command takes as its data.

    Raises:
        ConfigError: out holds something else, or cannot be written; or the storage is not known.
        DataError: there is no manifest, or a tar file that it names is not there.

    Examples:
        >>> from audiomamba.data import open_manifest, prepare, shard
        >>> listed = prepare("own", Path("my-clips"), Path("manifests")).manifest
        >>> made = shard(listed, Path("shards"))
        >>> len(read_manifest(link("shards", Path("linked"))).clips)  # also of a local folder
        4
    """
    storage = Storage(address)
    manifest = out / MANIFEST_NAME
    with filled_by_one_call(out, [], lambda: False), writing(out):
        try:
            content = storage.read(MANIFEST_NAME)
            there = set(storage.names(""))
        except OSError as error:
            reason = " ".join((error.strerror or str(error)).lower().split())
            raise DataError(f"{storage.at(MANIFEST_NAME)} cannot be read: {reason}") from error
        out.mkdir(parents=True, exist_ok=True)
        manifest.write_bytes(content)
        for name in {clip.path.name for clip in read_manifest(manifest).clips}:
            if name not in there:
                raise DataError(f"{storage.at(name)} is in the manifest but not there")
            (out / name).write_text(json.dumps({MARK: storage.at(name)}))
    return manifest


def place_of(path: Path) -> str | None:
    """Read where a tar file is.

    Args:
        path: the tar file, or what is in its place.

    Returns:
        Its address; None if it is the tar file itself.

    Raises:
        OSError: it cannot be read.

    Examples:
        >>> place_of(Path("my-clips/dog/1.wav")) is None
        True
    """
    with path.open("rb") as file:
        head = file.read(MOST_BYTES)
    if not head.startswith(f'{{"{MARK}"'.encode()):
        return None
    return str(json.loads(head)[MARK])
