import builtins
import hashlib
import multiprocessing
import sys
import tarfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile
import torch

from audiomamba import audio
from audiomamba.data import Clip, open_files
from audiomamba.data.clip_reader import check_header, examine_recording, load_clip
from audiomamba.errors import AudioError, DataError, MissingDependencyError


@pytest.fixture
def pack(tmp_path) -> Path:
    """Waveforms as PANNs packs them, floats, and one long recording as EPIC-SOUNDS has."""
    path = tmp_path / "pack.h5"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file["waveform"] = rng.integers(-20_000, 20_000, (3, 3200), dtype=np.int16)
        file["floats"] = rng.uniform(-1, 1, (2, 3200)).astype(np.float32)
        file["P01_01"] = rng.uniform(-1, 1, 24_000).astype(np.float32)
        file["empty"] = np.zeros(0, np.float32)
        file["broken"] = np.array([0.0, np.nan], np.float32)
        file.attrs["sample_rate"] = 32_000
    return path


def row(path: Path, key: str, **changes) -> Clip:
    return Clip(path=path, labels=(), key=key, **changes)


def test_rows_are_scaled_and_resampled(pack):
    with h5py.File(pack) as file:
        whole, floats = file["waveform"][1].astype(np.float32) / 32767, file["floats"][1]
    np.testing.assert_array_equal(load_clip(row(pack, "waveform/1"), 32_000), whole)
    np.testing.assert_array_equal(load_clip(row(pack, "floats/1"), 32_000), floats)
    halved = audio.resample.resample(torch.from_numpy(whole), 32_000, 16_000)
    torch.testing.assert_close(load_clip(row(pack, "waveform/1"), 16_000), halved)


def test_a_piece_of_a_dataset_is_that_piece(pack):
    with h5py.File(pack) as file:
        whole = file["P01_01"][:]
    clip = row(pack, "P01_01", start_s=0.1, end_s=0.3, sample_rate=24_000)
    np.testing.assert_array_equal(load_clip(clip, 24_000), whole[2400:7200])
    with pytest.raises(DataError, match=r"piece 2.0-None s is empty; the file is 1.00 s long"):
        load_clip(row(pack, "P01_01", start_s=2.0, sample_rate=24_000), 24_000)


@pytest.mark.parametrize("key", ["waveform/3", "nothing", "waveform/x", "P01_01/-1"])
def test_a_row_that_is_not_there_is_named(pack, key):
    with pytest.raises(DataError, match=f"has no recording '{key}'"):
        load_clip(row(pack, key), 32_000)


def test_rows_are_examined(pack):
    found = examine_recording(pack, "waveform/2", None)
    with h5py.File(pack) as file:
        digest = hashlib.blake2b(file["waveform"][2].tobytes(), digest_size=16).hexdigest()
    assert found == (32_000, 0.1, digest)
    assert examine_recording(pack, "P01_01", 24_000).seconds == 1.0
    with pytest.raises(AudioError, match="no samples"):
        examine_recording(pack, "empty", None)
    with pytest.raises(AudioError, match="NaN"):
        examine_recording(pack, "broken", None)


def test_files_are_examined(write_wav):
    path = write_wav("a.wav", seconds=0.5)
    digest = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    assert examine_recording(path, "", None) == (16_000, 0.5, digest)


def test_members_of_a_tar_file_are_read_at_their_offset(tmp_path, write_wav):
    paths = [write_wav(f"{i}.wav", hz=300 + 100 * i) for i in range(3)]
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for path in paths:
            tar.add(path, path.name)
    with tarfile.open(tmp_path / "a.tar") as tar:
        keys = [f"{member.offset_data}+{member.size}" for member in tar]
    for path, key in zip(paths, keys, strict=True):
        clip = row(tmp_path / "a.tar", key, start_s=0.1, end_s=0.2)
        expected = audio.load(path, sample_rate=16_000)[1600:3200]
        torch.testing.assert_close(load_clip(clip, 16_000), expected, rtol=0, atol=0)
        found = examine_recording(tmp_path / "a.tar", key, None)
        assert found == examine_recording(path, "", None)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("12", "expected OFFSET.SIZE"),
        ("a+b", "expected OFFSET.SIZE"),
        ("0+99999999", "cut short, only"),
        ("0+100", "#0.100: not audio"),
    ],
)
def test_a_wrong_key_of_a_tar_file_is_named(tmp_path, write_wav, key, message):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(write_wav("a.wav"), "a.wav")
    with pytest.raises((DataError, AudioError), match=message):
        load_clip(row(tmp_path / "a.tar", key), 16_000)


def test_files_that_are_not_there_are_named(tmp_path):
    for name in ("a.tar", "a.h5"):
        with pytest.raises(AudioError, match=f"{name}: "):
            load_clip(row(tmp_path / name, "0+1"), 16_000)


def test_without_h5py_the_extra_is_named(pack, monkeypatch):
    real = builtins.__import__
    monkeypatch.delitem(sys.modules, "h5py")
    monkeypatch.setattr(open_files, "_pool", open_files._Pool())

    def refuse(name, *arguments, **options):
        if name == "h5py":
            raise ImportError
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingDependencyError, match=r"audiomamba\[hdf5\]"):
        load_clip(row(pack, "waveform/0"), 16_000)


def _sum(path: Path, results) -> None:
    results.put([float(load_clip(row(path, f"waveform/{i}"), 32_000).sum()) for i in range(3)])


def test_a_process_that_was_forked_opens_files_anew(pack):
    expected = [float(load_clip(row(pack, f"waveform/{i}"), 32_000).sum()) for i in range(3)]
    opened = open_files.open_hdf5(pack)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    children = [context.Process(target=_sum, args=(pack, results)) for _ in range(3)]
    for child in children:
        child.start()
    assert [results.get(timeout=60) for _ in children] == [expected] * 3
    for child in children:
        child.join()
    assert open_files.open_hdf5(pack) is opened


def test_only_so_many_files_stay_open(tmp_path, write_wav, monkeypatch):
    monkeypatch.setattr(open_files, "N_OPEN", 2)
    pool = open_files._Pool()
    monkeypatch.setattr(open_files, "_pool", pool)
    source = write_wav("a.wav").read_bytes()
    for i in range(5):
        (tmp_path / f"{i}.tar").write_bytes(source)
        load_clip(row(tmp_path / f"{i}.tar", f"0+{len(source)}"), 16_000)
    assert len(pool._open) == 2


def test_a_stereo_file_is_mixed(tmp_path):
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([np.full(1600, 0.5), np.zeros(1600)], axis=1), 16_000)
    found = load_clip(Clip(path=path, labels=()), 16_000)
    torch.testing.assert_close(found, torch.full((1600,), 0.25), atol=1e-4, rtol=0)


def test_a_header_is_enough_to_refuse_what_is_no_sound(tmp_path, write_wav, pack):
    path = write_wav("tone.wav")
    check_header(Clip(path=path, labels=()))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])  # the header is whole, and nothing else is read
    check_header(Clip(path=path, labels=()))
    with pytest.raises(AudioError, match="cut short"):
        load_clip(Clip(path=path, labels=()), 16_000)
    path.write_bytes(b"this is no sound")
    with pytest.raises(AudioError, match=path.name):
        check_header(Clip(path=path, labels=()))
    with pytest.raises(AudioError, match="no such file"):
        check_header(Clip(path=tmp_path / "nowhere.wav", labels=()))
    with pytest.raises(DataError, match="has no recording"):
        check_header(row(pack, "waveform/99"))
