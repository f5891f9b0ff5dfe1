"""Trained weights that recipes start from. They do not ship with the package."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["STARTS", "Start"]


@dataclass(frozen=True, kw_only=True)
class Start:
    """Trained weights.

    Args:
        what: what they are, in words.
        model: the model that they are of.
        source: the page that links the file, or the recipe whose run gives them.

    Examples:
        >>> from audiomamba import recipes
        >>> all(isinstance(it, Start) for it in recipes.STARTS.values())
        True
    """

    what: str
    model: str
    source: str


STARTS: Mapping[str, Start] = {
    "audioset/ast-base": Start(
        what="AST-B trained on AudioSet from scratch, whose weights nobody has released",
        model="ast_base",
        source="the recipe audioset/ast-base",
    ),
    "audioset/aum-base": Start(
        what="AuM-B trained on AudioSet from scratch",
        model="aum_base",
        source="https://github.com/kaistmm/Audio-Mamba-AuM, or the recipe audioset/aum-base",
    ),
    "imagenet/deit-small": Start(
        what="DeiT-S trained on ImageNet, in the form in which its authors and timm save it",
        model="deit_small",
        source="https://github.com/facebookresearch/deit",
    ),
    "imagenet/vim-small": Start(
        what="Vim-S trained on ImageNet, with the class token in the middle",
        model="vim_small",
        source="https://huggingface.co/hustvl/Vim-small-midclstok",
    ),
    "imagenet/vmamba-tiny": Start(
        what="VMamba-T trained on ImageNet",
        model="vmamba_tiny_v0",
        source="https://github.com/MzeroMiko/VMamba",
    ),
}
