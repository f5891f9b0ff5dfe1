"""The server's process: a socket, uvicorn, and an end that waits for what is being worked on."""

import logging
import signal
import socket
from collections.abc import Callable, Mapping
from ipaddress import ip_address

import uvicorn

from audiomamba.errors import ConfigError
from audiomamba.infer import Tagger
from audiomamba.serve.app import make_app
from audiomamba.serve.patience import patient_protocol
from audiomamba.serve.service import Service
from audiomamba.serve.settings import Settings

__all__ = ["is_loopback", "serve"]

MOST_CONNECTIONS = 256
LARGEST_FRAME = 1 << 20  # bytes in a message of a WebSocket
FRAMES_AHEAD = 8  # messages of a WebSocket that are read before they are used


def serve(
    taggers: Mapping[str, Tagger],
    settings: Settings,
    *,
    host: str,
    port: int,
    tell: Callable[[str], object],
) -> None:
    """Serve until SIGTERM or Ctrl-C; what is being worked on then is finished.

    Args:
        taggers: the models by name, the default first.
        settings: what is allowed.
        host: the address to listen at.
        port: the port; 0 for a free one.
        tell: is given lines for the user.

    Raises:
        ConfigError: nothing can listen there.
    """
    with _listen(host, port) as listener:
        bound = listener.getsockname()
        where = f"http://{f'[{bound[0]}]' if ':' in bound[0] else bound[0]}:{bound[1]}"
        if settings.token is None and not is_loopback(bound[0]):
            tell("warning: everybody who can reach this machine can use the server; see --token")
        config = uvicorn.Config(
            make_app(Service(taggers, settings)),
            http=patient_protocol(settings.idle_s),
            loop="asyncio",
            log_level=logging.WARNING,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=int(settings.time_limit_s) + 1,
            ws="websockets-sansio",
            ws_max_size=LARGEST_FRAME,
            ws_max_queue=FRAMES_AHEAD,
            ws_per_message_deflate=False,
        )
        tell(f"serving {', '.join(taggers)} at {where}")
        signal.signal(signal.SIGTERM, _end)  # what uvicorn calls when all is finished
        uvicorn.Server(config).run(sockets=[listener])


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach an address.

    Args:
        host: an IP address.

    Returns:
        Whether it can.

    Examples:
        >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
        (True, True, False)
    """
    return ip_address(host).is_loopback


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=MOST_CONNECTIONS)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"nothing can listen at {host}:{port}: {reason.lower()}") from error


def _end(*_: object) -> None:
    """End without an error: the server has finished its work."""
