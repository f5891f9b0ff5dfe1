"""How the kernels for GPUs are cut, found by timing and kept in a file.

Nothing is timed by itself: `warmup` times, everything else looks up. So a call takes the same time
whenever it comes, and may come inside a CUDA graph or a compiled graph. The file lies in the user's
cache folder; it belongs to one device, one version of Triton and PyTorch, and one state of the
kernels' source, and entries of others are left alone and not used.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeGuard

import torch

from audiomamba.ops import gpu

__all__ = ["Cut", "Store", "place_of_kernels", "size_class", "store"]

FILE_NAME = "gpu-kernels.json"
FORMAT = 1


class Cut(NamedTuple):
    """How a kernel is cut.

    Args:
        channels_each: channels of a thread.
        state_lanes: threads that share the states of a channel.
        unroll: tokens whose loads are under way together.
        chunk_tokens: of sequences that are cut into chunks; 0 for sequences in one piece.
    """

    channels_each: int
    state_lanes: int
    unroll: int
    chunk_tokens: int


class Store:
    """The cuts that were found, in memory and in a file.

    Args:
        path: of the file; its folder is made when something is written.
        place: what the entries belong to: device, versions, source.
    """

    def __init__(self, path: Path, place: str) -> None:
        self.path = path
        self.place = place
        self.problem: str | None = None
        self._cuts = self._of_place(self._read())

    def __len__(self) -> int:
        return len(self._cuts)

    def get(self, key: str) -> Cut | None:
        """Look up a cut.

        Args:
            key: of a kernel and the sizes that it runs on.

        Returns:
            The cut; None if none was found for these sizes.
        """
        return self._cuts.get(key)

    def use(self, key: str, cut: Cut) -> None:
        """Use a cut from now on, in this process.

        Args:
            key: of a kernel and the sizes that it runs on.
            cut: how to cut it.
        """
        self._cuts[key] = cut

    def forget(self, key: str) -> None:
        """Go back to the default of a key, in this process.

        Args:
            key: of a kernel and the sizes that it runs on.
        """
        self._cuts.pop(key, None)

    def write(self) -> None:
        """Keep what is used now, beside what the file has from others.

        Raises:
            OSError: the file cannot be written.
        """
        everything = self._read()
        everything[self.place] = {
            **everything.get(self.place, {}),
            **{key: list(cut) for key, cut in self._cuts.items()},
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"format": FORMAT, "cuts": everything}, indent=1) + "\n"
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=self.path.parent, delete=False
        ) as file:
            file.write(text)
        Path(file.name).replace(self.path)  # readers see the old file or the new one
        self.problem = None

    def _read(self) -> dict[str, dict[str, list[int]]]:
        """What the file has, by place and key; nothing if it is missing or broken."""
        try:
            found = json.loads(self.path.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            self.problem = f"{self.path} cannot be read and is not used: {error}"
            return {}
        cuts = found.get("cuts") if isinstance(found, dict) else None
        if not isinstance(cuts, dict) or found.get("format") != FORMAT:
            self.problem = f"{self.path} is not of this version's form and is not used"
            return {}
        return {key: value for key, value in cuts.items() if isinstance(value, dict)}

    def _of_place(self, everything: Mapping[str, Mapping[str, object]]) -> dict[str, Cut]:
        """The entries that belong here; one that is no cut is left out, and said."""
        found: dict[str, Cut] = {}
        for key, value in everything.get(self.place, {}).items():
            if _is_cut(value):
                found[key] = Cut(*value)
            else:
                self.problem = f"{self.path}: the entry {key!r} is no cut and is not used"
        return found


def _is_cut(value: object) -> TypeGuard[list[int]]:
    """Whether a value is what a cut is written as, and one that kernels can have."""
    if not isinstance(value, list) or len(value) != len(Cut._fields):
        return False
    if not all(type(number) is int for number in value):
        return False
    *powers, chunk_tokens = value
    return all(n > 0 and n & (n - 1) == 0 for n in powers) and chunk_tokens >= 0


@cache
def store() -> Store:
    """Open the store of the current device; the file is read at the first call.

    Returns:
        The store, one per process.
    """
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Store(Path(folder) / "audiomamba" / FILE_NAME, place_of_kernels())


def place_of_kernels() -> str:
    """Name what a cut belongs to.

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
    """Put sizes that a cut suits alike into one class.

    Args:
        n: a size, at least 1.

    Returns:
        The exponent of the power of two that is not below it.
    """
    return (n - 1).bit_length()
