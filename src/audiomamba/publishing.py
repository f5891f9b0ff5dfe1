"""Publishing a model: a folder that both worlds load, with a card, on the Hugging Face hub."""

import math
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from audiomamba import checkpoints, hub
from audiomamba.atomic import write_text
from audiomamba.checkpoints import Checkpoint
from audiomamba.errors import ConfigError, DownloadError, MissingDependencyError

__all__ = ["card", "prepare", "publish"]

CARD = "README.md"
COMMON = "audio-classification"
HUB_LICENSES = {  # SPDX identifiers and what the hub calls them
    "Apache-2.0": "apache-2.0",
    "BSD-2-Clause": "bsd-2-clause",
    "BSD-3-Clause": "bsd-3-clause",
    "CC-BY-4.0": "cc-by-4.0",
    "CC-BY-NC-4.0": "cc-by-nc-4.0",
    "CC-BY-SA-4.0": "cc-by-sa-4.0",
    "CC0-1.0": "cc0-1.0",
    "MIT": "mit",
}
LICENSE_FILE = re.compile(r"(LICENSE|LICENCE|NOTICE|COPYING)([.-].*)?", re.IGNORECASE)


@dataclass(frozen=True)
class _Figure:
    """A figure among a model's notes, and what the hub calls it."""

    note: str
    metric: str
    name: str


FIGURES = (
    _Figure("held-out accuracy", "accuracy", "Accuracy on held-out clips"),
    _Figure("held-out mean average precision", "mean_average_precision", "mAP on held-out clips"),
    _Figure("accuracy", "accuracy", "Accuracy"),
    _Figure("mean_average_precision", "mean_average_precision", "Mean average precision"),
    _Figure("ESC-50 zero-shot", "accuracy", "Accuracy on ESC-50 without training on it"),
)


def publish(model: str | Path, repo: str, *, private: bool = False, spdx: str | None = None) -> str:
    """Upload a model to the Hugging Face hub; the repository is made if it is not there.

    Args:
        model: as for checkpoints.find.
        repo: "organization/name".
        private: make a repository that only you see.
        spdx: licence of the weights, an SPDX identifier; None for what the folder says.

    Returns:
        The address of the commit.

    Raises:
        ConfigError: the name is none, or the folder does not say under which licence the weights
            are.
        DownloadError: the hub refuses it, or cannot be reached.
        CheckpointError: the folder is damaged.
        MissingDependencyError: huggingface_hub is not installed.
    """
    address = hub.parse_address(f"hf:{repo}")
    if not isinstance(address, hub.HubAddress) or address.repo != repo:
        raise ConfigError(f"{repo!r} is no repository; expected organization/name")
    library = _library()
    with tempfile.TemporaryDirectory() as temporary:
        folder = prepare(model, Path(temporary) / "model", spdx=spdx, repo=repo)
        api = library.HfApi(endpoint=hub.endpoint())
        with _one_line(repo):
            api.create_repo(repo, private=private, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repo, folder_path=folder, commit_message=f"Publish {repo}"
            )
    return str(commit.commit_url)


def prepare(
    model: str | Path, out: Path, *, spdx: str | None = None, repo: str = "ORGANIZATION/NAME"
) -> Path:
    """Write what publish uploads: the model, what the transformers library needs, and a card.

    Args:
        model: as for checkpoints.find.
        out: the folder, which is made.
        spdx: licence of the weights; None for what the folder says.
        repo: what the card calls it.

    Returns:
        The folder.

    Raises:
        ConfigError: out is there already, or the folder does not say under which licence the
            weights are.
        CheckpointError: the folder is damaged.
        MissingDependencyError: huggingface_hub is not installed.
    """
    source = checkpoints.find(model)
    if out.exists():
        raise ConfigError(f"{out} is there already; expected a new folder")
    checkpoint = checkpoints.load(source)
    spdx = spdx or checkpoint.license
    if spdx == "unknown":
        raise ConfigError(
            f"{source} does not say under which licence its weights are; give --license, an SPDX "
            "identifier such as CC-BY-4.0"
        )
    text = card(checkpoint, repo, spdx=spdx)
    own = source / CARD
    if own.is_file():  # what its author wrote stays, below the facts that the hub reads
        text = text.partition("\n# ")[0] + "\n" + own.read_text("utf-8")
    checkpoints.save(out, replace(checkpoint, license=spdx), dtype=_stored_dtype(source))
    write_text(out / CARD, text)
    for file in source.iterdir():
        if LICENSE_FILE.fullmatch(file.name) or file.suffix == ".csv":
            shutil.copyfile(file, out / file.name)
    return out


def card(checkpoint: Checkpoint, repo: str, *, spdx: str) -> str:
    """Write a model card.

    Args:
        checkpoint: the model.
        repo: its repository.
        spdx: licence of the weights, an SPDX identifier.

    Returns:
        Markdown below the facts that the hub reads: licence, task, figures.

    Raises:
        MissingDependencyError: huggingface_hub is not installed.
    """
    _library()
    cards: Any = import_module("huggingface_hub")
    known = HUB_LICENSES.get(spdx)
    facts = cards.ModelCardData(
        language=None,
        license=known or "other",
        license_name=None if known else spdx.lower(),
        library_name="audiomamba",
        pipeline_tag=COMMON,
        tags=["audio", "audio-tagging", "audiomamba", checkpoint.model.config.family],
        model_name=checkpoint.name,
        eval_results=_results(checkpoint.notes, cards) or None,
        ignore_metadata_errors=False,
    )
    return f"---\n{facts.to_yaml()}\n---\n\n{_body(checkpoint, repo, spdx)}"


def _results(notes: Mapping[str, Any], cards: Any) -> list[Any]:
    """The figures that the notes hold, as the hub takes them."""
    return [
        cards.EvalResult(
            task_type=COMMON,
            dataset_type="esc50" if "ESC-50" in figure.note else "audiofolder",
            dataset_name="ESC-50" if "ESC-50" in figure.note else str(notes.get("data", "own")),
            metric_type=figure.metric,
            metric_name=figure.name,
            metric_value=notes[figure.note],
        )
        for figure in FIGURES
        if isinstance(notes.get(figure.note), int | float) and math.isfinite(notes[figure.note])
    ]


def _body(checkpoint: Checkpoint, repo: str, spdx: str) -> str:
    """What readers see."""
    config, front_end = checkpoint.model.config, checkpoint.front_end
    if front_end is None:
        raise ConfigError(f"{checkpoint.name} is a model of images; expected one of sound")
    n_parameters = sum(value.numel() for value in checkpoint.model.parameters())
    labels = ", ".join(checkpoint.labels[:20]) + (", ..." if len(checkpoint.labels) > 20 else "")
    hidden = f", {len(checkpoint.hidden)} of them not vouched for" if checkpoint.hidden else ""
    notes = "\n".join(f"- {name}: {value}" for name, value in checkpoint.notes.items())
    return f"""# {checkpoint.name}

Tags recordings with {len(checkpoint.labels)} labels{hidden}: {labels}.

| | |
|---|---|
| model | {config.family}, {n_parameters / 1e6:.2f} million parameters |
| input | {front_end.sample_rate} Hz, one channel, {front_end.clip_s:.2f} s at a time; any length |
| scores | {checkpoint.scores}{", thresholds for each label" if checkpoint.thresholds else ""} |
| licence | {spdx} |

## Use

    pip install 'audiomamba[hf]'

    import audiomamba
    tagger = audiomamba.load("hf:{repo}")
    print(tagger.tag("recording.wav")[:3])

On the command line: `audiomamba tag recording.wav --model hf:{repo}`. In the transformers library,
with the same scores; without `import audiomamba.hf` it asks for `trust_remote_code=True`:

    import audiomamba.hf
    from transformers import pipeline
    tag = pipeline("audio-classification", model="{repo}")

    samples = audiomamba.audio.load("recording.wav", sample_rate={front_end.sample_rate})
    print(tag(samples.numpy()))

## What is known of it

{notes or "- nothing was noted"}
"""


def _stored_dtype(folder: Path) -> torch.dtype:
    """The type in which a folder holds its weights."""
    with safe_open(folder / "model.safetensors", "pt") as file:
        types = {file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118
    return {"F16": torch.float16, "BF16": torch.bfloat16}.get(
        next(iter(types - {"I64", "I32"}), ""), torch.float32
    )


def _library() -> Any:
    try:
        return import_module("huggingface_hub")
    except ModuleNotFoundError as error:
        raise MissingDependencyError("huggingface_hub", "hub", "publishing a model") from error


@contextmanager
def _one_line(repo: str) -> Iterator[None]:
    """Turn the errors of huggingface_hub into ours."""
    errors: Any = import_module("huggingface_hub.errors")
    try:
        yield
    except (errors.HTTPError, OSError, ValueError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise DownloadError(
            f"{repo} cannot be published on {hub.endpoint()} ({line}); log in with hf auth login, "
            "with a token that may write"
        ) from error
