"""What to do with a golden file of each kind."""

from collections.abc import Callable
from typing import Any

from checks import aum, ops, sound

CHECKS: dict[str, Callable[[Any], None]] = {**aum.CHECKS, **ops.CHECKS, **sound.CHECKS}
