"""What an exported model costs where it runs: time to load, memory, and time for one window.

Each runtime is started anew, loads the graph and scores one window of noise on one thread: ONNX
Runtime in Python, and onnxruntime-web under node and in Chromium, from a folder with the page of
examples/browser in which `npm install` was called.

    audiomamba export general --to exported
    python benchmarks/export.py exported --page examples/browser --out export.json
"""

import argparse
import functools
import http.server
import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from statistics import median
from typing import Any

from audiomamba import __version__
from audiomamba.bench import machine

N_RUNS = 5
CHROMIUM = "/usr/bin/chromium"

PYTHON = """
import json, resource, sys, time
import numpy, onnxruntime
about = json.load(open(sys.argv[1] + "/labels.json"))
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
began = time.process_time()
session = onnxruntime.InferenceSession(sys.argv[1] + "/model.onnx", options)
load = time.process_time() - began
noise = numpy.random.default_rng(0).standard_normal((1, about["window_samples"]), "float32") / 10
times = []
for _ in range(6):
    began = time.process_time()
    session.run(["scores"], {"waveform": noise})
    times.append(time.process_time() - began)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"load_ms": 1e3 * load, "window_ms": 1e3 * sorted(times[1:])[2], "mib": peak}))
"""
# In node and in a page; times are of the wall.
SCRIPT = """
async (ort, Tagger, graph, about) => {
  ort.env.wasm.numThreads = 1;
  const began = performance.now();
  const tagger = await Tagger.load(ort, graph, about);
  const load_ms = performance.now() - began;
  const noise = Float32Array.from({ length: about.window_samples }, () => Math.random() / 5 - 0.1);
  const times = [];
  for (let run = 0; run < 6; run++) {
    const began = performance.now();
    await tagger.run(noise);
    times.push(performance.now() - began);
  }
  return { load_ms, window_ms: times.slice(1).sort((a, b) => a - b)[2] };
}
"""
NODE = f"""
import * as ort from "onnxruntime-web";
import {{ readFileSync }} from "node:fs";
import {{ Tagger }} from "./tagger.js";
const measure = {SCRIPT.strip()};
const [, , folder] = process.argv;
const about = JSON.parse(readFileSync(`${{folder}}/labels.json`, "utf-8"));
const found = await measure(ort, Tagger, readFileSync(`${{folder}}/model.onnx`), about);
const mib = process.resourceUsage().maxRSS / 1024;
console.log(JSON.stringify({{ ...found, mib }}));
"""
PAGE = f"""
async () => {{
  const ort = await import("./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs");
  const {{ Tagger }} = await import("./tagger.js");
  const measure = {SCRIPT.strip()};
  ort.env.wasm.wasmPaths = new URL("./node_modules/onnxruntime-web/dist/", location.href).href;
  const about = await (await fetch("model/labels.json")).json();
  return measure(ort, Tagger, "model/model.onnx", about);
}}
"""

Figures = dict[str, float]


def in_python(folder: Path) -> Figures:
    """ONNX Runtime in a new process."""
    return _figures([sys.executable, "-c", PYTHON, str(folder)], Path.cwd())


def in_node(folder: Path, page: Path) -> Figures:
    """onnxruntime-web under node."""
    script = page / "measure.mjs"
    script.write_text(NODE)
    try:
        return _figures(["node", script.name, str(folder.resolve())], page)
    finally:
        script.unlink()


def _figures(command: list[str], cwd: Path) -> Figures:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True)
    found: Figures = json.loads(done.stdout.splitlines()[-1])
    return found


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def in_chromium(folder: Path, page: Path) -> Figures:
    """onnxruntime-web in a page; the memory is that of the page's process."""
    from playwright.sync_api import sync_playwright

    model = page / "model"
    shutil.copytree(folder, model)
    handler = functools.partial(Quiet, directory=str(page))
    try:
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            with sync_playwright() as tools:
                browser = tools.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
                tab = browser.new_page()
                tab.goto(f"http://127.0.0.1:{server.server_address[1]}/README.md")
                found: Figures = tab.evaluate(PAGE)
                asked = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")
                pages = [one["id"] for one in asked["processInfo"] if one["type"] == "renderer"]
                found["mib"] = max(map(_peak_mib, pages))
                browser.close()
            server.shutdown()
    finally:
        shutil.rmtree(model)
    return found


def _peak_mib(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="an exported model")
    parser.add_argument("--page", type=Path, help="examples/browser, with its package")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    ways = {"python": lambda: in_python(given.folder)}
    if given.page is not None:
        ways["node"] = lambda: in_node(given.folder, given.page)
        ways["chromium"] = lambda: in_chromium(given.folder, given.page)
    about = json.loads((given.folder / "labels.json").read_text("utf-8"))
    figures = {}
    for name, measure in ways.items():
        runs = [measure() for _ in range(N_RUNS)]
        figures[name] = {key: round(median(run[key] for run in runs), 1) for key in runs[0]}
        sys.stdout.write(f"{name}: {figures[name]}\n")
    result = {
        "model": about["name"],
        "file_bytes": (given.folder / "model.onnx").stat().st_size,
        "window_s": about["window_samples"] / about["sample_rate"],
        "version": __version__,
        **machine.describe("cpu"),
        "runtimes": figures,
    }
    given.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
