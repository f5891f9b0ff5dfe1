from audiomamba import train
from audiomamba.recipes import override


def test_a_run_that_gains_nothing_ends_early_and_stays_ended(recipe, corpus, tmp_path):
    changes = ["learning_rate=1e-9", "evaluate_every=1", "epochs=7", "ema_decay=none"]
    still = override(recipe, [*changes, "patience=2"])
    ended = train.fit(still, corpus, tmp_path / "still", fold=1, n_threads=1, progress=False)
    assert ended.metrics["epoch"] == 3
    again = train.fit(still, corpus, tmp_path / "still", fold=1, n_threads=1, progress=False)
    assert again.metrics == ended.metrics
