"""AuM, Audio Mamba: bidirectional Mamba blocks on spectrogram patches.

The log-mel spectrogram is cut into patches (16 mel bands by 16 frames), each becomes a token, a
learned position is added, and a stack of Mamba blocks reads the sequence. Tokens run along time
within each row of patches, lowest frequencies first. A class token, put into the middle of the
sequence in the released models, or the pooled tokens feed a linear head.

Source: Erol, Senocak, Feng, Chung, "Audio Mamba: Bidirectional State Space Model for Audio
Representation Learning" (2024), section II.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from audiomamba.models.layers.mamba import Direction
from audiomamba.models.layers.patch_sequence import PatchSequenceConfig, PatchSequenceModel
from audiomamba.models.layers.sequence import TokenOrder

__all__ = ["MODELS", "AuM", "AuMConfig", "Pool"]

Pool = Literal["mean", "max", "last"]


@dataclass(frozen=True, kw_only=True)
class AuMConfig(PatchSequenceConfig):
    """Settings of AuM, beside those of PatchSequenceConfig; the defaults are AuM-B on AudioSet.

    Args:
        positions: learned absolute positions, or none.
        token_order: "frequency" reads row of patches after row, along time; "time" reads column
            after column.

    Examples:
        >>> AuMConfig(n_frames=512).grid
        (8, 32)
    """

    family: ClassVar[str] = "aum"

    pool: Pool = "mean"
    direction: Direction = "fo-bi"
    positions: Literal["absolute", "none"] = "absolute"
    token_order: TokenOrder = "frequency"

    @property
    def weights_from(self) -> str:
        """Whose released weights fit."""
        return "AuM"

    def build(self) -> "AuM":
        """Make the model, with fresh weights."""
        return AuM(self)


class AuM(PatchSequenceModel):
    """Audio Mamba.

    Args:
        config: its settings.

    Examples:
        >>> import torch
        >>> model = AuMConfig(dim=32, depth=2, n_classes=10, n_frames=64).build()
        >>> model(torch.zeros(2, 64, 128)).shape
        torch.Size([2, 10])
        >>> model.tokens(torch.zeros(2, 64, 128)).shape  # 8 by 4 patches and a class token
        torch.Size([2, 33, 32])
    """

    config: AuMConfig

    def __init__(self, config: AuMConfig) -> None:
        has_positions = config.positions == "absolute"
        super().__init__(config, config.token_order, positions=has_positions, norm="rms")


MODELS = {
    "aum_base": AuMConfig(dim=768),
    "aum_small": AuMConfig(dim=384),
    "aum_tiny": AuMConfig(dim=192),
}
