"""The operations that the models are built from, each with one contract and several backends.

Everything is channel-last, (batch, tokens, channels): the layout that linear layers produce and
consume.
"""

from audiomamba.ops.add_norm import add_norm
from audiomamba.ops.add_rms_norm import add_rms_norm
from audiomamba.ops.autotune import warmup
from audiomamba.ops.backends import (
    BackendStatus,
    available_backends,
    explain_backends,
    load_modules,
    use_backend,
)
from audiomamba.ops.causal_conv1d import causal_conv1d
from audiomamba.ops.chunking import map_in_chunks
from audiomamba.ops.cross_scan import cross_merge, cross_scan, cross_selective_scan
from audiomamba.ops.linear import Linear, linear
from audiomamba.ops.selective_scan import bidirectional_selective_scan, selective_scan

__all__ = [
    "BackendStatus",
    "Linear",
    "add_norm",
    "add_rms_norm",
    "available_backends",
    "bidirectional_selective_scan",
    "causal_conv1d",
    "cross_merge",
    "cross_scan",
    "cross_selective_scan",
    "explain_backends",
    "linear",
    "map_in_chunks",
    "selective_scan",
    "use_backend",
    "warmup",
]

load_modules()
