"""A request that is not answered, and why."""

from http import HTTPStatus

__all__ = ["LEFT", "RefusedError"]

LEFT = 499  # the status that is counted, not sent, where a client left before the answer


class RefusedError(Exception):
    """A request that is refused.

    Args:
        status: of the answer.
        reason: what is counted in the metrics, one of a few words.
        message: one line for the client.
        retry_after_s: when it may come again; None where that is of no use.

    Examples:
        >>> RefusedError(413, "bytes", "the body is too large").status
        413
    """

    def __init__(
        self, status: int, reason: str, message: str, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.reason, self.retry_after_s = status, reason, retry_after_s

    @classmethod
    def left(cls) -> "RefusedError":
        """Return what stands for a client that has left."""
        return cls(LEFT, "left", "the client has left")

    @classmethod
    def busy(cls, what: str, message: str, retry_after_s: int) -> "RefusedError":
        """Return a refusal for now.

        Args:
            what: the reason that is counted.
            message: one line for the client.
            retry_after_s: when it may come again.
        """
        return cls(HTTPStatus.SERVICE_UNAVAILABLE, what, message, retry_after_s)

    @property
    def headers(self) -> dict[str, str]:
        """The headers that the answer needs."""
        found = {} if self.retry_after_s is None else {"retry-after": str(self.retry_after_s)}
        if self.status == HTTPStatus.UNAUTHORIZED:
            found["www-authenticate"] = "Bearer"
        return found
