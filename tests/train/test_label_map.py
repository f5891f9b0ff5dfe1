"""Clips whose kinds are called otherwise than the model's labels."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import run

import audiomamba
from audiomamba import train
from audiomamba.errors import DataError
from audiomamba.train.label_map import read_label_map

RECORDINGS = Path(__file__).parents[2] / "demo" / "recordings"
ROWS = "category,label\nhound,Dog\nhound,Bark\nspeaking,Speech\n"


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    for kind, name in (("hound", "dog.ogg"), ("speaking", "speech.wav")):
        (tmp_path / "clips" / kind).mkdir(parents=True)
        (tmp_path / "clips" / kind / name).write_bytes((RECORDINGS / name).read_bytes())
    (tmp_path / "map.csv").write_text(ROWS)
    return tmp_path / "clips"


def test_a_kind_is_scored_by_the_highest_of_its_labels(clips: Path) -> None:
    result = run(
        "evaluate", "general", "--data", clips, "--label-map", clips.parent / "map.csv", "--json"
    )
    assert result.exit_code == 0, result.output
    metrics = json.loads(result.stdout)["metrics"]
    assert metrics["accuracy"] == 1.0
    assert [one["label"] for one in metrics["classes"]] == ["hound", "speaking"]

    tagger = audiomamba.load("general", all_labels=True)
    mapped = read_label_map(clips.parent / "map.csv", tagger.labels)
    scores = tagger.scores(RECORDINGS / "dog.ogg").numpy()
    of = dict(zip(tagger.labels, scores, strict=True))
    np.testing.assert_array_equal(
        mapped.scores(scores[None])[0], [max(of["Dog"], of["Bark"]), of["Speech"]]
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("category,label\nhound,Hound\n", r"line 2: the model has no label 'Hound'; it has Speech"),
        ("kind,label\nhound,Dog\n", r"line 2 names no kind or no label; expected the columns"),
        ("category,label\n", r"has no rows"),
        ("category,label\nhound,Dog\n", r"map.csv does not know the label 'speaking' of"),
        (None, r"map.csv: cannot be read"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(clips: Path, text: str | None, said: str) -> None:
    table = clips.parent / "map.csv"
    table.unlink() if text is None else table.write_text(text)
    with pytest.raises(DataError, match=said):
        train.evaluate("general", clips, label_map=table)
