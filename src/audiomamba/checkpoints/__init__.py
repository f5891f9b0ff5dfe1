"""Saved models: the folder format, released weights, conversion and transfer."""

from audiomamba.checkpoints.convert import ORIGINS, ConversionReport, convert
from audiomamba.checkpoints.format import Checkpoint, find, load, packaged, save
from audiomamba.checkpoints.origin import Origin
from audiomamba.checkpoints.released import RELEASED, Released
from audiomamba.checkpoints.transfer import TransferReport, aum_from_aum, aum_from_vim

__all__ = [
    "ORIGINS",
    "RELEASED",
    "Checkpoint",
    "ConversionReport",
    "Origin",
    "Released",
    "TransferReport",
    "aum_from_aum",
    "aum_from_vim",
    "convert",
    "find",
    "load",
    "packaged",
    "save",
]
