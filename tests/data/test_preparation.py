import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile
from synthetic import CORPORA, audioset_clips, audioset_lists, audioset_packs, lay_out

from audiomamba.data import Prepared, open_manifest, preparation, prepare
from audiomamba.errors import ConfigError, DataError

# Clips in each part.
PARTS = {
    "audioset": {"test": 6, "train": 24},
    "audioset20k": {"test": 6, "train": 12},
    "epic_sounds": {"train": 88, "valid": 22},
    "esc10": dict.fromkeys("12345", 5),
    "esc50": dict.fromkeys("12345", 10),
    "speech_commands": {"test": 35, "train": 70, "valid": 35},
    "vggsound": {"test": 10, "train": 20},
    "voxceleb1": {"test": 10, "train": 10, "valid": 5},
}


def parts_of(found: Prepared) -> dict[str, int]:
    return {name: len(found.manifest.select(name)) for name in found.manifest.splits}


def problems_of(found: Prepared) -> dict[str, str]:
    with found.problems_path.open(newline="") as file:
        return {Path(row["clip"]).name: row["problem"] for row in csv.DictReader(file)}


def test_every_corpus_is_tried():
    assert PARTS.keys() == CORPORA.keys()


@pytest.mark.parametrize("corpus", sorted(PARTS))
def test_a_corpus_is_listed_and_opens(tmp_path, corpus):
    source = lay_out(corpus, tmp_path / "in")
    found = prepare(corpus, source, tmp_path / "out")
    assert parts_of(found) == PARTS[corpus]
    assert found.problems == ()
    assert not found.problems_path.exists()
    opened = open_manifest(tmp_path / "out", corpus)
    assert opened == found.manifest
    assert opened.labels == open_manifest(source, corpus).labels
    for clip in opened.clips:
        assert clip.seconds > 0.19
        assert len(clip.digest) == 32
        assert clip.group is not None


@pytest.mark.parametrize("write", [audioset_lists, audioset_packs])
@pytest.mark.parametrize("corpus", ["audioset", "audioset20k"])
def test_audioset_is_the_same_in_every_layout(tmp_path, write, corpus):
    write(tmp_path / "other")
    other = prepare(corpus, tmp_path / "other", tmp_path / "a").manifest
    tables = prepare(corpus, lay_out(corpus, tmp_path / "in"), tmp_path / "b").manifest
    assert {(clip.group, frozenset(clip.labels), clip.split) for clip in other.clips} == {
        (clip.group, frozenset(clip.labels), clip.split) for clip in tables.clips
    }


def test_labels_and_groups_of_audioset_are_those_of_the_table(tmp_path):
    found = prepare("audioset20k", lay_out("audioset20k", tmp_path / "in"), tmp_path / "out")
    video, labels = audioset_clips()["balanced_train"][3]
    clip = next(clip for clip in found.manifest.clips if clip.group == video)
    assert clip.path.name == f"Y{video}.wav"
    assert clip.labels == tuple(found.manifest.labels[label] for label in labels)


@pytest.mark.parametrize(
    "name", ["{}", "{}_30000", "{}_30000_40000", "{}_000030", "{}_30.000_40.000", "{}_30_40"]
)
def test_recordings_of_audioset_are_found_by_their_usual_names(tmp_path, name):
    source = lay_out("audioset20k", tmp_path / "in")
    for path in source.rglob("Y*.wav"):
        path.rename(path.with_name(name.format(path.stem[1:]) + ".wav"))
    assert parts_of(prepare("audioset20k", source, tmp_path / "out")) == PARTS["audioset20k"]


@pytest.fixture
def damaged(tmp_path) -> Path:
    """ESC-50 with one file missing, one empty, one cut short, one that is no audio, one silent."""
    source = lay_out("esc50", tmp_path / "in")
    audio = source / "audio"
    (audio / "1-1000-A-0.wav").unlink()
    (audio / "1-1001-A-1.wav").write_bytes(b"")
    whole = (audio / "1-1002-A-2.wav").read_bytes()
    (audio / "1-1002-A-2.wav").write_bytes(whole[: len(whole) // 3])
    (audio / "1-1003-A-3.wav").write_text("no sound at all")
    soundfile.write(audio / "1-1004-A-4.wav", np.zeros(0), 44_100)
    return source


def test_what_is_missing_or_broken_is_named_and_the_rest_is_done(damaged, tmp_path):
    found = prepare("esc50", damaged, tmp_path / "out")
    assert (found.n_listed, len(found.manifest.clips), found.n_missing) == (50, 45, 1)
    problems = problems_of(found)
    assert problems["1-1000-A-0.wav"] == "no such file"
    assert problems["1-1001-A-1.wav"] == "the file is empty (0 bytes)"
    assert "cut short" in problems["1-1002-A-2.wav"]
    assert "not audio" in problems["1-1003-A-3.wav"]
    assert "no samples" in problems["1-1004-A-4.wav"]
    assert len(problems) == 5
    assert len(open_manifest(tmp_path / "out", "esc50").clips) == 45


def test_files_that_come_later_are_taken_in(damaged, tmp_path):
    prepare("esc50", damaged, tmp_path / "out")
    lay_out("esc50", damaged)
    found = prepare("esc50", damaged, tmp_path / "out")
    assert len(found.manifest.clips) == 50
    assert not found.problems_path.exists()


def test_nothing_is_read_twice_but_what_has_changed(tmp_path, monkeypatch):
    source = lay_out("esc10", tmp_path / "in")
    first = prepare("esc10", source, tmp_path / "out").manifest
    changed = source / "audio" / "2-2001-A-1.wav"
    soundfile.write(changed, np.full(44_100, 0.1), 44_100)
    read = []
    real = preparation.examine_recording

    def examine(path, *arguments):
        read.append(path.name)
        return real(path, *arguments)

    monkeypatch.setattr(preparation, "examine_recording", examine)
    second = prepare("esc10", source, tmp_path / "out").manifest
    assert read == [changed.name]
    same = [a == b for a, b in zip(first.clips, second.clips, strict=True)]
    assert same.count(False) == 1
    assert second.clips[same.index(False)].seconds == 1.0


def test_a_torn_journal_is_used_up_to_the_tear(tmp_path):
    source = lay_out("esc10", tmp_path / "in")
    whole = prepare("esc10", source, tmp_path / "out").manifest
    journal = tmp_path / "out" / "journal.jsonl"
    text = journal.read_text()
    journal.write_text(text[: len(text) // 2])
    assert prepare("esc10", source, tmp_path / "out").manifest == whole
    assert prepare("esc10", source, tmp_path / "out").manifest == whole


def test_a_run_that_was_killed_goes_on(tmp_path):
    source = lay_out("speech_commands", tmp_path / "in")
    code = (
        "import sys, time; from pathlib import Path; from audiomamba.data import prepare;"
        "prepare('speech_commands', Path(sys.argv[1]), Path(sys.argv[2]), n_workers=1,"
        "        progress=lambda done, total: time.sleep(0.02))"
    )
    out = tmp_path / "out"
    command = [sys.executable, "-c", code, str(source), str(out)]
    process = subprocess.Popen(command)
    journal = out / "journal.jsonl"
    deadline = time.monotonic() + 120
    while not (journal.exists() and journal.read_text().count("\n") > 20):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "manifest.jsonl").exists()
    steps: list[int] = []
    found = prepare("speech_commands", source, out, progress=lambda done, _: steps.append(done))
    assert 20 < steps[0] < 140
    assert steps[-1] == 140
    assert found.manifest == prepare("speech_commands", source, tmp_path / "anew").manifest


def test_pieces_that_lie_outside_the_recording_are_named(tmp_path):
    source = lay_out("epic_sounds", tmp_path / "in")
    with h5py.File(source / "EPIC_audio.hdf5", "a") as file:
        short = file["P02_05"][: 24_000 * 3 + 2400]
        del file["P02_05"]
        file["P02_05"] = short
    found = prepare("epic_sounds", source, tmp_path / "out")
    assert parts_of(found) == {"train": 88, "valid": 13}
    assert "the piece begins at 3.25 s; the recording ends at 3.10 s" in problems_of(found).values()
    last = found.manifest.select("valid")[-1]
    assert (last.start_s, last.seconds) == (3.0, pytest.approx(0.1))


def test_rows_of_a_pack_that_were_never_filled_are_missing(tmp_path):
    audioset_packs(tmp_path / "in")
    with h5py.File(tmp_path / "in" / "hdf5s" / "waveforms" / "eval.h5", "a") as file:
        names = file["audio_name"][:]
        names[2] = b""
        file["audio_name"][:] = names
    found = prepare("audioset", tmp_path / "in", tmp_path / "out")
    assert problems_of(found) == {"eval.h5-row-2": "no such file"}
    assert parts_of(found) == {"test": 5, "train": 24}


def test_a_label_that_is_not_in_the_list_is_named(tmp_path):
    source = lay_out("vggsound", tmp_path / "in")
    table = source / "vggsound.csv"
    table.write_text(table.read_text().replace("waterfall burbling", "waterfall"))
    found = prepare("vggsound", source, tmp_path / "out")
    assert len(found.problems) == 3
    assert "labeled 'waterfall', which is not in the label list" in problems_of(found).values()


def test_a_data_set_of_ones_own_is_prepared(tmp_path, write_wav):
    for name in ("dog/1.wav", "dog/2.wav", "cat/1.wav"):
        write_wav(f"in/{name}")
    found = prepare("own", tmp_path / "in", tmp_path / "out")
    assert found.manifest.corpus is None
    assert found.hours == pytest.approx(1.5 / 3600)
    assert open_manifest(tmp_path / "out").labels == ("cat", "dog")


def test_nothing_that_can_be_used_is_an_error(tmp_path):
    source = lay_out("esc10", tmp_path / "in")
    for path in (source / "audio").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="none of the 25 clips of esc10 can be used"):
        prepare("esc10", source, tmp_path / "out")
    assert (tmp_path / "out" / "problems.csv").is_file()


def test_another_corpus_is_refused(tmp_path):
    prepare("esc10", lay_out("esc10", tmp_path / "in"), tmp_path / "out")
    with pytest.raises(DataError, match="a manifest of esc10; expected vggsound"):
        open_manifest(tmp_path / "out", "vggsound")
    assert len(open_manifest(tmp_path / "out", "own").clips) == 25


@pytest.mark.parametrize("corpus", sorted(set(PARTS) - {"esc10", "esc50"}))
def test_a_folder_of_something_else_gets_one_line(tmp_path, corpus):
    with pytest.raises(DataError, match=r"does not hold .*; expected ") as caught:
        prepare(corpus, tmp_path, tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_a_pickle_is_not_opened(tmp_path):
    source = lay_out("epic_sounds", tmp_path / "in")
    (source / "EPIC_Sounds_train.csv").rename(source / "EPIC_Sounds_train.pkl")
    with pytest.raises(DataError, match=r"take the CSV of the same annotations, which"):
        prepare("epic_sounds", source, tmp_path / "out")


@pytest.mark.parametrize(
    ("corpus", "table", "line", "message"),
    [
        ("audioset", "eval_segments.csv", "x, 1.0\n", "a line is 'x,1.0'"),
        ("audioset", "eval_segments.csv", 'x, 1.0, 2.0, "/m/0"\n', "x has the label '/m/0'"),
        ("vggsound", "vggsound.csv", "x,1,dog,half\n", "line 31 is 'x,1,dog,half'"),
        ("voxceleb1", "iden_split.txt", "4 id10001/a/1.wav\n", "line 26 is '4 id10001/a/1.wav'"),
        ("speech_commands", "testing_list.txt", "dig/a.wav\n", "names 'dig/a.wav'"),
    ],
)
def test_a_damaged_table_is_named(tmp_path, corpus, table, line, message):
    source = lay_out(corpus, tmp_path / "in")
    with (source / table).open("a") as file:
        file.write(line)
    with pytest.raises(DataError, match=message):
        prepare(corpus, source, tmp_path / "out")


def test_numbers_out_of_range_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="n_workers is 0"):
        prepare("esc10", tmp_path, tmp_path / "out", n_workers=0)


def test_lists_of_other_corpora_are_read(tmp_path):
    """AuM's authors list VGGSound, too, by ids."""
    source = lay_out("vggsound", tmp_path / "in")
    rows = list(csv.reader((source / "vggsound.csv").read_text().splitlines()))
    (source / "vggsound.csv").unlink()
    labels = open_manifest(lay_out("vggsound", tmp_path / "whole"), "vggsound").labels
    for split in ("train", "test"):
        data = [
            {
                "wav": f"/elsewhere/audio/{video}_{int(start):06d}.wav",
                "labels": f"/m/vggsd{labels.index(label):03d}",
            }
            for video, start, label, part in rows
            if part == split
        ]
        (source / f"{split}.json").write_text(json.dumps({"data": data}))
    assert parts_of(prepare("vggsound", source, tmp_path / "out")) == PARTS["vggsound"]
