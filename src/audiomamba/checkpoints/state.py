"""Reading weight files as data only, and holding them against a model."""

import pickle
import re
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file
from torch import Tensor, nn

from audiomamba.errors import CheckpointError
from audiomamba.models import AudioModel, ModelConfig

__all__ = [
    "State",
    "blocks_per_stage",
    "build",
    "check_state",
    "n_blocks",
    "read_state",
    "rename_by",
    "rename_keys",
]

State = dict[str, Tensor]

WRAPPERS = ("state_dict", "model")
TRAINER = "sed_model."
N_NAMED = 4


def read_state(path: str | Path) -> State:
    """Read the tensors of a weight file.

    Nothing in the file is run: safetensors holds only data, and pickles are read with torch's
    data-only loader.

    Args:
        path: a .safetensors file, or a file written by torch.save (.pth, .pt, .ckpt, .bin) that
            holds tensors by name, perhaps below "state_dict" or "model".

    Returns:
        Tensors by key, with every "module." of a parallel wrapper, and the "sed_model." of the
        trainer of HTS-AT, taken out of the keys.

    Raises:
        CheckpointError: the file is missing or damaged, would run code, or holds something else, or
            two of its keys become the same.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path}: holds {type(content).__name__}; expected tensors by name")
    for key, value in content.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(
                f"{path}: {key!r} is {type(value).__name__}; expected only tensors by name"
            )
    return rename_keys(content, lambda key: _bare(str(key)))


def rename_keys(state: Mapping[str, Tensor], new_name: Callable[[str], str]) -> State:
    """Give tensors other names.

    Args:
        state: tensors by key.
        new_name: the new key for an old one.

    Returns:
        The same tensors by their new keys.

    Raises:
        CheckpointError: two keys are names of the same tensor.
    """
    renamed: State = {}
    old: dict[str, str] = {}
    for key, value in state.items():
        name = new_name(key)
        if name in renamed:
            raise CheckpointError(f"{old[name]} and {key} are names of the same tensor")
        renamed[name], old[name] = value, key
    return renamed


def rename_by(forms: Mapping[str, str], state: Mapping[str, Tensor]) -> State:
    r"""Give tensors other names by a table.

    Args:
        forms: regular expressions and what takes the place of what they match, one after the other.
        state: tensors by key.

    Returns:
        The same tensors by their new keys.

    Raises:
        CheckpointError: two keys are names of the same tensor.

    Examples:
        >>> list(rename_by({r"^v\.": "", r"\.fc\.": ".mlp."}, {"v.0.fc.bias": torch.zeros(1)}))
        ['0.mlp.bias']
    """

    def new_name(key: str) -> str:
        for form, ours in forms.items():
            key = re.sub(form, ours, key)
        return key

    return rename_keys(state, new_name)


def n_blocks(state: Mapping[str, Tensor], form: str) -> int:
    """Count the blocks of a model by its keys.

    Args:
        state: tensors by key.
        form: regular expression for the start of a block's keys; its group is the block's index.

    Returns:
        The number of blocks, at least 1.
    """
    found = (re.match(form, key) for key in state)
    return 1 + max((int(it[1]) for it in found if it), default=0)


def blocks_per_stage(state: Mapping[str, Tensor], form: str) -> tuple[int, ...]:
    """Count the blocks of every stage of a model by its keys.

    Args:
        state: tensors by key.
        form: regular expression for the start of a block's keys; its groups are the stage's index
            and the block's.

    Returns:
        The number of blocks of each stage, at least 1.
    """
    found = {(int(it[1]), int(it[2])) for key in state if (it := re.match(form, key))}
    n_stages = 1 + max((stage for stage, _ in found), default=0)
    return tuple(
        1 + max((block for at, block in found if at == stage), default=0)
        for stage in range(n_stages)
    )


def _bare(key: str) -> str:
    return key.removeprefix(TRAINER).replace("module.", "")


def _read_safetensors(path: Path) -> Any:
    try:
        if not str(path).isprintable():  # the reader takes UTF-8 only
            return load(path.read_bytes())
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: damaged or not safetensors ({error})") from error


def _read_pickle(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals([Namespace]):  # settings that trainers keep: data too
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: refused, because it is no plain file of tensors and reading it could run "
            "code; save the bare state_dict, or use safetensors"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path}: damaged, or not written by torch.save ({reason})"
        ) from error


def build(config: ModelConfig, state: Mapping[str, Tensor], source: str) -> AudioModel:
    """Make a model and fill it with tensors, every one of them used.

    Args:
        config: the model's settings.
        state: tensors by the model's own keys.
        source: what to call the tensors in messages.

    Returns:
        The model, on the CPU, in float32 and evaluation mode.

    Raises:
        CheckpointError: a key is missing or unknown, or a shape differs.
    """
    with torch.device("meta"):
        model = config.build()
    check_state(model, state, source)
    filled = {  # laid out in memory as the model's own: convolutions depend on it, most in speed
        key: torch.empty_strided(own.shape, own.stride(), dtype=own.dtype).copy_(state[key])
        for key, own in model.state_dict().items()
    }
    model.load_state_dict(filled, assign=True)
    return model.eval()


def check_state(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Check that tensors are exactly those of a model.

    Args:
        model: the model, on any device.
        state: tensors by key.
        source: what to call the tensors in the message.

    Raises:
        CheckpointError: a key is missing or unknown, or a shape differs; the message names the
        first few.
    """
    expected = model.state_dict()
    problems = [f"{key} is missing" for key in expected if key not in state]
    problems += [f"{key} is unknown" for key in state if key not in expected]
    problems += [
        f"{key} is {tuple(state[key].shape)}, expected {tuple(value.shape)}"
        for key, value in expected.items()
        if key in state and state[key].shape != value.shape
    ]
    if problems:
        more = len(problems) - N_NAMED
        text = "; ".join(problems[:N_NAMED]) + (f"; and {more} more" if more > 0 else "")
        raise CheckpointError(f"{source} does not fit {type(model).__name__}: {text}")
