"""Any tree of recordings as a list of clips."""

import csv
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiomamba import audio
from audiomamba.data import Collection, collection, open_manifest, prepare_collection
from audiomamba.data.deny_list import freesound_ids, read_deny_lists
from audiomamba.data.source_table import SourceTable, read_source_table
from audiomamba.errors import AudioError, ConfigError, DataError

RATE_HZ = 22_050


def noise(seed: int, seconds: float = 0.3) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE_HZ))


def write(path: Path, samples: np.ndarray, **options: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, RATE_HZ, **options)
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two sources, of three recordings together, and whatever else is found in such trees."""
    root = tmp_path / "sounds"
    first = write(root / "games" / "door.wav", noise(0), subtype="PCM_16")
    samples, _ = soundfile.read(first, dtype="int16")
    write(root / "games" / "same.flac", samples)
    (root / "field" / "a").mkdir(parents=True)
    (root / "field" / "a" / "copy of door.wav").write_bytes(first.read_bytes())
    write(root / "field" / "b" / "rain.ogg", noise(1))
    write(root / "field" / "quiet.wav", 1e-5 * noise(2))
    write(root / "field" / "nothing.wav", np.zeros(4000))
    (root / "field" / "broken.wav").write_text("no sound")
    (root / "field" / "readme.txt").write_text("not audio by its name")
    write(root / "field" / ".hidden.wav", noise(3))
    write(root / "loose.wav", np.stack([noise(4), noise(5)], axis=1))
    return root


def names(found: Collection) -> list[str]:
    return [clip.path.name for clip in found.manifest.clips]


def left_out(found: Collection) -> dict[str, tuple[str, str]]:
    return {Path(it.clip).name: (it.kind, it.reason) for it in found.problems}


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def test_a_tree_becomes_a_manifest_of_what_can_be_used(tree, tmp_path):
    found = prepare_collection(tree, tmp_path / "out")
    assert names(found) == ["copy of door.wav", "rain.ogg", "loose.wav"]
    assert [clip.group for clip in found.manifest.clips] == ["field", "field", "sounds"]
    assert found.n_listed == 8
    assert open_manifest(tmp_path / "out") == found.manifest
    for clip in found.manifest.clips:
        assert clip.seconds == pytest.approx(0.3, abs=1e-4)
        assert clip.sample_rate == RATE_HZ
        assert clip.labels == ()


def test_what_is_left_out_is_named(tree, tmp_path):
    found = prepare_collection(tree, tmp_path / "out")
    assert left_out(found) == {
        "broken.wav": ("broken", "not audio or video that can be read"),
        "door.wav": ("duplicate", "the same bytes as field/a/copy of door.wav"),
        "nothing.wav": ("silent", "silent: its largest sample is below -80 dB of full scale"),
        "quiet.wav": ("silent", "silent: its largest sample is below -80 dB of full scale"),
        "same.flac": ("duplicate", "the same sound as field/a/copy of door.wav"),
    }
    rows = table(found.problems_path)
    assert [row["clip"] for row in rows] == [it.clip for it in found.problems]
    assert found.counts == {"broken": 1, "duplicate": 2, "silent": 2}


def test_the_table_of_recordings_has_hashes(tree, tmp_path):
    found = prepare_collection(tree, tmp_path / "out")
    rows = table(found.recordings_path)
    assert [row["path"] for row in rows] == [
        "field/a/copy of door.wav",
        "field/b/rain.ogg",
        "loose.wav",
    ]
    for row in rows:
        content = (tree / row["path"]).read_bytes()
        assert row["sha256"] == hashlib.sha256(content).hexdigest()
        assert row["license"] == "unknown"
        assert float(row["seconds"]) == pytest.approx(0.3, abs=1e-4)
    assert found.license_hours == {"unknown": pytest.approx(0.9 / 3600, rel=1e-3)}


def test_the_sound_is_what_is_heard_in_mono_at_16_khz(tmp_path):
    path = write(tmp_path / "two.wav", np.stack([noise(0), noise(1)], axis=1), subtype="FLOAT")
    waveform = audio.load(path, sample_rate=16_000).numpy()
    heard = np.rint(waveform.clip(-1, 1) * 32_767).astype("<i2")
    found = collection.listen(path)
    assert found.sound == hashlib.blake2b(heard.tobytes(), digest_size=16).hexdigest()
    assert found.peak == pytest.approx(np.abs(waveform).max())
    assert found.seconds == len(noise(0)) / RATE_HZ


def test_the_same_sound_in_two_channels_is_the_same(tmp_path):
    mono, _ = soundfile.read(write(tmp_path / "in" / "mono.wav", noise(0)), dtype="int16")
    write(tmp_path / "in" / "stereo.flac", np.stack([mono, mono], axis=1))
    found = prepare_collection(tmp_path / "in", tmp_path / "out")
    assert left_out(found) == {"stereo.flac": ("duplicate", "the same sound as mono.wav")}


SOURCES = """path,source,licence,freesound_id
field,Field Recordings,CC0-1.0,
field/b,,CC-BY-4.0,
field/b/rain.ogg,,,4711
loose.wav,Somebody,,
"""


def test_sources_and_licences_come_from_a_table(tree, tmp_path):
    (tree / "sources.csv").write_text(SOURCES)
    found = prepare_collection(tree, tmp_path / "out")
    rows = {row["path"]: (row["source"], row["license"]) for row in table(found.recordings_path)}
    assert rows == {
        "field/a/copy of door.wav": ("Field Recordings", "CC0-1.0"),
        "field/b/rain.ogg": ("Field Recordings", "CC-BY-4.0"),
        "loose.wav": ("Somebody", "unknown"),
    }
    assert [clip.group for clip in found.manifest.clips] == [name for name, _ in rows.values()]
    other = tmp_path / "other.csv"
    other.write_text("source,license\nfield,MIT\n")
    found = prepare_collection(tree, tmp_path / "out", sources=other)
    assert [row["license"] for row in table(found.recordings_path)] == ["MIT", "MIT", "unknown"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,license\na,MIT\n", "line 2 has no path and no source"),
        ("path,source\na,x\na/,y\n", "line 3: 'a' has a row already"),
        ("path,source\na\n", "line 2 does not have 2 cells"),
    ],
)
def test_a_table_of_sources_that_says_nothing_is_refused(tmp_path, text, message):
    path = tmp_path / "sources.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_source_table(path)


def test_a_row_is_about_whole_names_only():
    known = SourceTable({"rain": {"license": "MIT"}})
    assert known.find("rain/1.wav", "top").license == "MIT"
    assert known.find("rainy/1.wav", "top").license == "unknown"
    assert known.find("1.wav", "top").name == "top"


def test_excluded_recordings_are_left_out_by_hash_and_by_sound(tree, tmp_path):
    sha256 = hashlib.sha256((tree / "games" / "same.flac").read_bytes()).hexdigest()
    (tmp_path / "deny.txt").write_text(f"# ours\n\n{sha256.upper()}  same.flac\n")
    found = prepare_collection(tree, tmp_path / "out", exclude=[tmp_path / "deny.txt"])
    assert names(found) == ["rain.ogg", "loose.wav"]
    reasons = left_out(found)
    assert reasons["same.flac"] == ("excluded", "its SHA-256 is in the list of what is excluded")
    for name in ("door.wav", "copy of door.wav"):
        like = "the same sound as games/same.flac, which is excluded"
        assert reasons[name] == ("excluded", like)


def test_the_table_of_one_collection_keeps_its_sounds_out_of_another(tree, tmp_path):
    denied = tmp_path / "denied"
    write(denied / "x.flac", soundfile.read(tree / "games" / "door.wav", dtype="int16")[0])
    known = prepare_collection(denied, tmp_path / "known").recordings_path
    found = prepare_collection(tree, tmp_path / "out", exclude=[known])
    assert names(found) == ["rain.ogg", "loose.wav"]
    assert left_out(found)["door.wav"][1] == "its sound is in the list of what is excluded"


def test_excluded_recordings_are_left_out_by_their_freesound_id(tree, tmp_path):
    (tree / "sources.csv").write_text(SOURCES)
    write(tree / "field" / "0018527__kim__bell.wav", noise(7))
    write(tree / "field" / "bell_again.wav", noise(7))
    write(tree / "field" / "1-18528-A-44.wav", noise(8))
    esc50 = tmp_path / "esc50.csv"
    esc50.write_text("filename,fold,src_file\na.wav,1,18527\nb.wav,1,18528\n")
    ids = tmp_path / "ids.txt"
    ids.write_text("4711\n")
    found = prepare_collection(tree, tmp_path / "out", exclude=[esc50, ids])
    assert names(found) == ["copy of door.wav", "loose.wav"]
    reasons = left_out(found)
    assert reasons["rain.ogg"][1] == "Freesound id 4711 is in the list of what is excluded"
    assert reasons["1-18528-A-44.wav"][0] == "excluded"
    assert "field/0018527__kim__bell.wav, which is excluded" in reasons["bell_again.wav"][1]


def test_excluding_one_silence_does_not_exclude_all(tree, tmp_path):
    silent = hashlib.sha256((tree / "field" / "nothing.wav").read_bytes()).hexdigest()
    write(tree / "field" / "nothing too.flac", np.zeros(4000))
    (tmp_path / "deny.txt").write_text(silent)
    reasons = left_out(prepare_collection(tree, tmp_path / "out", exclude=[tmp_path / "deny.txt"]))
    assert reasons["nothing.wav"][0] == "excluded"
    assert reasons["nothing too.flac"][0] == "silent"


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("1234__kim__rain.wav", ["1234"]),
        ("77__kim__rain.wav", ["77"]),
        ("1-137-A-32.wav", ["137"]),
        ("freesound_99111 rain.wav", ["99111"]),
        ("fs99111-rain.wav", ["99111"]),
        ("rain 20190102 99111.wav", ["99111"]),
        ("rain99111.wav", []),
        ("44k1 rain 12.wav", []),
    ],
)
def test_freesound_ids_stand_by_themselves(name, ids):
    assert freesound_ids(name) == ids


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0123456789\n", "line 1 begins with '0123456789'; expected a SHA-256"),
        ("12\nrain.wav\n", "line 2 begins with 'rain.wav'"),
        ("sha256,name\nabc,x\n", "line 2: sha256 is 'abc'; expected a SHA-256"),
        ("freesound_id\n12345678\n", "line 2: freesound_id is '12345678'"),
    ],
)
def test_a_list_of_something_else_is_refused(tmp_path, text, message):
    path = tmp_path / "deny.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_deny_lists([path])


def test_an_id_of_zeros_excludes_nothing(tmp_path):
    (tmp_path / "deny.txt").write_text("000\n")
    denied = read_deny_lists([tmp_path / "deny.txt"])
    assert denied.reason(sha256="", sound="", ids=["", "0"]) == ""


ODD_NAMES = [
    "-rf.wav",
    'a, b;"c".wav',
    "line\nbreak.wav",
    "🐄 кор'ова.wav",
    os.fsdecode(b"latin-\xe9.wav"),
    "%s {0} $HOME `x`.wav",
    " . .wav",
]


def test_any_file_name_goes(tmp_path):
    source = tmp_path / "in" / os.fsdecode(b'fold\xe9r, "1"')
    for seed, name in enumerate(ODD_NAMES):
        write(tmp_path / "plain.wav", noise(seed))
        source.mkdir(parents=True, exist_ok=True)
        (tmp_path / "plain.wav").rename(source / name)
        (source / f"2{name}").write_bytes(b"")
    found = prepare_collection(tmp_path / "in", tmp_path / "out")
    assert sorted(names(found)) == sorted(ODD_NAMES)
    assert {Path(row["path"]).name for row in table(found.recordings_path)} == set(ODD_NAMES)
    assert {Path(row["clip"]).name for row in table(found.problems_path)} == {
        f"2{name}" for name in ODD_NAMES
    }
    assert open_manifest(tmp_path / "out") == found.manifest
    with pytest.raises(DataError, match="its SHA-256 is in the list"):
        prepare_collection(tmp_path / "in", tmp_path / "2", exclude=[found.recordings_path])


def test_nothing_is_read_twice_but_what_has_changed(tree, tmp_path, monkeypatch):
    first = prepare_collection(tree, tmp_path / "out")
    write(tree / "loose.wav", noise(9, seconds=0.5))
    write(tree / "new" / "one.wav", noise(10))
    read = []
    real = collection.listen
    monkeypatch.setattr(collection, "listen", lambda path: read.append(path.name) or real(path))
    second = prepare_collection(tree, tmp_path / "out", n_workers=1)
    assert sorted(read) == ["broken.wav", "loose.wav", "one.wav"]
    assert names(second) == [*names(first), "one.wav"]
    assert second.manifest.clips[2].seconds == 0.5


def test_a_stop_loses_nothing(tree, tmp_path, monkeypatch):
    def stop(n_done: int, _: int) -> None:
        if n_done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_collection(tree, tmp_path / "out", n_workers=1, progress=stop)
    assert not (tmp_path / "out" / "manifest.jsonl").exists()
    read = []
    real = collection.listen
    monkeypatch.setattr(collection, "listen", lambda path: read.append(path.name) or real(path))
    found = prepare_collection(tree, tmp_path / "out", n_workers=1)
    assert len(read) < 8
    assert found.manifest == prepare_collection(tree, tmp_path / "anew").manifest


def test_a_manifest_of_nothing_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(AudioError, match="no audio files"):
        prepare_collection(tmp_path / "in", tmp_path / "out")
    write(tmp_path / "in" / "a.wav", np.zeros(400))
    with pytest.raises(DataError, match=r"none of its 1 recordings can be used; .*silent"):
        prepare_collection(tmp_path / "in", tmp_path / "out")
    with pytest.raises(ConfigError, match="n_workers is 0"):
        prepare_collection(tmp_path / "in", tmp_path / "out", n_workers=0)
