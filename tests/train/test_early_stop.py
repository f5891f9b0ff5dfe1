import json

from audiomamba import train
from audiomamba.recipes import override


def test_a_run_that_gains_nothing_ends_early_and_stays_ended(recipe, corpus, tmp_path):
    changes = ["learning_rate=1e-9", "evaluate_every=1", "epochs=7", "ema_decay=none"]
    still = override(recipe, [*changes, "patience=2"])
    ended = train.fit(still, corpus, tmp_path / "still", fold=1, n_threads=1, progress=False)
    assert ended.metrics["epoch"] == 3
    again = train.fit(still, corpus, tmp_path / "still", fold=1, n_threads=1, progress=False)
    assert again.metrics == ended.metrics


def test_a_run_that_is_over_stays_over_without_a_record_of_its_end(recipe, corpus, tmp_path):
    """As if killed between its last epoch and its last line."""
    changes = ["learning_rate=1e-9", "evaluate_every=1", "epochs=7", "ema_decay=none"]
    still = override(recipe, [*changes, "patience=2"])
    ended = train.fit(still, corpus, tmp_path, fold=1, n_threads=1, progress=False)
    record = json.loads((tmp_path / "run.json").read_text())
    del record["metrics"]
    (tmp_path / "run.json").write_text(json.dumps(record))
    again = train.fit(still, corpus, tmp_path, fold=1, n_threads=1, progress=False)
    assert again.metrics == ended.metrics
