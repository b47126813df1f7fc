"""What is logged of a destination's answers: that it is away and back, and each kind of loss once."""

from __future__ import annotations

from _thread import allocate_lock
from urllib.parse import urlsplit

from spanwise.deliver.answer import AFTER_FORK
from spanwise.log import Log
from spanwise.values import without_secrets

__all__ = ["Outages", "Reports", "server_of"]

_logger = Log("spanwise.deliver")


_CONSOLE_PORT = 4318
# The names of errors that tell nobody what is wrong.
_PLAIN = {
    "gaierror": "the host's name is not known",
    "UnicodeError": "that is no host's name",
    "SSLCertVerificationError": "its certificate is not trusted; OTEL_EXPORTER_OTLP_CERTIFICATE can name"
    " a file of authorities that are",
    "TimeoutError": "it does not answer in time",
}
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


def server_of(address: str) -> str:
    """Scheme, host and port of an address, as a warning names it: the same for all signals, and no secret."""
    scheme, separator, rest = without_secrets(address).partition("://")
    return f"{scheme}{separator}{rest.partition('/')[0]}"


class Outages:
    """Which signals cannot be delivered to a server: one line tells it of all that fail for one reason."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """None is away. In a forked child, too, where another thread may have held the lock."""
        self._lock = allocate_lock()
        self._away: dict[str, tuple[str, bool]] = {}  # by signal: why, and whether that was told

    def begins(self, what: str, reason: str) -> bool:
        """A signal cannot be delivered, still or again; tells whether that is to be told."""
        with self._lock:
            _, told = self._away.get(what, (reason, False))
            by_another = any(each == (reason, True) for signal, each in self._away.items() if signal != what)
            self._away[what] = (reason, told or not by_another)
            return not told and not by_another

    def ends(self, what: str) -> bool:
        """A signal is delivered; tells whether it was told that it was not."""
        with self._lock:
            return self._away.pop(what, ("", False))[1]


class Reports:
    """The warnings of one channel. Once a reason: a warning is itself a log record, which the same server
    would refuse.

    Args:
        what: its items, in the plural.
        address: the destination.
        outages: shared with the other signals that go to the same server.
        protocol: ``http`` or ``grpc``.
    """

    def __init__(
        self, what: str, address: str, outages: Outages | None = None, protocol: str = "http"
    ) -> None:
        self._protocol = protocol
        self._what = what
        self._server = server_of(address)
        self._address = without_secrets(address)
        self._outages = outages or Outages()
        self.reset()

    def reset(self) -> None:
        """Nothing was told yet."""
        self._outages.reset()
        self._reasons: set[str] = set()

    def away(self, reason: str) -> None:
        """Nothing can be delivered now."""
        if reason == AFTER_FORK:
            return  # which was told, with what to do; at the destination nothing is wrong
        if self._outages.begins(self._what, reason):
            _logger.warning(
                "%s cannot be delivered to %s (%s). They wait, as all that goes there, and are tried again. "
                "Check the destination, or set OTEL_EXPORTER_OTLP_ENDPOINT%s",
                self._what,
                self._server,
                _PLAIN.get(reason, reason),
                _console(self._server, self._protocol),
            )

    def delivered(self) -> None:
        """The destination took something."""
        if self._outages.ends(self._what):
            _logger.warning("%s are delivered to %s again", self._what, self._server)

    def gave_up(self, lost: int, attempts: int, reason: str) -> None:
        """A request failed too often."""
        if self._first(reason):
            _logger.warning(
                "%d %s could not be delivered to %s in %d attempts (%s): they and later ones like them are "
                "dropped, and counted. Others go ahead",
                lost,
                self._what,
                self._address,
                attempts,
                reason,
            )

    def refused(self, lost: int, reason: str) -> None:
        """The destination will not take it.

        Args:
            lost: how many; 0 for a part of what is counted as one.
            reason: its status.
        """
        if not lost and self._first(reason):
            _logger.warning(
                "%s refused a part of the %s (%s): it and later ones like it are dropped",
                self._address,
                self._what,
                reason,
            )
        elif lost and self._first(reason):
            _logger.warning(
                "%s refused %d %s (%s): they and later ones like them are dropped, and counted",
                self._address,
                lost,
                self._what,
                reason,
            )

    def rejected(self, lost: int, of: int, words: str) -> None:
        """The destination took the request, but not all in it."""
        if lost and self._first("rejected"):
            _logger.warning("%s rejected %d of %d %s: %s", self._address, lost, of, self._what, words or "-")

    def failed(self) -> None:
        """A sender raised, which it never should; called while that is handled."""
        _logger.seldom("sending to %s failed unexpectedly; please report this", self._address, exc_info=True)

    def _first(self, reason: str) -> bool:
        known = reason in self._reasons
        self._reasons.add(reason)
        return not known


def _console(server: str, protocol: str) -> str:
    """What can be started on this machine to receive what goes to it; empty for a server elsewhere."""
    parts = urlsplit(server)
    if parts.hostname not in _THIS_MACHINE or parts.scheme.lower() != "http":
        return ""
    if protocol != "http":
        return (
            ". To receive it here, run: spanwise console, and set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf,"
            " since it takes no gRPC"
        )
    port = f" --port {parts.port}" if parts.port not in (None, _CONSOLE_PORT) else ""
    return f". To receive it here, run: spanwise console{port}"
