"""How large a model is and how much it computes, found without memory for weights or maps.

What is counted are multiply-accumulates (MACs), half of what PyTorch's counter calls FLOPs: those
of matrix products, convolutions, attention and scans. A LayerNorm counts as five per element, as in
fvcore, with which the papers on vision made their figures; activations and other elementwise work
are left out, as there.

A scan step is one state of one channel at one token. It counts as two MACs, one that updates the
state and one that reads it; this gives the 5.1 G that the papers state for Vim-S. VMamba's authors
add nine operations per step to the MACs of the rest instead, and so come to 5.6 G for their first
VMamba-T: that is macs + 7 * scan_steps here.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from audiomamba.models import AudioModel, HierarchicalModel, ModelConfig

__all__ = [
    "Count",
    "Layer",
    "Sequence",
    "at_standard_size",
    "count",
    "count_layers",
    "count_macs",
    "example_input",
    "sequences",
]

MACS_PER_STEP = 2
MACS_PER_NORMED = 5
LEAST_FRAMES = 998  # of 10 s at 100 per second, where the last ones are not filled up
STANDARD_FRAMES = 1024  # the same, filled up as the released models do


@dataclass(frozen=True, kw_only=True)
class Count:
    """The size and the work of a model.

    Args:
        n_parameters: how many numbers it learns.
        macs: multiply-accumulates for one input.
        scan_steps: state updates for one input, over all tokens, channels, states and directions.

    Examples:
        >>> from audiomamba import models
        >>> count(models.MODELS["aum_tiny"])
        Count(n_parameters=6438479, macs=..., scan_steps=...)
    """

    n_parameters: int
    macs: int
    scan_steps: int


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of a model, or several alike that follow each other.

    Args:
        name: where it is, such as "layers.0.mixer", or "layers.0-23.mixer" if 24 are alike.
        depth: 0 for the layers of the model itself, 1 for the layers of those, and so on.
        n_alike: how many there are.
        output: shape of the output of each; of the first, if there are several outputs.
        n_parameters: of all together.
        macs: of all together, for one input; those of work outside of any called module are in the
            layer around it.

    Examples:
        >>> from audiomamba import models
        >>> first = count_layers(models.MODELS["aum_tiny"])[0]
        >>> first.name, first.output, first.n_parameters
        ('patch_embed', (1, 192, 8, 64), 49344)
    """

    name: str
    depth: int
    n_alike: int
    output: tuple[int, ...]
    n_parameters: int
    macs: int


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """How long a model's sequence is, and how long one would be called long.

    Args:
        n_tokens: tokens of the sequence, or positions of the map.
        threshold: tau = 6 * dim; beyond it, most of the work of a Transformer block of this width
            would be attention, which is quadratic in the tokens.

    Source: Yu and Wang, "MambaOut" (2024), section 3.2, equation 7.

    Examples:
        >>> Sequence(n_tokens=513, threshold=6 * 192).n_tokens
        513
    """

    n_tokens: int
    threshold: int


def at_standard_size(config: ModelConfig) -> ModelConfig:
    """Give a model the input that its figures are stated for: 10 s of sound, or its image.

    Args:
        config: the model's settings.

    Returns:
        The same with 1024 frames, if the model is made for shorter sound but takes any.

    Examples:
        >>> from audiomamba import models
        >>> config = models.MODELS["conv_aum_tiny"]
        >>> config.n_frames, at_standard_size(config).n_frames
        (512, 1024)
    """
    if config.any_length and config.reads_sound and config.n_frames < LEAST_FRAMES:
        return config.changed(n_frames=STANDARD_FRAMES)
    return config


def example_input(config: ModelConfig, batch: int = 1, device: str = "cpu") -> Tensor:
    """Make an input of zeros in the size that a model is made for.

    Args:
        config: the model's settings.
        batch: inputs in the batch.
        device: where to put it.

    Returns:
        Features (batch, frames, mels), or images (batch, 3, height, width).

    Examples:
        >>> from audiomamba import models
        >>> example_input(models.MODELS["aum_tiny"], batch=2).shape
        torch.Size([2, 1024, 128])
    """
    if config.reads_sound:
        return torch.zeros(batch, config.n_frames, config.n_mels, device=device)
    return torch.zeros(batch, 3, config.n_mels, config.n_frames, device=device)


def count(config: ModelConfig) -> Count:
    """Count a model's parameters and its work for one input of its size.

    Args:
        config: the model's settings.

    Returns:
        The figures.

    Examples:
        >>> from audiomamba import models
        >>> found = count(models.MODELS["vim_small"])
        >>> f"{found.macs / 1e9:.1f} G"
        '5.1 G'
    """
    return _Census(config, watch=False).total()


def count_macs(run: Callable[[], object]) -> int:
    """Count the multiply-accumulates of what is run, by the rules of this module.

    Args:
        run: calls models; on the meta device it costs neither memory nor time.

    Returns:
        The multiply-accumulates.

    Examples:
        >>> layer = nn.Linear(8, 4, device="meta")
        >>> count_macs(lambda: layer(torch.zeros(2, 8, device="meta")))
        64
    """
    counter = FlopCounterMode(display=False, custom_mapping=_formulas())
    with torch.inference_mode(), counter:
        run()
    return counter.get_total_flops() // 2


def count_layers(config: ModelConfig, depth: int = 2) -> list[Layer]:
    """Count layer by layer; neighbours that are alike are taken together.

    Args:
        config: the model's settings.
        depth: how many levels to look into; lists of layers are no level of their own.

    Returns:
        The layers in the order in which they are first called, each before those inside it.

    Examples:
        >>> from audiomamba import models
        >>> [layer.name for layer in count_layers(models.MODELS["aum_tiny"], depth=1)]
        ['patch_embed', 'layers.0-23', 'head']
    """
    census = _Census(config, watch=True)
    return list(census.layers(census.model, "", "", 1, depth))


def sequences(config: ModelConfig) -> list[Sequence]:
    """Hold the length of a model's sequence against the papers' test for long sequences.

    Args:
        config: the model's settings.

    Returns:
        One entry, or one per stage of a hierarchical model.

    Examples:
        >>> from audiomamba import models
        >>> sequences(models.MODELS["aum_base"])
        [Sequence(n_tokens=513, threshold=4608)]
    """
    model = _on_meta(config)
    x = example_input(config, device="meta")
    with torch.inference_mode():
        if isinstance(model, HierarchicalModel):
            shapes = [stage.map.shape for stage in model.forward_intermediates(x)]
            return [Sequence(n_tokens=s[2] * s[3], threshold=6 * s[1]) for s in shapes]
        _, n_tokens, dim = model.tokens(x).shape
    return [Sequence(n_tokens=n_tokens, threshold=6 * dim)]


def _on_meta(config: ModelConfig) -> AudioModel:
    with torch.device("meta"):
        return config.build().eval()


class _Census:
    """One forward pass without memory, in which every module can be watched.

    Blocks of one list that have the same weights and inputs (in shape) are run once, and the others
    take over what was found: a deep model costs little more than a shallow one.
    """

    def __init__(self, config: ModelConfig, *, watch: bool) -> None:
        self.model = _on_meta(config)
        self.macs: dict[str, int] = {}
        self.outputs: dict[str, tuple[int, ...]] = {}
        self._known: dict[object, tuple[str, Any, Counter[Any]]] = {}
        self._copied: Counter[Any] = Counter()
        for name, module in self.model.named_modules():
            if isinstance(module, nn.ModuleList | nn.Sequential):
                for key, block in module.named_children():
                    block.forward = self._run_once(f"{name}.{key}", block)
        for name, module in self.model.named_modules() if watch else ():
            module.register_forward_pre_hook(self._before(name))
            module.register_forward_hook(self._after(name))
        self._counter = FlopCounterMode(display=False, custom_mapping=_formulas())
        with torch.inference_mode(), self._counter:
            self.model(example_input(config, device="meta"))

    def total(self) -> Count:
        """The whole model's figures."""
        flops = self._flops()
        ops = torch.ops.audiomamba
        scans = flops[ops.selective_scan_v1] + flops[ops.cross_selective_scan_v1]
        return Count(
            n_parameters=_n_parameters(self.model),
            macs=flops.total() // 2,
            scan_steps=scans // (2 * MACS_PER_STEP),
        )

    def layers(
        self, module: nn.Module, shown: str, name: str, n_around: int, depth: int, level: int = 0
    ) -> Iterator[Layer]:
        """The layers inside a module that is called `name` and shown as `shown`."""
        children = [(f"{name}.{key}".strip("."), child) for key, child in module.named_children()]
        children.sort(key=lambda it: self._first_call(it[0]))
        for _, group in groupby(children, key=lambda it: self._signature(*it)):
            alike = list(group)
            first, child = alike[0]
            n_alike = n_around * len(alike)
            key = first.rpartition(".")[2]
            key += f"-{alike[-1][0].rpartition('.')[2]}" if len(alike) > 1 else ""
            label = f"{shown}.{key}".strip(".")
            if first in self.outputs:
                yield Layer(
                    name=label,
                    depth=level,
                    n_alike=n_alike,
                    output=self.outputs[first],
                    n_parameters=n_alike * _n_parameters(child),
                    macs=n_alike * self.macs[first],
                )
            inside = first in self.outputs
            if not inside or level + 1 < depth:
                yield from self.layers(child, label, first, n_alike, depth, level + inside)

    def _signature(self, name: str, module: nn.Module) -> object:
        """What neighbours must have in common to be taken together; lists never are."""
        if name not in self.outputs:
            return name
        return type(module), _shapes(module), self.outputs[name], self.macs[name]

    def _first_call(self, name: str) -> int:
        """When a module or one inside it was called first."""
        inside = (n for n, key in enumerate(self.macs) if f"{key}.".startswith(f"{name}."))
        return min(inside, default=len(self.macs))

    def _flops(self) -> Counter[Any]:
        return Counter(self._counter.get_flop_counts().get("Global", {})) + self._copied

    def _before(self, name: str) -> Callable[..., None]:
        def before(*_: Any) -> None:
            self.macs[name] = self.macs.get(name, 0) - self._flops().total() // 2

        return before

    def _after(self, name: str) -> Callable[..., None]:
        def after(_module: nn.Module, _inputs: Any, output: Any) -> None:
            self.macs[name] += self._flops().total() // 2
            self.outputs[name] = next(
                (tuple(it.shape) for it in tree_leaves(output) if isinstance(it, Tensor)), ()
            )

        return after

    def _run_once(self, name: str, block: nn.Module) -> Callable[..., Any]:
        forward = block.forward

        def run(*args: Any, **kwargs: Any) -> Any:
            inputs = tuple(
                it.shape if isinstance(it, Tensor) else repr(it)
                for it in tree_leaves((args, kwargs))
            )
            # What is no weight, such as a stride, stands in the text of a module.
            key = (name.rpartition(".")[0], str(block), _shapes(block), inputs)
            if key in self._known:
                first, output, flops = self._known[key]
                self._copied += flops
                self._take_over(first, name)
                return output
            before = self._flops()
            output = forward(*args, **kwargs)
            self._known[key] = (name, output, self._flops() - before)
            return output

        return run

    def _take_over(self, first: str, name: str) -> None:
        """Note for the layers of a block what was found for those of the first of its kind."""
        for key in [key for key in self.macs if key.startswith(f"{first}.")]:
            own = name + key.removeprefix(first)
            self.macs[own], self.outputs[own] = self.macs[key], self.outputs[key]


def _shapes(module: nn.Module) -> tuple[object, ...]:
    return tuple((name, tuple(value.shape)) for name, value in module.named_parameters())


def _n_parameters(module: nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


def _formulas() -> dict[Any, Callable[..., int]]:
    """The FLOPs of what PyTorch's counter does not know, by the shapes of the inputs."""
    ops = torch.ops.audiomamba
    return {
        ops.selective_scan_v1: _scan_flops,
        ops.cross_selective_scan_v1: _cross_scan_flops,
        ops.causal_conv1d_v1: _conv_flops,
        torch.ops.aten.native_layer_norm: _layer_norm_flops,
    }


def _scan_flops(u: Any, _delta: Any, A: Any, A_b: Any, *_: Any, **_kwargs: Any) -> int:  # noqa: N803
    directions = 1 if A_b is None else 2
    batch, tokens, channels = u
    return int(2 * MACS_PER_STEP * batch * tokens * channels * A[1] * directions)


def _cross_scan_flops(u: Any, _delta: Any, A: Any, *_: Any, **_kwargs: Any) -> int:  # noqa: N803
    batch, tokens, _ = u
    return int(2 * MACS_PER_STEP * batch * tokens * math.prod(A))  # A has all directions


def _conv_flops(x: Any, weight: Any, *_: Any, **_kwargs: Any) -> int:
    batch, tokens, channels = x
    return int(2 * batch * tokens * channels * weight[1])


def _layer_norm_flops(x: Any, *_: Any, **_kwargs: Any) -> int:
    return int(2 * MACS_PER_NORMED * math.prod(x))
