"""The page of examples/browser, and the same code under node, say what ONNX Runtime says."""

import functools
import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import soundfile
from exporting_models import RECORDINGS, Small

import audiomamba
from audiomamba import audio

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

EXAMPLE = Path(__file__).parents[2] / "examples" / "browser"
CHROMIUM = "/usr/bin/chromium"
RECORDING = RECORDINGS / "guitar.flac"


@pytest.fixture(scope="module")
def site(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page with its package and a model."""
    if not (shutil.which("npm") and Path(CHROMIUM).exists()):
        pytest.skip("needs npm and chromium")
    folder = tmp_path_factory.mktemp("site") / "browser"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("node_modules", "model"))
    subprocess.run(["npm", "install", "--no-audit", "--no-fund"], cwd=folder, check=True)
    shutil.copytree(small.exported.folder, folder / "model")
    return folder


@pytest.fixture(scope="module")
def general(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model that ships, exported."""
    folder = tmp_path_factory.mktemp("general") / "exported"
    audiomamba.export("general", folder)
    return folder


@pytest.fixture
def general_site(site: Path, general: Path) -> Iterator[Path]:
    """The page with the model that ships."""
    (site / "model").rename(site / "small")
    (site / "model").symlink_to(general)
    yield site
    (site / "model").unlink()
    (site / "small").rename(site / "model")


@pytest.fixture(scope="module")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the browser's microphone hears, again and again."""
    sound = audio.load(RECORDINGS / "dog.ogg", sample_rate=48_000).numpy()
    path = tmp_path_factory.mktemp("microphone") / "mic.wav"
    soundfile.write(path, sound, 48_000, subtype="PCM_16")
    return path


@pytest.fixture
def page(microphone: Path) -> Iterator[Any]:
    """A page of Chromium whose microphone hears a file."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as tools:
        options = [
            "--no-sandbox",
            "--disable-background-networking",
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={microphone}",
        ]
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=options)
        page = browser.new_page()
        page.set_default_timeout(120_000)  # a busy machine starts a browser slowly
        yield page
        browser.close()


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    handler = functools.partial(QuietHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def samples() -> np.ndarray:
    return soundfile.read(RECORDING, dtype="float32", stop=5_000)[0]


def wanted(site: Path) -> np.ndarray:
    session = onnxruntime.InferenceSession(site / "model" / "model.onnx")
    return session.run(["scores"], {"waveform": samples()[None]})[0][0]


def test_node_gives_the_same_scores(site: Path) -> None:
    script = """
        import * as ort from "onnxruntime-web";
        import { readFileSync } from "node:fs";
        import { Tagger } from "./tagger.js";
        ort.env.wasm.numThreads = 1;
        const about = JSON.parse(readFileSync("model/labels.json", "utf-8"));
        const began = performance.now();
        const tagger = await Tagger.load(ort, readFileSync("model/model.onnx"), about);
        const load_ms = performance.now() - began;
        const samples = Float32Array.from(JSON.parse(readFileSync("samples.json", "utf-8")));
        const { scores } = await tagger.tag(samples);
        console.log(JSON.stringify({ scores, load_ms, bytes: process.memoryUsage().rss }));
    """
    (site / "samples.json").write_text(json.dumps(samples().tolist()))
    (site / "run.mjs").write_text(script)
    done = subprocess.run(["node", "run.mjs"], cwd=site, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(found["scores"], wanted(site), atol=1e-5)


def test_the_page_tags_a_dropped_recording(site: Path, address: str, page: Any) -> None:
    requests, wrong = watched(page)
    page.goto(address)
    page.wait_for_function("window.tagger !== undefined")

    found = page.evaluate(
        "async (given) => (await tagger.tag(Float32Array.from(given))).scores",
        samples().tolist(),
    )
    np.testing.assert_allclose(found, wanted(site), atol=1e-5)

    page.set_input_files("#file", RECORDING)
    page.wait_for_selector(".lane")
    lanes = page.locator(".lane").all_inner_texts()
    assert {lane.split()[0] for lane in lanes} == {"bell", "dog"}  # not the hidden one
    assert "tagged in" in page.inner_text("#status")
    page.set_input_files("#file", EXAMPLE / "page.js")
    page.wait_for_function("document.getElementById('status').textContent.includes('cannot')")
    assert not wrong
    assert all(url.startswith((address, "data:", "blob:")) for url in requests), requests


@pytest.mark.usefixtures("general_site")
def test_the_page_tags_what_the_microphone_hears(address: str, page: Any) -> None:
    requests, wrong = watched(page)
    page.goto(address)
    page.wait_for_function("window.tagger !== undefined")
    page.click("#microphone")
    page.wait_for_function(
        "[...document.querySelectorAll('.lane')].some((lane) => lane.textContent.includes('Dog'))"
    )
    assert page.inner_text("#status") == "Listening …"
    assert not wrong
    assert all(url.startswith((address, "data:", "blob:")) for url in requests), requests


def watched(page: Any) -> tuple[list[str], list[str]]:
    """What a page asks for, and what goes wrong on it, as it happens."""
    requests: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    return requests, wrong
