"""Saved models: the folder format, released weights, conversion and transfer."""

from audiomamba.checkpoints.convert import ORIGINS, ConversionReport, convert, read_released
from audiomamba.checkpoints.format import (
    Checkpoint,
    Settings,
    fingerprint,
    load,
    read_settings,
    save,
)
from audiomamba.checkpoints.lookup import find, is_model, packaged
from audiomamba.checkpoints.origin import Origin
from audiomamba.checkpoints.pretrained import pretrained
from audiomamba.checkpoints.start import start_from
from audiomamba.checkpoints.transfer import (
    TransferReport,
    ast_from_ast,
    ast_from_deit,
    aum_from_aum,
    aum_from_vim,
    mambaout_from_mambaout,
    same_from_same,
)
from audiomamba.checkpoints.transfer_vmamba import audiomamba_from_vmamba, dass_from_vmamba
from audiomamba.hub import RELEASED, Released

__all__ = [
    "ORIGINS",
    "RELEASED",
    "Checkpoint",
    "ConversionReport",
    "Origin",
    "Released",
    "Settings",
    "TransferReport",
    "ast_from_ast",
    "ast_from_deit",
    "audiomamba_from_vmamba",
    "aum_from_aum",
    "aum_from_vim",
    "convert",
    "dass_from_vmamba",
    "find",
    "fingerprint",
    "is_model",
    "load",
    "mambaout_from_mambaout",
    "packaged",
    "pretrained",
    "read_released",
    "read_settings",
    "same_from_same",
    "save",
    "start_from",
]
