"""What teachers say of whole clips, computed once and kept in files.

A file <folder>/<hash of the teacher>/<any name>.safetensors holds some clips' keys, (clips, 16)
bytes, and logits, (clips, classes) float16, in the order of the teacher's own classes. A key is a
hash of the recording's bytes and of the piece's limits. So a changed teacher or recording finds
nothing, and asks anew; processes write side by side, each its own files; and what was interrupted
goes on.
"""

import hashlib
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from audiomamba.atomic import write_bytes
from audiomamba.data import Clip, Clips
from audiomamba.data.clip_reader import digest_of, load_clip
from audiomamba.errors import TrainingError
from audiomamba.train.distillation.teachers import Teacher
from audiomamba.train.fitting import processes

__all__ = ["recall"]

CLIPS_PER_BATCH = 8
SAVE_EVERY_S = 60.0
KEY_BYTES = 16


def recall(
    teacher: Teacher, clips: Clips, folder: Path, *, n_workers: int = 0, progress: bool = False
) -> np.ndarray:
    """Look up what a teacher says of clips, and let it hear those that are not known.

    Processes that train together share the clips out; the folder is on a disk that all share.

    Args:
        teacher: the teacher.
        clips: the clips; each is heard as it is, from its beginning to its end, in float32.
        folder: where what it says is kept; it is made.
        n_workers: processes that decode clips; 0 to do it in this one.
        progress: whether to show a progress bar.

    Returns:
        (clips, the teacher's own classes) float16 logits.

    Raises:
        AudioError: a clip cannot be read.
        DataError: a piece lies outside its file.
        TrainingError: a file of the folder is damaged, or what another process has heard is not
            there.
    """
    home = folder / teacher.fingerprint
    home.mkdir(parents=True, exist_ok=True)
    keys = [_key(clip) for clip in clips]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    unheard = processes.from_first(lambda: _unheard(home, teacher, keys, numbers))
    if unheard:
        share = unheard[processes.rank() :: processes.n_processes()]
        sounds = _Sounds(clips.take(np.array(share, dtype=np.int64)), teacher.sample_rate)
        _keep(teacher, sounds, [keys[index] for index in share], home, (n_workers, progress))
        processes.gather(None)  # all have written
    logits, is_known = _read(home, teacher, numbers)
    if not is_known.all():
        raise TrainingError(
            f"{home}: {int((~is_known).sum())} clips are missing that another process has heard; "
            "expected a folder on a disk that all processes share"
        )
    kept: np.ndarray = logits[[numbers[key] for key in keys]]
    return kept


def _key(clip: Clip) -> bytes:
    """What tells a recording, or a piece of one, from all others."""
    about = repr((digest_of(clip), clip.start_s, clip.end_s)).encode()
    return hashlib.blake2b(about, digest_size=KEY_BYTES).digest()


def _unheard(
    home: Path, teacher: Teacher, keys: Sequence[bytes], numbers: Mapping[bytes, int]
) -> list[int]:
    """Places of the clips that are not in the files yet, each recording once."""
    _, is_known = _read(home, teacher, numbers)
    place_of = {key: index for index, key in enumerate(keys)}
    return [place_of[key] for key, number in numbers.items() if not is_known[number]]


def _read(
    home: Path, teacher: Teacher, numbers: Mapping[bytes, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Logits (keys, classes) float16 by the keys' numbers, and (keys,) whether they are known."""
    logits = np.zeros((len(numbers), teacher.n_classes), dtype=np.float16)
    is_known = np.zeros(len(numbers), dtype=bool)
    for path in sorted(home.glob("*.safetensors")):
        keys, rows = _read_file(path, teacher)
        pairs = [(index, numbers[key]) for index, key in enumerate(keys) if key in numbers]
        if pairs:
            indices, chosen = np.array(pairs).T
            logits[chosen], is_known[chosen] = rows[indices], True
    return logits, is_known


def _read_file(path: Path, teacher: Teacher) -> tuple[list[bytes], np.ndarray]:
    """The keys and logits of one file."""
    try:
        with safe_open(path, framework="np") as file:
            heard_by = (file.metadata() or {}).get("teacher")
            keys, logits = file.get_tensor("clips"), file.get_tensor("logits")
    except (SafetensorError, OSError) as error:
        raise TrainingError(
            f"{path}: damaged; delete it, and the same call makes it anew"
        ) from error
    if heard_by != teacher.fingerprint or logits.shape != (len(keys), teacher.n_classes):
        raise TrainingError(f"{path}: not what {teacher.name} has said; delete it")
    return [key.tobytes() for key in keys], logits


def _write_file(home: Path, teacher: Teacher, keys: Sequence[bytes], logits: np.ndarray) -> None:
    """Write a file that is complete or not there."""
    path = home / f"{uuid.uuid4().hex}.safetensors"
    tensors: dict[str, np.ndarray] = {
        "clips": np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, KEY_BYTES),
        "logits": logits.astype(np.float16),
    }
    write_bytes(path, save(tensors, metadata={"teacher": teacher.fingerprint}))


class _Sounds(Dataset[Tensor]):
    """Clips, decoded."""

    def __init__(self, clips: Clips, sample_rate: int) -> None:
        self.clips = clips
        self.sample_rate = sample_rate

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Tensor:
        return load_clip(self.clips[index], self.sample_rate)


def _keep(
    teacher: Teacher,
    sounds: _Sounds,
    keys: Sequence[bytes],
    home: Path,
    means: tuple[int, bool],
) -> None:
    """Let a teacher hear clips; what it says is written every minute, and when this is stopped."""
    n_workers, progress = means
    heard: list[np.ndarray] = []
    n_written, written = 0, time.perf_counter()

    def write() -> int:
        n_heard = sum(map(len, heard))
        if heard:
            own = keys[n_written : n_written + n_heard]
            _write_file(home, teacher, own, np.concatenate(heard))
            heard.clear()
        return n_written + n_heard

    try:
        for logits in _hear(teacher, sounds, n_workers, progress=progress):
            heard.append(logits)
            if time.perf_counter() - written >= SAVE_EVERY_S:
                n_written, written = write(), time.perf_counter()
    finally:
        write()


def _hear(
    teacher: Teacher, sounds: _Sounds, n_workers: int, *, progress: bool
) -> Iterator[np.ndarray]:
    """What a teacher says of clips, in order, (some clips, own classes) at a time."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    loader: DataLoader[Tensor] = DataLoader(
        sounds,
        CLIPS_PER_BATCH,
        num_workers=n_workers,
        collate_fn=list,
        generator=torch.Generator(),
    )
    quiet = not progress or processes.rank() > 0
    with tqdm(total=len(sounds), unit="clip", desc=teacher.name, disable=quiet) as bar:
        for clips in loader:
            lengths = torch.tensor([len(clip) for clip in clips])
            waveforms = pad_sequence(clips, batch_first=True).to(device)
            yield teacher.hear(waveforms, lengths, teacher.sample_rate).cpu().numpy()
            bar.update(len(clips))
