"""Folders and microphones are watched, and nothing is lost or doubled whatever happens."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from command_line import command, run
from servers import RECORDINGS
from typer.testing import CliRunner

from audiomamba import audio
from audiomamba.cli import app
from audiomamba.errors import AudioError
from audiomamba.infer import EventRule, Tagger
from audiomamba.serve.watch.broker import Broker
from audiomamba.serve.watch.clips import Clips
from audiomamba.serve.watch.events_file import EventsFile
from audiomamba.serve.watch.sources import device_blocks

RATE = 32_000
OPTIONS = ("--window", "2", "--hop", "0.5", "--threshold", "0.1")


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two recordings, what is none, and a broken one."""
    folder = tmp_path / "recorder"
    (folder / "day").mkdir(parents=True)
    shutil.copy(RECORDINGS / "speech.wav", folder / "a.wav")
    shutil.copy(RECORDINGS / "rooster.wav", folder / "day" / "b.wav")
    (folder / "day" / "notes.txt").write_text("rain", "utf-8")
    (folder / "broken.wav").write_bytes(b"RIFF....")
    return folder


def watch(folder: Path, *more: object) -> Any:
    events = folder.parent / "events.jsonl"
    return run(
        "watch", folder, "--events", events, "--once", "--settle", 0, "--threshold", 0.1, *more
    )


def test_every_recording_is_heard_once(folder: Path, general: Tagger) -> None:
    events, clips = folder.parent / "events.jsonl", folder.parent / "clips"
    first = watch(folder, "--clips", clips)

    assert "broken.wav" in first.stderr
    rows = lines_of(events)
    assert [json.loads(line) for line in first.stdout.splitlines()] == rows
    for name in ("a.wav", "day/b.wav"):
        line = general.timeline(folder / name)
        expected = [event.to_dict() for event in line.events(EventRule(threshold=0.1))]
        found = [row for row in rows if row["source"] == name]
        assert expected
        assert [{key: row[key] for key in expected[0]} for row in found] == expected
        changed_s = (folder / name).stat().st_mtime
        began = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(changed_s - line.seconds))
        assert found[0]["time"].startswith(began)
    for row in rows:
        clip, rate = soundfile.read(clips / row["clip"])
        assert 0 < len(clip) / rate <= row["end_s"] - row["start_s"] + 2.1

    assert watch(folder).stdout == ""
    shutil.copy(RECORDINGS / "dog.ogg", folder / "c.ogg")
    assert {json.loads(line)["source"] for line in watch(folder).stdout.splitlines()} <= {"c.ogg"}
    assert len(lines_of(events)) >= len(rows)


def test_what_was_written_before_the_process_ended_is_not_written_again(folder: Path) -> None:
    events, heard = folder.parent / "events.jsonl", folder.parent / "events.jsonl.heard.json"
    watch(folder)
    whole = events.read_bytes()

    state = json.loads(heard.read_text("utf-8"))
    last = lines_of(events)[-1]["source"]
    first_of_last = next(
        index for index, row in enumerate(lines_of(events)) if row["source"] == last
    )
    state["offset"] = sum(len(line) for line in whole.splitlines(keepends=True)[:first_of_last])
    del state["files"][last]
    heard.write_text(json.dumps(state), "utf-8")
    events.write_bytes(whole[:-7])  # killed while the last line was written
    watch(folder)

    assert events.read_bytes() == whole


def test_a_recording_that_still_grows_is_left_alone(folder: Path) -> None:
    for path in folder.rglob("*.wav"):
        os.utime(path, (time.time() - 60,) * 2)
    (folder / "broken.wav").unlink()
    os.utime(folder / "a.wav", None)
    events = folder.parent / "events.jsonl"
    process = subprocess.Popen(
        command("watch", folder, "--events", events, "--settle", 3, "--threshold", 0.1),
        stdout=subprocess.PIPE,
    )
    try:
        deadline = time.monotonic() + 60
        while not (events.exists() and "b.wav" in events.read_text("utf-8")):
            os.utime(folder / "a.wav", None)  # as a recorder does that still writes
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert "a.wav" not in events.read_text("utf-8")
        while "a.wav" not in events.read_text("utf-8"):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def morning() -> np.ndarray:
    """A quarter of a minute in which people and a rooster are heard, as 16-bit integers."""
    parts = [np.zeros(RATE, np.float32)]
    for name in ("speech.wav", "rooster.wav", "speech.wav"):
        sound = audio.load(RECORDINGS / name, sample_rate=RATE).numpy()
        parts += [sound[: 5 * RATE], np.zeros(RATE, np.float32)]
    return (32767 * np.concatenate(parts).clip(-1, 1)).astype("<i2")


def listen(events: Path, sound: bytes, *more: str) -> Any:
    arguments = ["watch", "-", "--raw", str(RATE), "--events", str(events), *OPTIONS, *more]
    return CliRunner().invoke(app, arguments, input=sound)


def test_a_microphone_gives_the_events_of_tag(morning: np.ndarray, tmp_path: Path) -> None:
    arguments = ["tag", "-", "--events", "--json", "--raw", str(RATE), *OPTIONS]
    printed = CliRunner().invoke(app, arguments, input=morning.tobytes()).stdout.splitlines()
    expected = [json.loads(line) for line in printed]

    clips = tmp_path / "clips"
    listen(tmp_path / "events.jsonl", morning.tobytes(), "--clips", str(clips))
    rows = lines_of(tmp_path / "events.jsonl")

    assert len(expected) > 2
    assert [{key: row[key] for key in expected[0]} for row in rows] == expected
    assert {row["clip"] for row in rows} == {path.name for path in clips.iterdir()}
    assert not (tmp_path / "events.jsonl.tail").exists()


@pytest.mark.parametrize("share", [0.55, pytest.param(0.85, marks=pytest.mark.slow)])
def test_a_microphone_that_is_killed_loses_at_most_a_second(
    morning: np.ndarray, tmp_path: Path, share: float
) -> None:
    events = tmp_path / "events.jsonl"
    arguments = ("watch", "-", "--raw", RATE, "--events", events, *OPTIONS)
    process = subprocess.Popen(
        command(*arguments), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert process.stdin is not None
    n_fed, block = 0, RATE // 10
    while n_fed < share * len(morning):  # four times as fast as it was recorded
        process.stdin.write(morning[n_fed : n_fed + block].tobytes())
        process.stdin.flush()
        n_fed += block
        time.sleep(0.025)
    tail = tmp_path / "events.jsonl.tail"
    deadline = time.monotonic() + 60
    while True:  # it has started late; a microphone would have waited
        n_kept = sum(path.stat().st_size // 4 for path in tail.glob("*.f32"))
        if n_kept >= n_fed - RATE:
            break
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = lines_of(events)
    n_kept = sum(path.stat().st_size // 4 for path in tail.glob("*.f32"))

    listen(events, b"")  # the next call; no sound comes any more
    listen(tmp_path / "whole.jsonl", morning[:n_kept].tobytes())

    def heard(path: Path) -> list[tuple[str, float, float, float]]:
        rows = lines_of(path)
        return sorted(
            (it["label"], it["start_s"], it["end_s"], round(it["score"], 4)) for it in rows
        )

    assert n_fed - n_kept <= RATE
    assert heard(events) == heard(tmp_path / "whole.jsonl")
    assert lines_of(events)[: len(before)] == before
    assert len(lines_of(events)) > len(before)
    assert not tail.exists()
    size = events.stat().st_size
    listen(events, b"")
    assert events.stat().st_size == size


def test_two_watches_do_not_share_a_file(folder: Path) -> None:
    from audiomamba.outputs import sole_writer

    with sole_writer(folder.parent / "events.jsonl"):
        assert "written by another call" in watch(folder).stderr


def test_the_oldest_clips_make_room(tmp_path: Path) -> None:
    clips = Clips(tmp_path / "clips", 0.3)
    (tmp_path / "clips" / "mine.flac").write_bytes(bytes(1_000_000))
    noise = torch.rand(RATE) - 0.5

    names = [clips.keep("A dog, \\/..", 1_700_000_000 + n, noise, RATE) for n in range(10)]

    kept = sorted(path.name for path in (tmp_path / "clips").iterdir())
    assert names[0] == "20231114T221320.000Z_a-dog.flac"
    assert "mine.flac" in kept
    assert kept[:-1] == names[11 - len(kept) :]
    assert 2 < len(kept) < 9


def test_half_a_line_is_taken_away_and_whole_lines_stay(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    long = json.dumps({"label": "x" * 10_000})
    path.write_text(f"{long}\n{long[:9000]}", "utf-8")
    with closing(EventsFile(path)) as events:
        events.append([{"label": "Dog"}])
        assert [row["label"][:3] for row in events.since(0)] == ["xxx", "Dog"]


def test_events_are_published_by_mqtt() -> None:
    broker = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if broker is None:
        pytest.skip("needs mosquitto, as from apt-get install mosquitto")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([broker, "-p", str(port)], stderr=subprocess.DEVNULL)
    try:
        publisher = Broker(f"127.0.0.1:{port}", "house/events")
        code = "from paho.mqtt import subscribe; "
        code += (
            f"m = subscribe.simple('house/#', hostname='127.0.0.1', port={port}, keepalive=20); "
        )
        code += "print(m.topic, m.payload.decode(), flush=True)"
        time.sleep(0.5)
        reader = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 20
        while reader.poll() is None and time.monotonic() < deadline:
            publisher.publish({"label": "Dog"})
            time.sleep(0.2)
        assert reader.communicate(timeout=5)[0] == 'house/events {"label": "Dog"}\n'
        publisher.close()
    finally:
        process.terminate()
        process.wait(10)


def test_a_sound_device_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ALSA reads a device's sound from a file: everything but the hardware is real."""
    av = pytest.importorskip("av")
    if "alsa" not in av.formats_available:
        pytest.skip("needs PyAV with ALSA")
    wave = (8000 * np.sin(np.arange(96_000) / 10)).astype("<i2")
    (tmp_path / "sound.raw").write_bytes(np.repeat(wave, 2).tobytes())
    (tmp_path / "alsa.conf").write_text(
        "pcm.fake { type file\n slave.pcm { type null }\n file /dev/null\n"
        f' infile "{tmp_path}/sound.raw"\n format "raw" }}\n',
        "utf-8",
    )
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(tmp_path / "alsa.conf"))

    blocks = device_blocks("fake", 48_000)
    heard = [next(blocks)]
    while sum(map(len, heard)) < 200:
        heard.append(next(blocks))
    blocks.close()

    found = torch.cat(heard)[:200].numpy()
    assert found == pytest.approx(wave[:200] / 32768, abs=1e-4)
    with pytest.raises(AudioError, match="the device 'none' cannot be opened"):
        next(device_blocks("none", 48_000))
