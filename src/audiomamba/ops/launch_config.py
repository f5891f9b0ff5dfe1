"""How the kernels for GPUs are launched, found by timing and kept in a file.

Nothing is timed by itself: `warmup` times, everything else looks up. So a call takes the same time
whenever it comes, and may come inside a CUDA graph or a compiled graph. The file lies in the user's
cache folder; it belongs to one device, one version of Triton and PyTorch, and one state of the
kernels' source, and entries of others are left alone and not used.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeGuard

import torch

from audiomamba.atomic import replacing
from audiomamba.ops import gpu

__all__ = ["ConfigCache", "LaunchConfig", "cache_key", "config_cache", "size_class"]

FILE_NAME = "gpu-kernels.json"
FORMAT = 1


class LaunchConfig(NamedTuple):
    """How a kernel divides its work.

    Args:
        channels_each: channels of a thread.
        state_lanes: threads that share the states of a channel.
        unroll: tokens whose loads are under way together.
        chunk_tokens: of sequences that are split into chunks; 0 for sequences in one piece.
    """

    channels_each: int
    state_lanes: int
    unroll: int
    chunk_tokens: int


class ConfigCache:
    """The configurations that were found, in memory and in a file.

    Args:
        path: of the file; its folder is made when something is written.
        key: what the entries belong to: device, versions, source.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path = path
        self.key = key
        self.problem: str | None = None
        self._configs = self._own(self._read())

    def __len__(self) -> int:
        return len(self._configs)

    def get(self, key: str) -> LaunchConfig | None:
        """Look up a configuration.

        Args:
            key: of a kernel and the sizes that it runs on.

        Returns:
            The configuration; None if none was found for these sizes.
        """
        return self._configs.get(key)

    def use(self, key: str, config: LaunchConfig) -> None:
        """Use a configuration from now on, in this process.

        Args:
            key: of a kernel and the sizes that it runs on.
            config: how to launch it.
        """
        self._configs[key] = config

    def forget(self, key: str) -> None:
        """Go back to the default of a key, in this process.

        Args:
            key: of a kernel and the sizes that it runs on.
        """
        self._configs.pop(key, None)

    def write(self) -> None:
        """Keep what is used now, beside what the file has from others.

        Raises:
            OSError: the file cannot be written.
        """
        everything = self._read()
        everything[self.key] = {
            **everything.get(self.key, {}),
            **{size: list(config) for size, config in self._configs.items()},
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"format": FORMAT, "cuts": everything}, indent=1) + "\n"
        with replacing(self.path, unique=True) as part:  # each process of a run may write it
            part.write_text(text, "utf-8")
        self.problem = None

    def _read(self) -> dict[str, dict[str, list[int]]]:
        """What the file has, by cache_key() and size; nothing if it is missing or broken."""
        try:
            found = json.loads(self.path.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            self.problem = f"{self.path} cannot be read and is not used: {error}"
            return {}
        configs = found.get("cuts") if isinstance(found, dict) else None
        if not isinstance(configs, dict) or found.get("format") != FORMAT:
            self.problem = f"{self.path} is not of this version's form and is not used"
            return {}
        return {key: value for key, value in configs.items() if isinstance(value, dict)}

    def _own(self, everything: Mapping[str, Mapping[str, object]]) -> dict[str, LaunchConfig]:
        """The entries that belong here; one that is none is left out, and told."""
        found: dict[str, LaunchConfig] = {}
        for key, value in everything.get(self.key, {}).items():
            if _is_config(value):
                found[key] = LaunchConfig(*value)
            else:
                self.problem = (
                    f"{self.path}: the entry {key!r} is no launch configuration and is not used"
                )
        return found


def _is_config(value: object) -> TypeGuard[list[int]]:
    """Whether a value is what a configuration is written as, and one that kernels can have."""
    if not isinstance(value, list) or len(value) != len(LaunchConfig._fields):
        return False
    if not all(type(number) is int for number in value):
        return False
    *powers, chunk_tokens = value
    return all(n > 0 and n & (n - 1) == 0 for n in powers) and chunk_tokens >= 0


@cache
def config_cache() -> ConfigCache:
    """Open the cache of the current device; the file is read at the first call.

    Returns:
        The cache, one per process.
    """
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return ConfigCache(Path(folder) / "audiomamba" / FILE_NAME, cache_key())


def cache_key() -> str:
    """Name what a configuration belongs to.

    Returns:
        The device, the versions of Triton and PyTorch, and a hash of the kernels' source.
    """
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*/triton*.py")):
        digest.update(file.read_bytes())
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "interpreter"
    versions = f"triton {gpu.triton_version()}, torch {torch.__version__}"
    return f"{device}, {versions}, kernels {digest.hexdigest()[:16]}"


def size_class(n: int) -> int:
    """Put sizes that one configuration suits alike into one class.

    Args:
        n: a size, at least 1.

    Returns:
        The exponent of the power of two that is not below it.
    """
    return (n - 1).bit_length()
