"""Tiny versions of the published corpora, laid out as they are distributed: real files of tones."""

import csv
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import h5py
import numpy as np
import soundfile

from audiomamba.data.labels import label_list

Rows = Iterable[Iterable[object]]
AUDIOSET_HEADER = "# Segments csv created Sun Mar  5 10:54:31 2017\n# num_ytids=3\n# YTID, start\n"
AUDIOSET_PARTS = {"balanced_train": 12, "unbalanced_train": 12, "eval": 6}
LABELS_PER_CLIP = 44  # so that twelve clips carry all of AudioSet's 527 labels
ESC50_COLUMNS = "filename,fold,target,category,esc10,src_file,take\n"
EPIC_COLUMNS = (
    "annotation_id,participant_id,video_id,start_timestamp,stop_timestamp,"
    "description,class,class_id\n"
)


def tone(seed: int, seconds: float, rate_hz: int) -> np.ndarray:
    """A tone in noise, another one for every seed."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    wave = 0.3 * np.sin(2 * np.pi * rng.uniform(100, 4000) * time_s)
    return wave + 0.02 * rng.standard_normal(len(time_s))


def write_tone(path: Path, seed: int, seconds: float = 0.2, rate_hz: int = 16_000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(seed, seconds, rate_hz), rate_hz)


def write_rows(path: Path, rows: Rows, header: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        file.write(header)
        csv.writer(file, lineterminator="\n").writerows(rows)


def esc50(folder: Path) -> None:
    """Five folds of the fifty classes' first ten, one clip each; sources of two takes."""
    rows = []
    for fold in range(1, 6):
        for target in range(10):
            name = f"{fold}-{1000 * fold + target}-A-{target}.wav"
            write_tone(folder / "audio" / name, 10 * fold + target, rate_hz=44_100)
            source = 1000 * fold + target
            rows.append((name, fold, target, f"class_{target}", target < 5, source, "A"))
    write_rows(folder / "meta" / "esc50.csv", rows, ESC50_COLUMNS)


def audioset_clips() -> dict[str, list[tuple[str, list[int]]]]:
    """Videos and their labels in the three parts."""
    clips: dict[str, list[tuple[str, list[int]]]] = {}
    for part, n_clips in AUDIOSET_PARTS.items():
        firsts = [LABELS_PER_CLIP * i for i in range(n_clips)]
        clips[part] = [
            (f"{part[:4]}_-{first:05d}", [(first + k) % 527 for k in range(LABELS_PER_CLIP)])
            for first in firsts
        ]
    return clips


def audioset(folder: Path) -> None:
    """The published tables and a folder of recordings per part."""
    ids = label_list("audioset").ids
    for part, clips in audioset_clips().items():
        lines = []
        for seed, (video, labels) in enumerate(clips):
            write_tone(folder / "audio" / f"{part}_segments" / f"Y{video}.wav", seed)
            marks = ",".join(ids[label] for label in labels)
            lines.append(f'{video}, 30.000, 40.000, "{marks}"\n')
        (folder / f"{part}_segments.csv").write_text(AUDIOSET_HEADER + "".join(lines))


def audioset_lists(folder: Path) -> None:
    """Lists as AST's authors write them; paths are those of another machine."""
    ids = label_list("audioset").ids
    lists = {
        "balanced_train_data.json": ["balanced_train"],
        "whole_train_data.json": ["balanced_train", "unbalanced_train"],
        "eval_data.json": ["eval"],
    }
    for name, parts in lists.items():
        data = []
        for part in parts:
            for seed, (video, labels) in enumerate(audioset_clips()[part]):
                write_tone(folder / part / f"{video}.flac", seed)
                marks = ",".join(ids[label] for label in labels)
                data.append({"wav": f"/other/machine/{part}/{video}.flac", "labels": marks})
        (folder / name).write_text(json.dumps({"data": data}))


def audioset_packs(folder: Path) -> None:
    """HDF5 packs as PANNs and HTS-AT keep them; one row was never filled."""
    for part, clips in audioset_clips().items():
        path = folder / "hdf5s" / "waveforms" / f"{part}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        targets = np.zeros((len(clips), 527), dtype=bool)
        waveforms = np.zeros((len(clips), 6400), dtype=np.int16)
        for row, (_, labels) in enumerate(clips):
            targets[row, labels] = True
            waveforms[row] = np.rint(32767 * tone(row, 0.2, 32_000))
        names = [f"Y{video}.wav".encode() for video, _ in clips]
        with h5py.File(path, "w") as file:
            file.create_dataset("audio_name", data=np.array(names, dtype="S20"))
            file.create_dataset("waveform", data=waveforms)
            file.create_dataset("target", data=targets)
            file.attrs["sample_rate"] = 32_000


def vggsound(folder: Path) -> None:
    """The published table; ten classes with two clips for training and one for testing."""
    rows = []
    for i, label in enumerate(label_list("vggsound").names[:10]):
        for split, video in (("train", f"vid{i}_a"), ("train", f"vid{i}_b"), ("test", f"vid{i}_c")):
            write_tone(folder / "audio" / f"{video}_{10 * i:06d}.wav", hash_of(video))
            rows.append((video, 10 * i, label, split))
    write_rows(folder / "vggsound.csv", rows)


def voxceleb1(folder: Path) -> None:
    """Five speakers with two videos; dev and test archives unpacked side by side."""
    lines = []
    for speaker in range(5):
        name = f"id{10001 + speaker}"
        home = folder / ("test" if speaker == 4 else "dev") / "wav"
        for video, splits in (("aAbB-_0", "112"), ("cCdD-_1", "33")):
            for number, split in enumerate(splits, start=1):
                path = f"{name}/{video}/{number:05d}.wav"
                write_tone(home / path, hash_of(path), seconds=0.3)
                lines.append(f"{split} {path}\n")
    (folder / "iden_split.txt").write_text("".join(lines))


def speech_commands(folder: Path) -> None:
    """All 35 words by two speakers for training, one for validation, one for testing."""
    lists: dict[str, list[str]] = {"validation_list.txt": [], "testing_list.txt": []}
    for word in label_list("speech_commands").names:
        for i, speaker in enumerate(("aa11", "bb22", "cc33", "dd44")):
            name = f"{word}/{speaker}_nohash_0.wav"
            write_tone(folder / name, hash_of(name))
            if i >= 2:
                lists["validation_list.txt" if i == 2 else "testing_list.txt"].append(f"{name}\n")
    for name, lines in lists.items():
        (folder / name).write_text("".join(lines))
    write_tone(folder / "_background_noise_" / "white_noise.wav", 0, seconds=1.0)
    write_tone(folder / "_background_noise_" / "pink_noise.wav", 1, seconds=1.0)


def epic_sounds(folder: Path) -> None:
    """The two tables and the HDF5 file; all 44 classes in one video, half of them in the other."""
    names = label_list("epic_sounds").names
    with h5py.File(folder / "EPIC_audio.hdf5", "w") as file:
        for video, part, n_sounds in (("P01_01", "train", 88), ("P02_05", "validation", 22)):
            seconds = 0.25 * n_sounds + 0.5
            file.create_dataset(video, data=tone(n_sounds, seconds, 24_000).astype(np.float32))
            rows = []
            for i in range(n_sounds):
                label = i % 44
                times = [f"00:00:{0.25 * i + offset:06.3f}" for offset in (0.0, 0.4)]
                about = (
                    f"{video}_{i}",
                    video[:3],
                    video,
                    *times,
                    "unlabelled",
                    names[label],
                    label,
                )
                rows.append(about)
            write_rows(folder / f"EPIC_Sounds_{part}.csv", rows, EPIC_COLUMNS)


def hash_of(text: str) -> int:
    """A seed that does not change from run to run."""
    return int.from_bytes(text.encode()[-7:], "big")


CORPORA: dict[str, Callable[[Path], None]] = {
    "audioset": audioset,
    "audioset20k": audioset,
    "epic_sounds": epic_sounds,
    "esc10": esc50,
    "esc50": esc50,
    "speech_commands": speech_commands,
    "vggsound": vggsound,
    "voxceleb1": voxceleb1,
}


def lay_out(corpus: str, folder: Path) -> Path:
    """Write a tiny version of a corpus into a folder, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    CORPORA[corpus](folder)
    return folder
