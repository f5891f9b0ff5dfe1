"""From what was fetched to a model folder: checked, converted once, and remembered."""

import json
import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from audiomamba.checkpoints.convert import CONVERTER, read_released
from audiomamba.checkpoints.format import CONFIG_FILE, WEIGHTS_FILE, Checkpoint, save
from audiomamba.errors import DownloadError
from audiomamba.hub import (
    CacheEntry,
    HubAddress,
    Snapshot,
    WebAddress,
    alone,
    cached_model,
    check_file,
    fetch_from_hub,
    fetch_from_web,
    is_offline,
    making,
    newest_commit,
    recall,
    remember,
    web_folder,
)

__all__ = ["Weights", "converted", "fetch"]

LONGEST_NAME = 100
COMMIT = re.compile("[0-9a-f]{40}")
UNNAMED = re.compile(r"LABEL_\d+")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Weights:
    """A file of weights as its authors released it, and what is known of it.

    Args:
        file: where it is.
        name: what to call the model.
        sha256: of the file.
        notes: where it came from, for the model's notes.
        config: what the transformers library is told of the model.
        preprocessor: what it is told of the input.
    """

    file: Path
    name: str
    sha256: str
    notes: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    preprocessor: Mapping[str, Any] = field(default_factory=dict)


def fetch(address: HubAddress | WebAddress, key: str, name: str, *, refresh: bool) -> Path:
    """Make sure that the model of an address is in the cache.

    Args:
        address: where the weights are.
        key: what the user gave, under which the model is remembered.
        name: what to call the model.
        refresh: look for another one, where else it would not be.

    Returns:
        The model folder.

    Raises:
        ConfigError: there is nothing there.
        DownloadError: it cannot be fetched, or is not what was published.
        CheckpointError: it is of no known origin.
    """
    known = recall(key)
    if known is not None and not _is_usable(known):
        known = None
    if known is not None and (is_offline() or (not refresh and _is_fixed(address, key))):
        return Path(known.folder)
    if known is not None and isinstance(address, HubAddress) and _is_newest(address, known):
        return Path(known.folder)
    with alone(key):
        meanwhile = recall(key)  # somebody else may have made it
        if meanwhile is not None and meanwhile != known and _is_usable(meanwhile):
            return Path(meanwhile.folder)
        if isinstance(address, HubAddress):
            entry = _from_hub(address, key, name)
        else:
            entry = _from_web(address, key, name)
        remember(entry)
    return Path(entry.folder)


def converted(weights: Weights) -> Path:
    """Turn a released file into a model folder of the cache, unless that is there already.

    Args:
        weights: the file.

    Returns:
        The folder.

    Raises:
        CheckpointError: it is of no known origin, would run code, or is damaged.
    """
    said = json.dumps([weights.config, weights.preprocessor], sort_keys=True)
    digest = sha256(f"{weights.sha256}{said}".encode()).hexdigest()
    plain = re.sub(r"[^\w.-]+", "-", weights.name)[:LONGEST_NAME]
    folder = f"{plain}--{digest[:16]}--c{CONVERTER}"
    if not cached_model(folder).is_dir():
        checkpoint = _read(weights)
        with making(folder) as aside:
            save(aside, checkpoint)
    return cached_model(folder)


def _read(weights: Weights) -> Checkpoint:
    """Read a released file, with the labels and statistics that stand beside it."""
    labels = _labels(weights.config.get("id2label"))
    checkpoint, _ = read_released(weights.file, name=weights.name, labels=labels)
    front_end, said = checkpoint.front_end, weights.preprocessor
    if front_end is not None and "AST" in str(said.get("feature_extractor_type")):
        mean, std = said.get("mean"), said.get("std")
        if isinstance(mean, int | float) and isinstance(std, int | float) and std > 0:
            front_end = replace(front_end, mean=float(mean), std=float(std))
    notes = {"file": weights.file.name, "sha256": weights.sha256}
    return replace(
        checkpoint,
        front_end=front_end,
        scores=_scores(weights.config) or checkpoint.scores,
        notes=dict(checkpoint.notes) | notes | dict(weights.notes),
    )


def _labels(names: object) -> list[str] | None:
    """The labels that stand beside weights, in order; None if there are none that say something."""
    if not isinstance(names, dict) or not all(str(key).isdecimal() for key in names):
        return None
    labels = [str(names[key]) for key in sorted(names, key=int)]
    return None if all(map(UNNAMED.fullmatch, labels)) else labels


def _scores(config: Mapping[str, Any]) -> Any:
    """How logits become scores, where that is said."""
    kinds = {
        "multi_label_classification": "sigmoid",
        "single_label_classification": "softmax",
    }
    return kinds.get(str(config.get("problem_type")))


def _from_hub(address: HubAddress, key: str, name: str) -> CacheEntry:
    """Fetch from the hub; a folder of ours stays where it is, other weights are converted."""
    found = fetch_from_hub(address)
    config = _json(found.folder / "config.json")
    if "family" in config and "front_end" in config and found.weights.name == WEIGHTS_FILE:
        return _entry(key, found, found.folder, None)
    weights = Weights(
        found.weights,
        name,
        found.sha256,
        {"address": str(replace(address, files=())), "commit": found.commit},
        config,
        _json(found.folder / "preprocessor_config.json"),
    )
    return _entry(key, found, converted(weights), CONVERTER)


def _entry(key: str, found: Snapshot, folder: Path, converter: int | None) -> CacheEntry:
    return CacheEntry(
        address=key,
        folder=str(folder),
        sha256=found.sha256,
        commit=found.commit,
        converter=converter,
    )


def _from_web(address: WebAddress, key: str, name: str) -> CacheEntry:
    """Fetch from the web; only the folder that it becomes is kept."""
    downloads = web_folder(address.url)
    file, digest = fetch_from_web(address, downloads)
    folder = converted(Weights(file, name, digest, {"address": address.url}))
    shutil.rmtree(downloads, ignore_errors=True)
    return CacheEntry(address=key, folder=str(folder), sha256=digest, converter=CONVERTER)


def _is_usable(entry: CacheEntry) -> bool:
    """Whether what was fetched is as it was, and would become the same folder today."""
    if entry.converter is None:
        weights = Path(entry.folder, WEIGHTS_FILE)
        if not weights.is_file():
            return False
        check_file(weights, entry.sha256, f"{entry.address}: {WEIGHTS_FILE}")
        return True
    return entry.converter == CONVERTER and Path(entry.folder, CONFIG_FILE).is_file()


def _is_fixed(address: HubAddress | WebAddress, key: str) -> bool:
    """Whether the same thing is always there: a file, a commit, weights that have a name."""
    if isinstance(address, WebAddress) or key != str(address):
        return True
    return bool(COMMIT.fullmatch(address.revision))


def _is_newest(address: HubAddress, known: CacheEntry) -> bool:
    """Whether a branch still is at the commit that was fetched."""
    try:
        return newest_commit(address) == known.commit
    except DownloadError as error:
        _log.warning("%s; what was fetched before is used, commit %s", error, known.commit)
        return True


def _json(path: Path) -> dict[str, Any]:
    """A file of settings; nothing where it is not there or is none."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
