"""How the kernels of the scan are cut: the choice for given sizes, and what there is to choose.

A sequence in one piece is computed once; cut into chunks, twice, but with more programs. Which is
faster depends on how many there are, so the choice goes by classes of sizes.
"""

from typing import Literal, NamedTuple

import torch

from audiomamba.ops import settings
from audiomamba.ops.settings import Cut

__all__ = ["CANDIDATES", "Kernel", "Tile", "Work", "cut_of", "key_of", "tile_of"]

Kernel = Literal["forward", "backward"]

WARP = 32
MOST_NUMBERS_EACH = 16  # states of a thread, its channels taken together
MOST_CHUNKS = 65535  # of a grid
# With fewer programs than this, sequences are cut into chunks that are scanned side by side.
BUSY_PROGRAMS_PER_PROCESSOR = 2

WHOLE, CHUNKED, BACKWARD = Cut(2, 2, 4, 0), Cut(2, 2, 4, 128), Cut(2, 4, 4, 64)  # the defaults
CANDIDATES: dict[Kernel, tuple[Cut, ...]] = {
    "forward": tuple(
        cut._replace(chunk_tokens=n)
        for cut in (WHOLE, Cut(1, 2, 4, 0), Cut(4, 4, 2, 0))
        for n in (0, 64, 128, 256)
    ),
    "backward": tuple(
        cut._replace(chunk_tokens=n)
        for cut in (BACKWARD, Cut(2, 4, 2, 0), Cut(4, 4, 2, 0))
        for n in (64, 128)
    ),
}


class Work(NamedTuple):
    """What a kernel has to do.

    Args:
        kernel: which pass.
        dtype: of the tensors.
        directions: 1 or 2.
        states: of a channel.
        n_channels: of all samples together.
        tokens: of a sample.
    """

    kernel: Kernel
    dtype: torch.dtype
    directions: int
    states: int
    n_channels: int
    tokens: int


class Tile(NamedTuple):
    """How the channels and states of a program lie on its threads; see triton_kernels."""

    each_e: int
    each_n: int
    lanes_n: int
    lanes_e: int

    @property
    def block(self) -> int:
        """Channels of a program."""
        return self.each_e * self.lanes_e

    @property
    def states(self) -> int:
        """States of a channel, filled up to a power of two."""
        return self.each_n * self.lanes_n

    def constants(self) -> dict[str, int]:
        """Name the sizes as the kernels do."""
        names = ("EACH_E", "EACH_N", "LANES_N", "LANES_E")
        return dict(zip(names, self, strict=True))


def tile_of(cut: Cut, states: int) -> Tile:
    """Lay a cut out for a number of states.

    Args:
        cut: how the kernel is cut.
        states: of a channel.

    Returns:
        A tile of one warp; a thread has at most MOST_NUMBERS_EACH numbers if that can be.
    """
    power = 1 << (states - 1).bit_length()
    lanes_n = min(cut.state_lanes, power)
    each_n = power // lanes_n
    each_e = max(1, min(cut.channels_each, MOST_NUMBERS_EACH // each_n))
    return Tile(each_e, each_n, lanes_n, WARP // lanes_n)


def key_of(work: Work) -> str:
    """Name the class of sizes that work belongs to.

    Args:
        work: what is to be done.

    Returns:
        A key of the store.
    """
    dtype = str(work.dtype).removeprefix("torch.")
    sizes = [settings.size_class(n) for n in (work.n_channels, work.tokens)]
    both = "both" if work.directions == 2 else "one"
    return f"scan {work.kernel}, {dtype}, {both}, {work.states} states, size {sizes[0]} {sizes[1]}"


def cut_of(work: Work, device: torch.device) -> Cut:
    """Look up how to cut, or take the default.

    Args:
        work: what is to be done.
        device: where.

    Returns:
        A cut whose chunks are a multiple of what is unrolled; one chunk if it had 0 tokens.
    """
    cut = settings.store().get(key_of(work)) or _default(work, device)
    wanted = min(cut.chunk_tokens or work.tokens, work.tokens)
    least = -(-work.tokens // MOST_CHUNKS)
    chunk_tokens = -(-max(wanted, least) // cut.unroll) * cut.unroll
    return cut._replace(chunk_tokens=chunk_tokens)


def _default(work: Work, device: torch.device) -> Cut:
    """What is likely to be good, where nothing was timed."""
    if work.kernel == "backward":
        return BACKWARD
    programs = -(-work.n_channels // tile_of(WHOLE, work.states).block)
    busy = programs >= BUSY_PROGRAMS_PER_PROCESSOR * _n_processors(device)
    return WHOLE if busy else CHUNKED


def _n_processors(device: torch.device) -> int:
    if device.type != "cuda":
        return 1
    return torch.cuda.get_device_properties(device).multi_processor_count
