"""What `audiomamba data` writes: nothing is lost unasked, and nothing is left of a refused call."""

import resource
import shutil
from pathlib import Path

import pytest

from audiomamba.data import open_manifest, prepare, prepare_collection, read_manifest, shard
from audiomamba.errors import AudioError, ConfigError, DataError
from audiomamba.outputs import sole_writer


@pytest.fixture
def clips(tmp_path, write_wav) -> Path:
    """A folder for each of two classes."""
    for label, hz in (("dog", 300.0), ("rain", 900.0)):
        for take in range(3):
            write_wav(f"clips/{label}/{take}.wav", hz=hz + take)
    return tmp_path / "clips"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(it): it.read_bytes() for it in sorted(folder.rglob("*")) if it.is_file()}


@pytest.mark.parametrize("place", ["listed", "rain/deep/listed"])
def test_a_manifest_may_stand_in_the_data_and_is_no_class(clips, place):
    for _ in range(2):
        found = prepare("own", clips, clips / place)
        assert found.manifest.labels == ("dog", "rain")
        assert found.n_listed == 6
    assert len(open_manifest(clips).clips) == 6


def test_a_manifest_of_other_clips_is_not_overwritten(clips, tmp_path, write_wav):
    prepare("own", clips, tmp_path / "out")
    before = contents(tmp_path / "out")
    write_wav("others/dog/0.wav")
    for call in (
        lambda: prepare("own", tmp_path / "others", tmp_path / "out"),
        lambda: prepare_collection(tmp_path / "others", tmp_path / "out"),
    ):
        with pytest.raises(ConfigError, match="out holds a manifest of other clips, such as"):
            call()
    assert contents(tmp_path / "out") == before
    write_wav("clips/dog/new.wav")  # the same data set has grown
    assert prepare("own", clips, tmp_path / "out").n_listed == 7


def test_an_output_is_never_an_input(clips, tmp_path):
    with pytest.raises(ConfigError, match="would be overwritten, and this call reads it"):
        prepare("own", clips, clips)
    with pytest.raises(ConfigError, match=r"dog holds recordings \(0.wav\)"):
        prepare("own", clips, clips / "dog")
    table = tmp_path / "out" / "problems.csv"
    table.parent.mkdir()
    table.write_text("filename,label\n../clips/dog/0.wav,dog\n")
    with pytest.raises(ConfigError, match="would be overwritten, and this call reads it"):
        prepare("own", table, tmp_path / "out")
    assert table.read_text().startswith("filename")
    listed = prepare("own", clips, tmp_path / "listed").manifest
    with pytest.raises(ConfigError, match=r"listed holds other things \(journal.jsonl, manifest"):
        shard(listed, tmp_path / "listed")
    assert read_manifest(tmp_path / "listed" / "manifest.jsonl") == listed


def test_a_refused_call_leaves_nothing(clips, tmp_path):
    out = tmp_path / "new" / "out"
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no folders in it"):
        prepare("own", tmp_path / "empty", out)
    with pytest.raises(ConfigError, match="n_workers is 0"):
        prepare("own", clips, out, n_workers=0)
    with pytest.raises(AudioError, match="the folder has no audio files in it"):
        prepare_collection(tmp_path / "empty", out)
    with pytest.raises(DataError, match="nobody has measured"):
        shard(open_manifest(clips), out)
    assert not out.parent.exists()


def test_a_second_call_is_refused_while_the_first_writes(clips, tmp_path):
    out = tmp_path / "out"
    listed = prepare("own", clips, tmp_path / "listed").manifest
    with sole_writer(out):
        for call in (
            lambda: prepare("own", clips, out),
            lambda: prepare_collection(clips, out),
            lambda: shard(listed, out),
        ):
            with pytest.raises(ConfigError, match="out is being written by another call"):
                call()
    assert not out.exists()


@pytest.mark.parametrize("n_bytes", [0, 100, 900])
def test_a_full_disk_is_one_line_and_what_was_there_stays(clips, tmp_path, n_bytes):
    out = tmp_path / "out"
    listed = prepare("own", clips, tmp_path / "listed").manifest
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        calls = [
            lambda: prepare("own", clips, out),
            lambda: prepare_collection(clips, out),
            lambda: shard(listed, out),
        ]
        if n_bytes < (tmp_path / "listed" / "manifest.jsonl").stat().st_size:
            # The journal is complete, so that of a repeated call the manifest alone is written.
            calls.append(lambda: prepare("own", clips, tmp_path / "listed"))
        for call in calls:
            with pytest.raises(ConfigError, match="cannot be written: file too large"):
                call()
            assert not out.exists()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert read_manifest(tmp_path / "listed" / "manifest.jsonl") == listed


def test_a_piece_in_a_shard_stays_with_its_recording(tmp_path, write_wav):
    for name in ("a", "b"):
        write_wav(f"{name}.wav", hz=300.0 + ord(name))
    rows = [f"{name}.wav,dog,{s / 10},{s / 10 + 0.1}" for name in "ab" for s in range(5)]
    table = tmp_path / "clips.csv"
    table.write_text("\n".join(["filename,label,start,end", *rows]))
    listed = prepare("own", table, tmp_path / "listed").manifest
    shard(listed, tmp_path / "shards")
    groups = [clip.group for clip in open_manifest(tmp_path / "shards").clips]
    assert [len(set(part)) for part in (groups[:5], groups[5:], groups)] == [1, 1, 2]
    shutil.rmtree(tmp_path / "shards")
