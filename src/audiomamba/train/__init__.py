"""Training, cross-validation and evaluation.

    >>> from pathlib import Path
    >>> import numpy as np
    >>> import soundfile
    >>> from audiomamba import recipes, train
    >>> rng = np.random.default_rng(0)
    >>> for name in ("hiss/1.wav", "hiss/2.wav", "hum/1.wav", "hum/2.wav"):
    ...     path = Path("clips", name)
    ...     path.parent.mkdir(parents=True, exist_ok=True)
    ...     sound = rng.standard_normal(8_000)
    ...     soundfile.write(path, 0.01 * (sound if "hiss" in name else sound.cumsum()), 16_000)
    >>> small = ["model=cnn_small", "front_end.n_frames=48", "front_end.n_mels=32", "epochs=2"]
    >>> recipe = recipes.override(recipes.get("own/starter"), [*small, "training_frames=none"])
    >>> run = train.fit(recipe, Path("clips"), Path("run"), progress=False)
    >>> run.metrics["epoch"], sorted(path.name for path in run.folder.glob("*.json*"))
    (2, ['metrics.jsonl', 'run.json'])
    >>> train.evaluate(run.folder, Path("clips"), split="all").metrics.n_clips
    4

The other calls:

    table = train.cross_validate(recipe, Path("ESC-10"), Path("runs/five-folds"))
    table = train.run_set("aum/table-ii", Path("ESC-10"), Path("runs/ii"), on="esc10/aum-tiny")
    tuned = train.finetune(Path("my-clips"), Path("runs/mine"))

What a run's folder holds:

    run.json        the resolved recipe, the data, versions, commit, seed, final metrics
    metrics.jsonl   one line per epoch
    state.ckpt      all that is needed to go on, after an epoch or in the middle of one
    last/, best/    model folders: after the last epoch, and where the held-out accuracy was highest
    tensorboard/    the same curves for TensorBoard
    evaluation.json what evaluate found on the held-out clips
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
