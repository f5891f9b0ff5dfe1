"""Events by MQTT, as Home Assistant and others read them."""

from contextlib import suppress
from pathlib import Path

from audiomamba.errors import ConfigError, MissingDependencyError
from audiomamba.infer.formats.text import json_line
from audiomamba.serve.watch.events_file import Row

__all__ = ["Broker"]

PORT = 1883
MOST_QUEUED = 10_000  # while the broker cannot be reached
LAST_WORDS_S = 5.0


class Broker:
    """Publishes events; while the broker cannot be reached, they wait.

    Args:
        address: HOST or HOST:PORT.
        topic: what the events are published as.
        login: a file with USER:PASSWORD; None for no login.

    Raises:
        ConfigError: the address or the file is not what it should be.
        MissingDependencyError: paho-mqtt is not installed.
    """

    def __init__(self, address: str, topic: str, login: Path | None = None) -> None:
        try:
            from paho.mqtt import client as mqtt
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError as error:
            raise MissingDependencyError("paho-mqtt", "watch", "publishing by MQTT") from error
        host, _, port = address.partition(":")
        if not host or not (port or str(PORT)).isdecimal():
            raise ConfigError(f"--mqtt {address!r} is not understood; expected HOST or HOST:PORT")
        self._topic = topic
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.max_queued_messages_set(MOST_QUEUED)
        if login is not None:
            self._client.username_pw_set(*_login_in(login))
        self._client.connect_async(host, int(port or PORT))
        self._client.loop_start()
        self._last: mqtt.MQTTMessageInfo | None = None

    def publish(self, row: Row) -> None:
        """Publish an event, now or when the broker can be reached.

        Args:
            row: the event's line.
        """
        self._last = self._client.publish(self._topic, json_line(row).strip(), qos=1)

    def close(self) -> None:
        """Wait a moment for the last event, and end."""
        if self._last is not None and self._client.is_connected():
            with suppress(RuntimeError, ValueError):  # it was not even queued
                self._last.wait_for_publish(LAST_WORDS_S)
        self._client.disconnect()
        self._client.loop_stop()


def _login_in(file: Path) -> tuple[str, str]:
    try:
        user, colon, password = file.read_text("utf-8").strip().partition(":")
    except (OSError, UnicodeDecodeError) as error:
        reason = (getattr(error, "strerror", None) or "no UTF-8 text").lower()
        raise ConfigError(f"--mqtt-login {file}: {reason}") from error
    if not colon:
        raise ConfigError(f"--mqtt-login {file}: expected USER:PASSWORD in it")
    return user, password
