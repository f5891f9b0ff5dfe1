"""What the server allows: every limit in one place."""

from dataclasses import dataclass, field, fields

from audiomamba.errors import ConfigError

__all__ = ["BYTES_PER_MB", "Settings"]

BYTES_PER_MB = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the server allows.

    Args:
        max_mb: largest body of a request, in millions of bytes.
        max_seconds: longest recording, in seconds of decoded sound.
        max_channels: most channels of a recording.
        max_rate_hz: highest sample rate of a recording.
        spool_mb: what all bodies that are being received or worked on may take on the disk.
        kept_mb: what all recordings that the page keeps open may take on the disk.
        n_workers: requests that are worked on at once.
        n_queued: requests that may wait for a worker.
        batch_windows: windows of several requests that a model hears at once; None to hear each
            request alone.
        batch_wait_ms: how long a request's windows wait for those of others.
        n_live: live connections at once.
        time_limit_s: how long a request may take once its body is there.
        idle_s: how long a client may be silent while the server waits for it.
        least_bytes_per_s: a body that comes slower than this is refused.
        token: what clients must send as `Authorization: Bearer`; None for no check.
        allow_fetch: hosts, or HOST:PORT, from which the server may fetch recordings.
        allow_origins: pages from elsewhere that may use the server, such as "https://my.site".

    Raises:
        ConfigError: a number is not above 0, or the token is empty.

    Examples:
        >>> Settings(max_mb=1).max_bytes
        1000000
    """

    max_mb: float = 100.0
    max_seconds: float = 6 * 3600.0
    max_channels: int = 16
    max_rate_hz: int = 400_000
    spool_mb: float = 1000.0
    kept_mb: float = 4000.0
    n_workers: int = 1
    n_queued: int = 8
    batch_windows: int | None = None
    batch_wait_ms: float = 5.0
    n_live: int = 4
    time_limit_s: float = 120.0
    idle_s: float = 10.0
    least_bytes_per_s: float = 1000.0
    token: str | None = field(default=None, repr=False)
    allow_fetch: tuple[str, ...] = ()
    allow_origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, int | float) and not 0 < value < float("inf"):
                raise ConfigError(f"{one.name} is {value}; expected a number above 0")
        if self.token is not None and not self.token:
            raise ConfigError("the token is empty; expected some text")

    @property
    def max_bytes(self) -> int:
        """Largest body of a request in bytes."""
        return int(self.max_mb * BYTES_PER_MB)
