"""What the page draws an open recording from is what the library says of the recording."""

import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from servers import RECORDINGS, Server

from audiomamba.infer import EventRule, Tagger


def opened(server: Server, sound: bytes) -> tuple[str, dict[str, Any]]:
    """Open a recording, and wait for what is known of it."""
    answer = server.post("/v1/recordings", sound)
    assert answer.status == 202
    path = f"/v1/recordings/{answer.json()['id']}"
    while True:
        state = server.get(path).json()
        if state["is_complete"] or state["error"]:
            return path, state
        time.sleep(0.05)


@pytest.fixture(scope="module")
def minute(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute with a tone in its last third, after a recording of a blackbird."""
    bird, rate = soundfile.read(RECORDINGS / "blackbird.ogg", always_2d=True)
    samples = np.zeros(60 * rate, np.float32)
    samples[: len(bird)] = bird[:, 0][: len(samples)]
    samples[40 * rate :] = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(20 * rate) / rate)
    path = tmp_path_factory.mktemp("minute") / "minute.flac"
    soundfile.write(path, samples, rate)
    return path


def test_scores_and_events_are_those_of_the_timeline(
    server: Server, general: Tagger, minute: Path
) -> None:
    path, state = opened(server, minute.read_bytes())
    line = general.timeline(minute)
    highest = line.scores.amax(0)

    assert state["seconds"] == pytest.approx(line.seconds, abs=1e-6)
    assert {row["label"]: row["score"] for row in state["labels"]} == pytest.approx(
        dict(zip(line.labels, highest.tolist(), strict=True)), abs=1e-4
    )
    for threshold in (None, 0.1):
        rule = EventRule(threshold=threshold or general.thresholds)
        query = f"?threshold={threshold}" if threshold else ""
        events = server.get(f"{path}/events{query}").json()["events"]
        assert events == [event.to_dict() for event in line.events(rule)]
    labels = [row["label"] for row in state["labels"][:2]]
    query = "&".join(f"label={label.replace(' ', '%20')}" for label in labels)
    lanes = server.get(f"{path}/lanes?bins=100&{query}").json()
    index = line.labels.index(labels[0])
    parts = [part.amax().item() for part in line.scores[:, index].tensor_split(100)]
    assert max(lanes[labels[0]]) == pytest.approx(max(parts), abs=1e-4)
    assert len(lanes[labels[1]]) == 100
    assert server.get(f"{path}/lanes?label=none").status == 404
    assert server.ask("DELETE", path).status == 204
    assert server.get(path).status == 404


def test_peaks_and_tiles_show_the_sound(server: Server, minute: Path) -> None:
    image = pytest.importorskip("matplotlib.image")
    path, state = opened(server, minute.read_bytes())

    peaks = np.frombuffer(server.get(f"{path}/peaks").body, np.int8).reshape(-1, 2)
    assert len(peaks) == 60 * state["columns_per_s"]
    assert (peaks[41 * 50 : 59 * 50] == [-63, 63]).mean() > 0.95
    assert abs(peaks[38 * 50 : 39 * 50]).max() == 0

    assert state["levels"][0] == pytest.approx(3000, abs=2)
    assert state["levels"][1] == pytest.approx(750, abs=2)
    tiles = [image.imread(io.BytesIO(server.get(f"{path}/tiles/1/{n}").body)) for n in (0, 1)]
    picture = np.concatenate(tiles, axis=1)[..., :3].sum(-1)
    assert picture.shape == (64, state["levels"][1])
    tone, silence = picture[:, 520:740], picture[:, 470:490]
    assert tone.max(0).min() > 2
    assert len(set(tone.argmax(0))) == 1  # one band, always the same
    assert silence.max() < 0.2
    for wrong in ("0/100", "9/0", "0/-1", "x/0"):
        assert server.get(f"{path}/tiles/{wrong}").status in (400, 404)
    server.ask("DELETE", path)


def test_what_cannot_be_read_is_told_and_nothing_is_kept(server: Server) -> None:
    path, state = opened(server, b"no sound")

    assert "not audio" in state["error"]
    assert server.get(f"{path}/peaks").status == 409
    server.ask("DELETE", path)
    deadline = time.monotonic() + 5
    while any(server.counts()[f"audiomamba_{it}_bytes"] for it in ("kept", "spooled")):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_page_comes_from_the_server_and_allows_nothing_else(server: Server) -> None:
    page = server.ask("GET", "/", headers={"authorization": ""})
    policy = page.headers["content-security-policy"]
    text = page.body.decode()

    assert page.status == 200
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    nonce = text.split('name="style-nonce" content="')[1].split('"')[0]
    assert f"style-src 'self' 'nonce-{nonce}'" in policy
    assert nonce not in server.get("/").body.decode()
    assert "http:" not in text
    assert "https:" not in text
    for name in ("main.js", "style.css", "wavesurfer/wavesurfer.esm.js", "wavesurfer/LICENSE"):
        assert server.get(f"/page/{name}").status == 200
    assert server.get("/page/../app.py").status == 404
    assert server.get("/page/%2e%2e/app.py").status == 404
