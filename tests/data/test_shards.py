import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from synthetic import lay_out
from torch.utils.data import DataLoader

from audiomamba.audio import FrontEnd
from audiomamba.data import (
    Augment,
    ClipCache,
    EpochBatches,
    EpochSampler,
    Manifest,
    TrainingDataset,
    collate,
    open_manifest,
    prepare,
    shard,
    shards,
)
from audiomamba.data.clip_reader import load_clip
from audiomamba.errors import ConfigError, DataError

FRONT_END = FrontEnd(n_frames=32, n_mels=16)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Manifest:
    """Sixty measured clips in two parts, 12 s of sound."""
    folder = tmp_path_factory.mktemp("vggsound")
    source = lay_out("vggsound", folder / "in")
    return prepare("vggsound", source, folder / "out").manifest


def tars(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.tar"))}


def test_shards_hold_every_clip_bit_by_bit(files, tmp_path):
    found = shard(files, tmp_path, shard_seconds=1.0)
    packed = open_manifest(tmp_path, "vggsound")
    assert (found.n_clips, found.failed) == (30, ())
    assert packed.labels == files.labels
    for before, after in zip(files.clips, packed.clips, strict=True):
        same = ("labels", "split", "group", "seconds", "sample_rate")
        assert all(getattr(before, name) == getattr(after, name) for name in same)
        assert after.path.name.startswith(f"{before.split}-")
        assert torch.equal(load_clip(before, 16_000), load_clip(after, 16_000))


def test_a_shard_holds_so_many_seconds_of_one_part_in_mixed_order(files, tmp_path):
    found = shard(files, tmp_path, shard_seconds=1.0)
    packed = open_manifest(tmp_path).clips
    assert found.n_shards == len({clip.path for clip in packed}) == len(tars(tmp_path)) == 6 + 1
    for path in {clip.path for clip in packed}:
        inside = [clip for clip in packed if clip.path == path]
        assert sum(clip.seconds for clip in inside) < 1.0 + 0.2 + 1e-9
        assert len({clip.labels for clip in inside}) > 1 or len(inside) < 3


def test_members_are_those_of_webdataset(files, tmp_path):
    shard(files, tmp_path)
    with tarfile.open(tmp_path / "train-000000.tar") as tar:
        names = tar.getnames()
        assert [name[-5:] for name in names] == [".flac", ".json"] * 20
        assert [name[:-5] for name in names[::2]] == [name[:-5] for name in names[1::2]]
        about = json.loads(tar.extractfile(names[1]).read())
        samples, rate_hz = soundfile.read(io.BytesIO(tar.extractfile(names[0]).read()))
    clip = files.clips[int(names[0][:-5])]
    assert (about["name"], tuple(about["labels"])) == (clip.name, clip.labels)
    assert (about["split"], about["group"], rate_hz) == ("train", clip.group, 16_000)
    np.testing.assert_array_equal(samples.astype(np.float32), load_clip(clip, 16_000).numpy())


def test_the_same_call_makes_the_same_bytes(files, tmp_path):
    for name in ("a", "b"):
        shard(files, tmp_path / name, shard_seconds=1.0, n_workers=1 if name == "a" else 3)
    assert tars(tmp_path / "a") == tars(tmp_path / "b")


def test_packing_goes_on_where_it_stopped(files, tmp_path, monkeypatch):
    shard(files, tmp_path / "whole", shard_seconds=1.0)
    real, written = shards._write_shard, []

    def write(path, clips):
        if len(written) == 3:
            path.with_name(f"{path.name}.part").write_bytes(b"half of it")
            raise KeyboardInterrupt
        written.append(path.name)
        return real(path, clips)

    monkeypatch.setattr(shards, "_write_shard", write)
    with pytest.raises(KeyboardInterrupt):
        shard(files, tmp_path / "out", shard_seconds=1.0)
    assert not (tmp_path / "out" / "manifest.jsonl").exists()
    monkeypatch.setattr(shards, "_write_shard", real)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.tar")}
    shard(files, tmp_path / "out", shard_seconds=1.0)
    assert len(before) == 3
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert tars(tmp_path / "out") == tars(tmp_path / "whole")
    assert not list((tmp_path / "out").glob("*.part"))


def test_rates_are_changed_on_the_way(files, tmp_path):
    shard(files, tmp_path, sample_rate=8_000)
    packed = open_manifest(tmp_path).clips
    assert {clip.sample_rate for clip in packed} == {8_000}
    torch.testing.assert_close(
        load_clip(packed[3], 8_000), load_clip(files.clips[3], 8_000), atol=2**-15, rtol=0
    )


def test_a_clip_that_cannot_be_read_is_named_and_the_rest_is_done(files, tmp_path, write_wav):
    broken = replace(files.clips[4], path=write_wav("broken.wav"))
    broken.path.write_text("no sound")
    clips = [*files.clips[:4], broken, *files.clips[5:]]
    manifest = Manifest(labels=files.labels, clips=clips, corpus="vggsound")
    for reason in ("not audio", "could not be read when its shard was made"):
        found = shard(manifest, tmp_path / "out")
        assert found.n_clips == 29
        assert len(found.failed) == 1
        assert f"broken.wav: {reason}" in found.failed[0]
    packed = open_manifest(tmp_path / "out").clips
    assert [clip.group for clip in packed] == [clip.group for clip in clips if clip is not broken]


def test_a_folder_of_other_shards_is_refused(files, tmp_path):
    shard(files, tmp_path)
    with pytest.raises(DataError, match="holds shards of other clips or settings"):
        shard(files, tmp_path, shard_seconds=1.0)


def test_a_damaged_shard_is_named(files, tmp_path):
    shard(files, tmp_path)
    path = tmp_path / "test-000000.tar"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"test-000000.tar: damaged; delete it"):
        shard(files, tmp_path)
    path.unlink()
    assert shard(files, tmp_path).n_clips == 30


def test_clips_that_nobody_measured_are_refused(tmp_path):
    manifest = open_manifest(lay_out("esc10", tmp_path / "in"), "esc10")
    with pytest.raises(DataError, match=r"nobody has measured how long 1-1000-A-0.wav is"):
        shard(manifest, tmp_path / "out")


def test_numbers_out_of_range_are_refused(files, tmp_path):
    with pytest.raises(ConfigError, match="shard_seconds is 0"):
        shard(files, tmp_path, shard_seconds=0)


def batches(manifest: Manifest, n_workers: int, start: int = 0) -> list:
    clips = manifest.select("train")
    examples = TrainingDataset(
        ClipCache(clips, 16_000, budget_bytes=0),
        manifest.label_vectors(clips),
        FRONT_END,
        Augment(gain_db=6.0, roll=True, mixup=0.5),
        seed=0,
    )
    order = EpochBatches(EpochSampler(len(clips), seed=0), 3)
    order.sampler.set_epoch(2)
    order.start_at(2, start)
    loader = DataLoader(examples, batch_sampler=order, num_workers=n_workers, collate_fn=collate)
    return [(batch.waveform, batch.target, batch.clip) for batch in loader]


def same(first: list, second: list) -> bool:
    pairs = [pair for a, b in zip(first, second, strict=True) for pair in zip(a, b, strict=True)]
    return all(torch.equal(a, b) for a, b in pairs)


def test_training_on_shards_is_training_on_files(files, tmp_path):
    shard(files, tmp_path, shard_seconds=1.0)
    packed = open_manifest(tmp_path)
    whole = batches(files, 0)
    assert len(whole) == 7
    assert same(batches(packed, 0), whole)
    assert same(batches(packed, 2), whole)
    assert same(batches(packed, 2, start=5), whole[5:])


def test_workers_read_hdf5_files_alike(tmp_path):
    source = lay_out("epic_sounds", tmp_path / "in")
    manifest = prepare("epic_sounds", source, tmp_path / "out").manifest
    whole = batches(manifest, 0)
    assert len(whole) == 30
    assert same(batches(manifest, 2), whole)


def test_nothing_that_can_be_read_is_an_error(files, tmp_path, write_wav):
    clip = replace(files.clips[0], path=write_wav("broken.wav"))
    clip.path.write_text("no sound")
    for _ in range(2):  # nothing is left of the first call
        with pytest.raises(
            DataError, match=r"none of 1 clips could be read: .*broken.wav: not audio"
        ):
            shard(Manifest(labels=files.labels, clips=[clip]), tmp_path / "out")
