"""What to do with a golden file of each kind."""

from collections.abc import Callable
from typing import Any

from checks import ast, aum, efficientat, mambaout, mel_image, ops, sound, vim, vmamba

CHECKS: dict[str, Callable[[Any], None]] = {
    **ast.CHECKS,
    **aum.CHECKS,
    **efficientat.CHECKS,
    **mambaout.CHECKS,
    **mel_image.CHECKS,
    **ops.CHECKS,
    **sound.CHECKS,
    **vim.CHECKS,
    **vmamba.CHECKS,
}
