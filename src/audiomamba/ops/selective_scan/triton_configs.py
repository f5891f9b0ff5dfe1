"""The launch configurations of the scan's kernels: which one sizes get, and which there are.

A sequence in one piece is computed once; in chunks, twice, but with more programs. Which is faster
depends on how many there are, so the choice goes by classes of sizes.
"""

from typing import Literal, NamedTuple

import torch

from audiomamba.ops.launch_config import LaunchConfig, config_cache, size_class

__all__ = ["CANDIDATES", "Kernel", "Tile", "Work", "config_of", "key_of", "tile_of"]

Kernel = Literal["forward", "backward"]

WARP = 32
MOST_NUMBERS_EACH = 16  # states of a thread, its channels taken together
MOST_CHUNKS = 65535  # of a grid
# With fewer programs than this, sequences are split into chunks that are scanned side by side.
BUSY_PROGRAMS_PER_PROCESSOR = 2

WHOLE, CHUNKED, BACKWARD = (
    LaunchConfig(2, 2, 4, 0),
    LaunchConfig(2, 2, 4, 128),
    LaunchConfig(2, 4, 4, 64),
)  # the defaults
CANDIDATES: dict[Kernel, tuple[LaunchConfig, ...]] = {
    "forward": tuple(
        config._replace(chunk_tokens=n)
        for config in (WHOLE, LaunchConfig(1, 2, 4, 0), LaunchConfig(4, 4, 2, 0))
        for n in (0, 64, 128, 256)
    ),
    "backward": tuple(
        config._replace(chunk_tokens=n)
        for config in (BACKWARD, LaunchConfig(2, 4, 2, 0), LaunchConfig(4, 4, 2, 0))
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


def tile_of(config: LaunchConfig, states: int) -> Tile:
    """Lay a configuration out for a number of states.

    Args:
        config: how the kernel is config.
        states: of a channel.

    Returns:
        A tile of one warp; a thread has at most MOST_NUMBERS_EACH numbers if that can be.
    """
    power = 1 << (states - 1).bit_length()
    lanes_n = min(config.state_lanes, power)
    each_n = power // lanes_n
    each_e = max(1, min(config.channels_each, MOST_NUMBERS_EACH // each_n))
    return Tile(each_e, each_n, lanes_n, WARP // lanes_n)


def key_of(work: Work) -> str:
    """Name the class of sizes that work belongs to.

    Args:
        work: what is to be done.

    Returns:
        A key of the cache.
    """
    dtype = str(work.dtype).removeprefix("torch.")
    sizes = [size_class(n) for n in (work.n_channels, work.tokens)]
    both = "both" if work.directions == 2 else "one"
    return f"scan {work.kernel}, {dtype}, {both}, {work.states} states, size {sizes[0]} {sizes[1]}"


def config_of(work: Work, device: torch.device) -> LaunchConfig:
    """Look up how to config, or take the default.

    Args:
        work: what is to be done.
        device: where.

    Returns:
        A configuration whose chunks are a multiple of what is unrolled; one chunk for 0 tokens.
    """
    config = config_cache().get(key_of(work)) or _default(work, device)
    wanted = min(config.chunk_tokens or work.tokens, work.tokens)
    least = -(-work.tokens // MOST_CHUNKS)
    chunk_tokens = -(-max(wanted, least) // config.unroll) * config.unroll
    return config._replace(chunk_tokens=chunk_tokens)


def _default(work: Work, device: torch.device) -> LaunchConfig:
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
