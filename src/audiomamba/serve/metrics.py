"""What the server counts, in the form that Prometheus reads."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STEP_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)

BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counters of one server.

    Examples:
        >>> metrics = Metrics()
        >>> metrics.rejected("queue")
        >>> 'audiomamba_rejected_total{reason="queue"} 1.0' in metrics.text()
        True
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "audiomamba_requests",
            "Answers by address and status; 499 is a client that left.",
            ["route", "status"],
            registry=self._registry,
        )
        self._rejected = Counter(
            "audiomamba_rejected", "Refusals by reason.", ["reason"], registry=self._registry
        )
        self._sound = Counter(
            "audiomamba_sound_seconds", "Seconds of sound scored.", registry=self._registry
        )
        self._steps = Histogram(
            "audiomamba_step_seconds",
            "Time that requests spend in a step: receive, wait, work.",
            ["step"],
            buckets=STEP_BUCKETS_S,
            registry=self._registry,
        )
        self._batches = Histogram(
            "audiomamba_batch_windows",
            "Windows that were heard at once, of one request or several.",
            buckets=BATCH_BUCKETS,
            registry=self._registry,
        )
        self.waiting = Gauge(
            "audiomamba_queue_waiting", "Requests that wait.", registry=self._registry
        )
        self.at_work = Gauge(
            "audiomamba_at_work", "Requests that are worked on.", registry=self._registry
        )
        self.live = Gauge("audiomamba_live", "Live connections.", registry=self._registry)
        self.kept = Gauge(
            "audiomamba_kept_bytes", "Bytes of what pages have open.", registry=self._registry
        )
        self.spooled = Gauge(
            "audiomamba_spooled_bytes", "Bytes of bodies held.", registry=self._registry
        )

    def answered(self, route: str, status: int) -> None:
        """Count an answer.

        Args:
            route: the address as the server knows it, one of few.
            status: of the answer.
        """
        self._requests.labels(route, str(status)).inc()

    def rejected(self, reason: str) -> None:
        """Count a refusal.

        Args:
            reason: one of few words.
        """
        self._rejected.labels(reason).inc()

    def step(self, name: str, seconds: float) -> None:
        """Count the time of a step.

        Args:
            name: receive, wait or work.
            seconds: how long it took.
        """
        self._steps.labels(name).observe(seconds)

    def batched(self, n_windows: int) -> None:
        """Count a batch.

        Args:
            n_windows: that were heard at once.
        """
        self._batches.observe(n_windows)

    def heard(self, seconds: float) -> None:
        """Count sound that was scored.

        Args:
            seconds: its length.
        """
        self._sound.inc(seconds)

    def text(self) -> str:
        """Return all counts."""
        return generate_latest(self._registry).decode()
