"""The sound of events, as files in a folder that stays below a quota."""

import re
from datetime import UTC, datetime
from pathlib import Path

import soundfile
from torch import Tensor

from audiomamba.atomic import replacing
from audiomamba.errors import ConfigError

__all__ = ["AROUND_S", "LONGEST_S", "Clips"]

AROUND_S = 1.0  # before and after an event
LONGEST_S = 30.0
BYTES_PER_MB = 1_000_000
_NAME = re.compile(r"\d{8}T\d{6}\.\d{3}Z_[a-z0-9-]+\.flac")


class Clips:
    """A folder of clips; the oldest are deleted where they take too much.

    Args:
        folder: it is made.
        quota_mb: what all clips may take, in millions of bytes.

    Raises:
        ConfigError: the folder cannot be made, or the quota is not above 0.
    """

    def __init__(self, folder: Path, quota_mb: float) -> None:
        if not quota_mb > 0:
            raise ConfigError(f"the quota of clips is {quota_mb} MB; expected more than 0")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{folder} cannot be made: {error.strerror}") from error
        self._folder, self._quota = folder, int(quota_mb * BYTES_PER_MB)

    def keep(self, label: str, time_s: float, samples: Tensor, sample_rate: int) -> str:
        """Keep a clip.

        Args:
            label: what is heard.
            time_s: when, in seconds since 1970; together with the label it names the file.
            samples: (samples,), from -1 to 1.
            sample_rate: in Hz.

        Returns:
            The file's name.
        """
        moment = datetime.fromtimestamp(time_s, UTC)
        word = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-") or "sound"
        name = f"{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03}Z_{word[:60]}.flac"
        with replacing(self._folder / name) as part:
            soundfile.write(part, samples.clamp(-1, 1).numpy(), sample_rate, format="FLAC")
        self._delete_oldest(name)
        return name

    def _delete_oldest(self, newest: str) -> None:
        """Keep the quota; files that are no clips are left alone."""
        clips = sorted(path for path in self._folder.iterdir() if _NAME.fullmatch(path.name))
        n_bytes = sum(path.stat().st_size for path in clips)
        for path in clips:
            if n_bytes <= self._quota or path.name == newest:
                return
            n_bytes -= path.stat().st_size
            path.unlink()
