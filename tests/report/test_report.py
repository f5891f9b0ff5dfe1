import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from audiomamba.errors import ConfigError, DataError
from audiomamba.report import write_report

NASTY = '<script>alert("x")</script>&'
CLASS = {"n_clips": 2, "average_precision": 0.5, "auc": 0.5, "threshold": None}
CLASS |= {"precision": 0.5, "recall": 0.5, "f1": 0.5}


class Page(HTMLParser):
    """What a browser would see: tags, links and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.text += data


def write_run(folder: Path, *, evaluated: bool) -> Path:
    """A run as train and evaluate leave it."""
    folder.mkdir(parents=True)
    recipe = {"name": "own/finetune", "model": "aum_tiny", "loss": "ce", "epochs": 3}
    record = {"recipe": recipe, "seconds": 4.2, "metrics": {}}
    (folder / "run.json").write_text(json.dumps(record))
    lines = [
        {"epoch": n, "loss": 1 / n, "accuracy": n / 4, "ema_accuracy": n / 5, "seconds": 1.0}
        for n in (1, 2, 3)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if evaluated:
        clip = {"path": f"/sounds/{NASTY}/50% #1.wav", "piece": "@0-1", "labels": [NASTY]}
        clip |= {"given": {"b": 0.7}, "error": 0.7, "read_s": 0.01}
        metrics = {"n_clips": 4, "accuracy": 0.5, "left_out": ["c"], "confusion": [[1, 1], [1, 1]]}
        metrics["classes"] = [{"label": NASTY, **CLASS}, {"label": "b", **CLASS}]
        interval = {"low": 0.25, "high": 0.75, "confidence": 0.95}
        evaluation = {"split": "1", "metrics": metrics, "intervals": {"accuracy": interval}}
        evaluation |= {"most_wrong": [clip], "slowest": [clip], "failed": []}
        (folder / "evaluation.json").write_text(json.dumps(evaluation))
    return folder


def read(runs: list[Path], out: Path) -> tuple[str, Page]:
    write_report(runs, out)
    text = out.read_text("utf-8")
    return text, Page(text)


def test_a_page_holds_all_of_a_run_and_needs_no_network(tmp_path):
    run = write_run(tmp_path / "run", evaluated=True)
    text, page = read([run], tmp_path / "page.html")
    assert "script" not in page.tags
    assert all(urlparse(one).scheme in ("", "data", "file") for one in page.addresses)
    assert "default-src 'none'" in text
    for words in ("0.250 to 0.750 (95 %)", "The most wrong clips", "Confusions", "in no mean: c"):
        assert words in page.text
    assert page.text.count(NASTY) >= 4  # as text: class, row, column, path
    assert page.tags.count("img") == 1


def test_links_lead_to_the_clips_whatever_their_names(tmp_path):
    run = write_run(tmp_path / "run", evaluated=True)
    _, page = read([run], tmp_path / "page.html")
    links = [one for one in page.addresses if one.startswith("file:")]
    assert {unquote(urlparse(link).path) for link in links} == {f"/sounds/{NASTY}/50% #1.wav"}


def test_a_run_that_nobody_evaluated_says_how(tmp_path):
    run = write_run(tmp_path / "run", evaluated=False)
    _, page = read([run], tmp_path / "page.html")
    assert f"audiomamba evaluate {run} --data DATA" in page.text
    assert "0.600" in page.text  # the averaged weights' accuracy


def test_a_cross_validation_is_the_runs_of_its_folds(tmp_path):
    for fold in (1, 2):
        write_run(tmp_path / f"fold-{fold}", evaluated=fold == 1)
    table = {"folds": [{"fold": 1}, {"fold": 2}]}
    (tmp_path / "cross_validation.json").write_text(json.dumps(table))
    text, page = read([tmp_path], tmp_path / "page.html")
    assert len(re.findall(r'<section id="run-\d"', text)) == 2
    assert page.text.count(str(tmp_path / "fold-2")) >= 2


def test_a_probe_has_no_curves_and_names_what_was_left_out(tmp_path):
    run = write_run(tmp_path / "run", evaluated=True)
    (run / "run.json").unlink()
    (run / "metrics.jsonl").unlink()
    skipped = os.fsdecode(b"/sounds/\xff.wav: damaged")
    (run / "finetune.json").write_text(json.dumps({"skipped": [skipped]}))
    _, page = read([run], tmp_path / "page.html")
    assert "img" not in page.tags
    assert "/sounds/?.wav: damaged" in page.text


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(DataError, match="no run in it; expected a folder that train"):
        write_report([tmp_path], tmp_path / "page.html")
    run = write_run(tmp_path / "run", evaluated=True)
    with pytest.raises(ConfigError, match="is a folder; expected the name of a file"):
        write_report([run], tmp_path)
    (run / "evaluation.json").write_text("{")
    with pytest.raises(DataError, match=r"evaluation\.json: cannot be read"):
        write_report([run], tmp_path / "page.html")
