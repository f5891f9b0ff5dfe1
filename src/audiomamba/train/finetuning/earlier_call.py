"""What an earlier call of finetune left in a folder, and whether a new one may go on with it."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audiomamba import checkpoints
from audiomamba.atomic import write_json
from audiomamba.data import Manifest
from audiomamba.data.manifest_file import MANIFEST_NAME
from audiomamba.data.preparation import PROBLEMS_NAME
from audiomamba.errors import TrainingError
from audiomamba.output_folders import refuse_filled
from audiomamba.outputs import refuse_inputs
from audiomamba.train.evaluation import FINETUNE_NAME
from audiomamba.train.finetuning.head_first import HEAD_NAME
from audiomamba.train.fitting.task import contents_of
from audiomamba.train.run import Run, differences

__all__ = ["Facts", "refuse_inputs_of"]

DONE = "thresholds"  # what is written down last
WHAT = {
    "clips": "the clips, their labels or their splits have",
    "contents": "what the clips hold has",
    "start": "the model to start from has",
}


class Facts:
    """What was asked for and what was chosen, written down for a call that goes on with it.

    Args:
        out: the folder.
        request: what was asked for.
        overwrite: whether what is there may be replaced.

    Raises:
        TrainingError: the folder holds something that was made in answer to another request.
        ConfigError: it holds something else.

    Examples:
        >>> facts = Facts(Path("birds"), {"model": "general"}, overwrite=False)
        >>> facts.add(held_out="valid")
        >>> Facts(Path("birds"), {"model": "mine"}, overwrite=False)
        Traceback (most recent call last):
            ...
        audiomamba.errors.TrainingError: birds holds a model made with other settings ...
    """

    def __init__(self, out: Path, request: Mapping[str, Any], *, overwrite: bool) -> None:
        self.out, self.request, self.overwrite = out, request, overwrite
        self.values: dict[str, Any] = {}
        self._replaces = False
        path = out / FINETUNE_NAME
        if not path.is_file():
            refuse_filled(out, overwrite=overwrite)
            self._replaces = overwrite
            return
        self.values = _read(path)
        changed = differences(self.values.get("request", {}), request)
        if changed and not overwrite:
            raise TrainingError(
                f"{out} holds a model made with other settings ({'; '.join(changed[:3])}); choose "
                "another folder, or --overwrite replaces it"
            )
        self._replaces = overwrite and (bool(changed) or DONE in self.values)

    def open(self, manifest: Manifest, start: Path | None) -> None:
        """Make the folder ready; a model in it stays until the new one is there.

        Args:
            manifest: the clips; their labels and splits, and what their files hold, have to be the
                same as in the earlier call.
            start: the folder of the model to start from, if it is one of the user's; it has to be
                the same, too.

        Raises:
            TrainingError: the clips or the model are not those of the earlier call.
            AudioError: a clip cannot be read.
        """
        now = {"clips": manifest.fingerprint, "contents": contents_of(manifest)}
        if start is not None:
            now["start"] = checkpoints.fingerprint(start)
        known = self.values.get("inputs", now)
        if known != now and not self.overwrite:
            what = next(WHAT[name] for name in WHAT if known.get(name) != now.get(name))
            raise TrainingError(
                f"{what} changed since {self.out} was made; choose another folder, or --overwrite "
                "trains anew"
            )
        if self._replaces or known != now:
            _forget(self.out)
            self.values = {}
        self.add(inputs=now)

    def add(self, **values: Any) -> None:
        """Write down what was chosen.

        Args:
            **values: by name.
        """
        self.values |= {"request": self.request} | values
        self.out.mkdir(parents=True, exist_ok=True)
        write_json(self.out / FINETUNE_NAME, self.values)


def refuse_inputs_of(out: Path, source: Path, model: str, changes: Sequence[str]) -> None:
    """Refuse a folder that the call reads: the data, the model to start from, a teacher.

    Args:
        out: the folder.
        source: the data set.
        model: the model to start from.
        changes: settings, of which one names teachers.

    Raises:
        ConfigError: it is one of them.

    Examples:
        >>> refuse_inputs_of(Path("my-clips"), Path("my-clips"), "general", [])
        Traceback (most recent call last):
            ...
        audiomamba.errors.ConfigError: my-clips would be overwritten, and this call reads it; ...
    """
    settings = dict(change.split("=", 1) for change in changes if "=" in change)
    teachers = settings.get("distillation.teachers", "").split(",")
    folders = [Path(name).resolve() for name in (model, *teachers) if name and Path(name).is_dir()]
    runs = [folder.parent for folder in folders if folder.name in ("last", "best", HEAD_NAME)]
    written = [out / name for name in (MANIFEST_NAME, PROBLEMS_NAME, "confusions.csv")]
    refuse_inputs([out, *written], [source, *folders, *runs])


def _forget(out: Path) -> None:
    """Take away what an earlier training left, but for the model that it made."""
    run = Run(out)
    for path in (run.record_path, run.metrics_path, run.state_path, out / FINETUNE_NAME):
        path.unlink(missing_ok=True)
    for name in ("last", "best", HEAD_NAME):
        shutil.rmtree(out / name, ignore_errors=True)


def _read(path: Path) -> dict[str, Any]:
    """What an earlier call has written down."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path}: cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise TrainingError(f"{path}: holds {type(values).__name__}; expected a JSON object")
    return values
