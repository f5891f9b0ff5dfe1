"""The page in a real browser: Debian's Chromium, driven by Playwright."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from servers import RECORDINGS, Server

from audiomamba import audio

pytestmark = pytest.mark.browser
CHROMIUM = shutil.which("chromium")
SHOTS = os.environ.get("AUDIOMAMBA_SCREENSHOTS")  # a folder that is given pictures of the page
AXE = os.environ.get("AUDIOMAMBA_AXE") or None  # axe.min.js of the npm package axe-core
DESKTOP, PHONE = {"width": 1100, "height": 900}, {"width": 380, "height": 780}


@pytest.fixture(scope="module")
def page_server() -> Iterator[Server]:
    server = Server("general", "--workers", 1)
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the browser's microphone hears: four seconds of silence, then somebody speaks."""
    speech = audio.load(RECORDINGS / "speech.wav", sample_rate=48_000).numpy()
    path = tmp_path_factory.mktemp("microphone") / "mic.wav"
    samples = np.concatenate([np.zeros(4 * 48_000, np.float32), *[speech] * 8])
    soundfile.write(path, samples, 48_000, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def browser(microphone: Path) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs pip install playwright")
    if CHROMIUM is None:
        pytest.skip("needs chromium, as from apt-get install chromium")
    with playwright.sync_playwright() as running:
        yield running.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--disable-background-networking",
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-audio-capture={microphone}",
                "--autoplay-policy=no-user-gesture-required",
            ],
        )


class Watched:
    """A page, all that it asks for, and all that its console says."""

    def __init__(self, browser: Any, server: Server, **options: Any) -> None:
        self.context = browser.new_context(viewport=DESKTOP, **options)
        self.context.set_default_timeout(120_000)  # a busy machine starts a browser slowly
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.sent: list[tuple[float, float]] = []  # when, and how loud
        self.heard: list[tuple[float, dict[str, Any]]] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("websocket", self._listen)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "console",
            lambda said: self.errors.append(said.text) if said.type in ("error", "warning") else 0,
        )
        self.home = f"http://127.0.0.1:{server.port}/"
        self.page.goto(self.home)
        self.page.wait_for_selector("body[data-ready=true]")

    def _listen(self, socket: Any) -> None:
        self.requests.append(socket.url.replace("ws:", "http:"))
        socket.on("framesent", self._sent)
        socket.on("framereceived", lambda it: self.heard.append((time.monotonic(), json.loads(it))))

    def _sent(self, block: Any) -> None:
        if isinstance(block, bytes):
            self.sent.append((time.monotonic(), float(abs(np.frombuffer(block, "<f4")).max())))

    def open(self, path: Path) -> None:
        self.page.set_input_files("#file", str(path))
        self.page.wait_for_selector("#recording:not([hidden]) .lane", timeout=120_000)
        self.wait("document.querySelector('#status').textContent.includes('events')")
        self.page.wait_for_timeout(600)

    def wait(self, condition: str, seconds: float = 120) -> None:
        """Wait in this process: what waits inside the page is against its security policy."""
        deadline = time.monotonic() + seconds
        while not self.page.evaluate(condition):
            assert time.monotonic() < deadline, condition
            self.page.wait_for_timeout(50)

    def shoot(self, name: str) -> None:
        if SHOTS:
            self.page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)

    def check(self) -> None:
        """Nothing went wrong, and nothing was asked of another host."""
        assert self.errors == []
        elsewhere = [
            url for url in self.requests if not url.startswith((self.home, "blob:", "data:"))
        ]
        assert elsewhere == []
        assert self.requests

    def close(self) -> None:
        self.context.close()


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a minute in which several things are heard."""
    parts = []
    for name in ("speech.wav", "rooster.wav", "rain.ogg", "guitar.flac", "dog.ogg", "bell.wav"):
        sound = audio.load(RECORDINGS / name, sample_rate=32_000).numpy()[: 6 * 32_000]
        parts += [sound / abs(sound).max() * 0.8, np.zeros(16_000, np.float32)]
    path = tmp_path_factory.mktemp("mixed") / "a morning.wav"
    soundfile.write(path, np.concatenate(parts), 32_000)
    return path


def accessibility(page: Any) -> list[str]:
    """The serious findings of axe-core."""
    if AXE is None:
        pytest.skip("needs AUDIOMAMBA_AXE, the path of axe.min.js")
    page.evaluate(Path(AXE).read_text("utf-8"))
    found = page.evaluate("axe.run()")
    return [
        f"{one['id']}: {one['nodes'][0]['html']}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]


def test_a_dropped_file_is_shown_and_played(
    browser: Any, page_server: Server, mixed: Path, tmp_path: Path
) -> None:
    watched = Watched(browser, page_server)
    page = watched.page
    page.evaluate(
        """async ([data, name]) => {
            const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
            const files = new DataTransfer();
            files.items.add(new File([bytes], name));
            document.dispatchEvent(new DragEvent("drop", { dataTransfer: files }));
        }""",
        [__import__("base64").b64encode(mixed.read_bytes()).decode(), mixed.name],
    )
    page.wait_for_selector("#recording:not([hidden]) .lane")
    page.wait_for_selector("#events tr")
    page.wait_for_timeout(800)
    assert page.locator(".lane").count() == 8
    assert page.locator("#recording-title").inner_text() == "a morning.wav"
    drawn = "(name) => { const c = document.querySelector(name); const d = c.getContext('2d')"
    drawn += ".getImageData(0, 0, c.width, c.height).data; return new Set(d).size; }"
    assert page.evaluate(drawn, "#spectrogram") > 20
    assert page.evaluate(drawn, ".lane canvas") > 3
    watched.shoot("desktop")

    page.keyboard.press("Space")
    watched.wait("document.querySelector('#time').textContent > '0:00.5'")
    page.keyboard.press("Space")
    page.locator("#spectrogram").click(position={"x": 800, "y": 40})
    watched.wait("document.querySelector('#time').textContent > '0:10.0'")
    page.keyboard.press("Space")
    page.keyboard.press("Home")
    assert page.locator("#time").inner_text() == "0:00.0"

    page.keyboard.press("+")
    page.keyboard.press("+")
    page.wait_for_timeout(500)
    n_events = page.locator("#events tr").count()
    page.locator("#threshold").fill("0.9")
    page.wait_for_timeout(800)
    assert page.locator("#events tr").count() < n_events
    page.locator("#own").check()
    page.keyboard.press("Escape")
    page.locator("#search").fill("bird")
    watched.wait("document.querySelector('#lanes').dataset.count < 8")
    assert "Bird" in page.locator(".lane button").first.inner_text()
    for kind, suffix in (("audacity", "txt"), ("csv", "csv"), ("json", "json")):
        with page.expect_download() as started:
            page.locator(f"#as-{kind}").click()
        target = tmp_path / f"events.{suffix}"
        started.value.save_as(target)
        assert target.stat().st_size > 20
    watched.check()
    watched.close()


def test_the_microphone_is_heard_within_two_seconds(browser: Any, page_server: Server) -> None:
    watched = Watched(browser, page_server)
    page = watched.page
    page.locator("#listen").click()
    watched.wait(
        "[...document.querySelectorAll('#now li.heard')]"
        ".some((row) => row.textContent.includes('Speech'))"
    )
    page.wait_for_timeout(1500)
    watched.shoot("live")
    sounds = next(when for when, loud in watched.sent if loud > 0.05)
    told = next(
        when
        for when, found in watched.heard
        if any(tag["label"] == "Speech" and tag["heard"] for tag in found["tags"])
    )
    assert 0 < told - sounds < 2
    page.keyboard.press("m")
    page.wait_for_selector("#recording:not([hidden]) .lane")
    assert page.locator("#recording-title").inner_text() == "microphone.wav"
    watched.check()
    watched.close()


@pytest.mark.parametrize(("scheme", "size"), [("light", DESKTOP), ("dark", PHONE)])
def test_the_page_is_usable_by_everybody(
    browser: Any, page_server: Server, mixed: Path, scheme: str, size: dict[str, int]
) -> None:
    watched = Watched(browser, page_server, color_scheme=scheme)
    watched.page.set_viewport_size(size)
    watched.open(mixed)
    watched.check()  # before axe-core, which itself is against the security policy
    watched.shoot(f"{scheme}-{size['width']}")
    assert accessibility(watched.page) == []
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    watched.page.locator("#keys-button").click()
    assert accessibility(watched.page) == []
    watched.close()


@pytest.mark.timeout(600)
def test_hours_are_shown_without_decoding_them_in_the_browser(
    browser: Any, page_server: Server, mixed: Path, tmp_path: Path
) -> None:
    sound, rate = soundfile.read(mixed, dtype="float32")
    path = tmp_path / "hours.flac"
    with soundfile.SoundFile(path, "w", 8_000, 1) as file:
        for _ in range(3600 * rate // len(sound)):
            file.write(sound[:: rate // 8_000])
    watched = Watched(browser, page_server)
    watched.open(path)
    page = watched.page
    page.locator("#zoom").fill("90")
    page.wait_for_timeout(1500)
    assert page.locator("#events tr").count() > 100
    heap_mb = page.evaluate("performance.memory.usedJSHeapSize") / 1e6
    assert heap_mb < 100
    watched.shoot("hours")
    watched.check()
    watched.close()
