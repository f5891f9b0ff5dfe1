"""Sound that is still going on."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import audiomamba
from audiomamba import infer
from audiomamba.infer.events import EventRule, find_events, in_order
from audiomamba.infer.live import find_events_live, live_rule, tag_live
from audiomamba.infer.reading import TagOptions

RATE = 16_000


def noise(seconds: float) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal(round(seconds * RATE), dtype=np.float32)


def as_raw(samples: np.ndarray) -> bytes:
    return np.rint(samples * 32767).astype("<i2").tobytes()


def test_every_window_is_tagged_as_the_recording_that_it_is(model_folder: Path) -> None:
    tagger, samples = audiomamba.load(model_folder), torch.from_numpy(noise(1.0))
    options = TagOptions(window_s=0.3, hop_s=0.25, top=2)

    moments = list(tag_live(tagger, samples.split(1000), options))

    assert [(it.start_s, it.end_s) for it in moments] == [
        (0, 0.3),
        (0.25, 0.55),
        (0.5, 0.8),
        (0.75, 1.0),
    ]
    for moment in moments:
        part = samples[round(moment.start_s * RATE) : round(moment.end_s * RATE)]
        expected = tagger.tag((part, RATE))[:2]
        assert [tag.label for tag in moment.tags] == [tag.label for tag in expected]
        scores = [tag.score for tag in expected]
        assert [tag.score for tag in moment.tags] == pytest.approx(scores, rel=1e-5)


def test_a_window_is_tagged_before_more_sound_is_waited_for(model_folder: Path) -> None:
    tagger, given = audiomamba.load(model_folder), []

    def blocks() -> Iterator[torch.Tensor]:
        for block in torch.from_numpy(noise(10.0)).split(160):
            given.append(len(block))
            yield block

    moments = tag_live(tagger, blocks(), TagOptions(window_s=0.3, hop_s=0.1))

    for n_expected in (4800, 6400, 8000):
        next(moments)
        assert sum(given) == n_expected


def test_a_window_begins_every_second_or_sooner(model_folder: Path) -> None:
    tagger = audiomamba.load(model_folder)  # its window is 0.335 s
    moments = list(tag_live(tagger, [torch.from_numpy(noise(3.35))], TagOptions()))
    assert [it.start_s for it in moments] == pytest.approx([0.335 * n for n in range(10)])


def test_events_are_those_of_the_recording_and_come_while_it_goes_on(model_folder: Path) -> None:
    tagger, samples = audiomamba.load(model_folder), torch.from_numpy(noise(6.0))
    samples[2 * RATE : 3 * RATE] = 0
    scores = infer.Framing(window_s=0.3, hop_s=0.1)
    frames = tagger.timeline((samples, RATE), scores).scores
    loud, quiet = frames[10].min(), frames[25].min()
    rule = EventRule(threshold=float(loud + quiet) / 2, stay=1.0)
    given: list[int] = []

    def blocks() -> Iterator[torch.Tensor]:
        for block in samples.split(160):
            given.append(len(block))
            yield block

    events = find_events_live(tagger, blocks(), TagOptions(window_s=0.3, hop_s=0.1), rule)
    first = next(events)

    assert sum(given) / RATE < first.end_s + rule.gap_s + rule.median_s + 0.3 + 0.1 + 0.2
    found = in_order([first, *events])
    expected = find_events(frames, tagger.labels, scores.step_s, rule, seconds=6.0)
    assert len(found) == len(expected) > 1
    for one, other in zip(found, expected, strict=True):
        assert (one.label, one.start_s, one.end_s) == (other.label, other.start_s, other.end_s)
        assert one.score == pytest.approx(other.score, rel=1e-4)


# A process at the end of a pipe


def start(model_folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = ["tag", "-", "--model", str(model_folder), "--json", *arguments]
    return subprocess.Popen(
        [sys.executable, "-m", "audiomamba", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def read_row(process: subprocess.Popen[bytes]) -> dict[str, object]:
    """The next line; the process is killed if none comes within a minute."""
    assert process.stdout is not None
    watch = threading.Timer(60, process.kill)
    watch.start()
    line = process.stdout.readline()
    watch.cancel()
    assert line, process.communicate()
    row: dict[str, object] = json.loads(line)
    return row


def test_lines_come_while_the_sound_goes_on_and_it_ends_with_the_sound(model_folder: Path) -> None:
    process = start(model_folder, "--raw", "16000", "--window", "0.3", "--hop", "0.1")
    assert process.stdin is not None
    sound = as_raw(noise(0.75))

    for n_ms in range(0, 750, 50):  # in time with what it is the sound of, and no more is given
        process.stdin.write(sound[32 * n_ms : 32 * (n_ms + 50)])
        process.stdin.flush()
        time.sleep(0.05)
        if n_ms >= 250 and n_ms % 100 == 50:
            row = read_row(process)
            assert row["end_s"] == (n_ms + 50) / 1000
    output, error = process.communicate()

    assert process.returncode == 0
    assert error == b""
    (last,) = output.splitlines()
    assert (json.loads(last)["start_s"], json.loads(last)["end_s"]) == (0.5, 0.75)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_it_with_what_was_heard(model_folder: Path) -> None:
    with start(model_folder, "--raw", "16000:s16", "--window", "0.3", "--hop", "0.3") as process:
        assert process.stdin is not None
        process.stdin.write(as_raw(noise(0.5)))
        process.stdin.flush()
        assert read_row(process)["end_s"] == 0.3

        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert process.stderr is not None
        rest, error = process.stdout.read(), process.stderr.read()

    assert process.returncode == 130
    assert error == b""
    assert json.loads(rest)["end_s"] == 0.5


def test_wav_without_a_length_is_read(model_folder: Path) -> None:
    header = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0\x80>\0\0\0}\0\0\x02\0\x10\0"
    process = start(model_folder)
    output, error = process.communicate(header + b"data\xff\xff\xff\xff" + as_raw(noise(1.0)))
    assert process.returncode == 0, error
    assert [json.loads(line)["end_s"] for line in output.splitlines()] == [0.335, 0.67, 1.0]


def test_what_is_no_wav_gets_one_line(model_folder: Path) -> None:
    process = start(model_folder)
    output, error = process.communicate(b"these are words, not sound\n" * 100)
    assert process.returncode == 1
    assert output == b""
    assert error.startswith(b"audiomamba: standard input: not wav; expected wav")
    assert len(error.splitlines()) == 1


def test_events_begin_at_the_models_own_thresholds_where_it_has_them() -> None:
    tagger = audiomamba.load("general")
    assert tagger.thresholds
    assert live_rule(tagger, None).threshold == tagger.thresholds
    assert live_rule(tagger, 0.0).threshold == tagger.thresholds
    assert live_rule(tagger, 0.2).threshold == 0.2
    tagger.thresholds = {}
    assert live_rule(tagger, None) == EventRule()
