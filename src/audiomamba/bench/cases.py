"""The cases of the benchmarks, as data: what is run, at which sizes, and what takes turns.

What takes turns are the implementations of a case. The first is its base: ratios are to it, and
outputs are compared with its outputs. Of sizes that an implementation cannot do in reasonable time
or memory it is left out: scans that hold (tokens, channels, states) numbers, and gradients of loops
that index such an array at every token.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Literal

from audiomamba.errors import UnknownNameError

__all__ = [
    "GROUPS",
    "BlockCase",
    "Case",
    "ConvCase",
    "CrossScanCase",
    "Dtype",
    "Head",
    "ModelCase",
    "NormCase",
    "PartsCase",
    "ScanCase",
    "SilenceCase",
    "TrainingCase",
    "VisionCase",
    "select",
]

Dtype = Literal["float32", "bfloat16"]
Pass = Literal["forward", "forward and backward"]
ScanBackend = Literal["cpu", "torch"]
Head = Literal["none", "upernet"]

N_STATES = 16
N_TAPS = 4  # of the causal convolution
N_QUICK_ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Case:
    """What every case has.

    Args:
        implementations: what is timed, the base first.
        dtype: of inputs and weights; in training that of autocast.
        n_rounds: how often each is timed at most; a slow one is timed less often.
    """

    group: ClassVar[str]
    measures_memory: ClassVar[bool] = True

    implementations: tuple[str, ...]
    dtype: Dtype = "float32"
    n_rounds: int = 9

    def settings(self) -> dict[str, str | int]:
        """Return what tells this case from the others of its group.

        Returns:
            Values by name of field.
        """
        names = [
            field.name
            for field in fields(self)
            if field.name not in ("implementations", "n_rounds")
        ]
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class SequenceCase(Case):
    """An op on a sequence.

    Args:
        batch: sequences.
        tokens: of each.
        channels: of each token.
        direction: whether gradients are computed as well.
    """

    batch: int = 1
    tokens: int = 2049
    channels: int = 1536
    direction: Pass = "forward"


@dataclass(frozen=True, kw_only=True)
class ScanCase(SequenceCase):
    """A scan in both directions, with softplus, skip and gate, as AuM has it."""

    group: ClassVar[str] = "scan"


@dataclass(frozen=True, kw_only=True)
class ConvCase(SequenceCase):
    """The causal depthwise convolution with SiLU."""

    group: ClassVar[str] = "conv"


@dataclass(frozen=True, kw_only=True)
class NormCase(SequenceCase):
    """The addition to the residual stream with RMSNorm."""

    group: ClassVar[str] = "norm"


@dataclass(frozen=True, kw_only=True)
class SilenceCase(SequenceCase):
    """The same scan of inputs that decay into the smallest numbers, and of noise.

    Args:
        backend: which one scans.
    """

    group: ClassVar[str] = "silence"

    backend: ScanBackend = "cpu"


@dataclass(frozen=True, kw_only=True)
class ModelCase(Case):
    """Inference: features to logits.

    Args:
        batch: clips.
        tokens: of each, a class token included.
    """

    group: ClassVar[str] = "models"

    n_rounds: int = 5
    batch: int = 1
    tokens: int


@dataclass(frozen=True, kw_only=True)
class TrainingCase(ModelCase):
    """Forward, loss and gradients; in bfloat16 under autocast, the weights in float32."""

    group: ClassVar[str] = "training"


@dataclass(frozen=True, kw_only=True)
class PartsCase(ModelCase):
    """A model's blocks in inference, and beside them all that they do, kind by kind.

    Args:
        model: a model's name.
    """

    group: ClassVar[str] = "parts"
    measures_memory: ClassVar[bool] = False

    model: str


@dataclass(frozen=True, kw_only=True)
class CrossScanCase(Case):
    """Scans of a map in four directions.

    Args:
        side_length: rows and columns of the map.
        channels: of each position.
    """

    group: ClassVar[str] = "ss2d"

    side_length: int
    channels: int


@dataclass(frozen=True, kw_only=True)
class BlockCase(CrossScanCase):
    """A block of a hierarchy of maps."""

    group: ClassVar[str] = "blocks"


@dataclass(frozen=True, kw_only=True)
class VisionCase(Case):
    """Inference on square images, by a backbone alone or with a head.

    Args:
        batch: images.
        image_side: height and width in pixels.
        head: "none" for the maps of the backbone, "upernet" for a class of each pixel.
    """

    group: ClassVar[str] = "vision"

    n_rounds: int = 5
    batch: int = 1
    image_side: int
    head: Head = "none"


COMPILED = ("cpu", "cpu, two calls")
PEERS = ("loop over full arrays", "transformers", "mambapy")
SCANS = (*COMPILED, "triton", "torch", "reference")
AUM_PARTS = ("whole", "linear layers", "scan", "conv", "norm")
AST_PARTS = ("whole", "linear layers", "attention", "norm", "gelu")
BASE = ("aum_base", "ast_base")
SMALL = ("aum_small", "ast_small")
BASE_AND_PEER = (*BASE, "transformers base")
BOTH: Pass = "forward and backward"
PASSES: tuple[Pass, ...] = ("forward", BOTH)
VIM_AND_DEIT = ("vim_tiny", "deit_tiny")
IMAGE_SIDES = (512, 640, 736, 1024, 1248)  # in pixels; of 738, as the paper has it, 736 are read
DTYPES: tuple[Dtype, ...] = ("float32", "bfloat16")
BACKENDS: tuple[ScanBackend, ...] = ("cpu", "torch")

GROUPS: dict[str, tuple[Case, ...]] = {
    "scan": (
        ScanCase(implementations=(*SCANS, *PEERS), tokens=129, direction=BOTH),
        ScanCase(implementations=(*SCANS, *PEERS), tokens=513),
        ScanCase(implementations=(*SCANS, *PEERS), tokens=2049),
        ScanCase(implementations=SCANS, tokens=8193),
        ScanCase(implementations=SCANS, tokens=2049, dtype="bfloat16"),
        ScanCase(implementations=(*SCANS, "mambapy"), tokens=513, direction=BOTH),
        ScanCase(implementations=SCANS, tokens=2049, direction=BOTH),
    ),
    "conv": tuple(
        ConvCase(implementations=("cpu", "F.conv1d and F.silu"), direction=direction, dtype=dtype)
        for direction in PASSES
        for dtype in DTYPES
    ),
    "norm": tuple(
        NormCase(
            implementations=("cpu", "addition and F.rms_norm"),
            channels=768,
            direction=direction,
            dtype=dtype,
        )
        for direction in PASSES
        for dtype in DTYPES
    ),
    "silence": tuple(
        SilenceCase(
            implementations=("noise", "silence", "half silence", "large steps"), backend=backend
        )
        for backend in BACKENDS
    ),
    "models": (
        *(ModelCase(implementations=SMALL, tokens=tokens) for tokens in (513, 1025, 2049, 4097)),
        *(
            ModelCase(implementations=SMALL, tokens=tokens, dtype="bfloat16")
            for tokens in (513, 1025, 2049, 4097, 8193)
        ),
        ModelCase(implementations=SMALL, tokens=513, batch=8),
        *(
            ModelCase(implementations=SMALL, tokens=tokens, dtype="bfloat16", batch=8)
            for tokens in (513, 1025, 2049)
        ),
        ModelCase(implementations=BASE_AND_PEER, tokens=513),
        *(ModelCase(implementations=BASE, tokens=tokens) for tokens in (1025, 2049, 4097)),
        ModelCase(implementations=BASE_AND_PEER, tokens=513, dtype="bfloat16"),
        *(
            ModelCase(implementations=BASE, tokens=tokens, dtype="bfloat16")
            for tokens in (1025, 2049, 4097, 8193)
        ),
        *(
            ModelCase(implementations=BASE, tokens=tokens, dtype="bfloat16", batch=8)
            for tokens in (513, 1025)
        ),
    ),
    "parts": (
        PartsCase(model="aum_small", implementations=AUM_PARTS, tokens=513),
        PartsCase(model="aum_small", implementations=AUM_PARTS, tokens=513, dtype="bfloat16"),
        *(
            PartsCase(model="aum_base", implementations=AUM_PARTS, tokens=tokens, dtype=dtype)
            for dtype in DTYPES
            for tokens in (513, 2049)
        ),
        PartsCase(model="ast_base", implementations=AST_PARTS, tokens=2049, dtype="bfloat16"),
    ),
    "training": (
        *(TrainingCase(implementations=SMALL, tokens=tokens) for tokens in (513, 1025, 2049, 4097)),
        *(
            TrainingCase(implementations=SMALL, tokens=tokens, dtype="bfloat16")
            for tokens in (513, 1025, 2049, 4097)
        ),
        *(TrainingCase(implementations=BASE, tokens=tokens) for tokens in (513, 1025, 2049)),
        *(
            TrainingCase(implementations=BASE, tokens=tokens, dtype="bfloat16")
            for tokens in (513, 1025, 2049, 4097)
        ),
    ),
    "ss2d": tuple(
        CrossScanCase(
            implementations=("cpu", "torch", "reference"), side_length=length, channels=channels
        )
        for length, channels in ((8, 1536), (16, 768), (32, 384), (64, 192))
    ),
    "blocks": tuple(
        BlockCase(
            implementations=("SS2D block", "Swin block"),
            side_length=length,
            channels=channels,
            dtype=dtype,
        )
        for dtype in DTYPES
        for length, channels in ((8, 768), (16, 384), (32, 192), (64, 96))
    ),
    "vision": (
        *(
            VisionCase(implementations=VIM_AND_DEIT, image_side=side)
            for side in (224, 384, *IMAGE_SIDES)
        ),
        *(
            VisionCase(implementations=VIM_AND_DEIT, image_side=side, head="upernet")
            for side in IMAGE_SIDES
        ),
    ),
}


def select(
    names: list[str] | None = None,
    *,
    quick: bool = False,
    among: Mapping[str, tuple[Case, ...]] = GROUPS,
) -> list[Case]:
    """Choose cases by group.

    Args:
        names: of groups; all if None or empty.
        quick: only the first case of each group, which is its smallest, in few rounds.
        among: the groups there are.

    Returns:
        The cases, group by group.

    Raises:
        UnknownNameError: no group has such a name.
    """
    chosen: list[Case] = []
    for name in names or list(among):
        if name not in among:
            raise UnknownNameError("group of benchmarks", name, among)
        cases = among[name]
        chosen += [replace(cases[0], n_rounds=N_QUICK_ROUNDS)] if quick else cases
    return chosen
