"""What is logged of a destination's answers: that it is away and back, and each kind of loss once."""

from __future__ import annotations

from spanwise.log import Log

__all__ = ["Reports"]

_logger = Log("spanwise.deliver")


class Reports:
    """The warnings of one channel. Once a reason: a warning is itself a log record, which the same server
    would refuse.

    Args:
        what: its items, in the plural.
        address: the destination as a warning names it.
    """

    def __init__(self, what: str, address: str) -> None:
        self._what = what
        self._address = address
        self.reset()

    def reset(self) -> None:
        """Nothing was told yet."""
        self._away = False
        self._reasons: set[str] = set()

    def away(self, reason: str) -> None:
        """Nothing can be delivered now."""
        if not self._away:
            self._away = True
            _logger.warning(
                "%s cannot be delivered to %s (%s). They wait and are tried again. "
                "Check the destination, or set OTEL_EXPORTER_OTLP_ENDPOINT",
                self._what,
                self._address,
                reason,
            )

    def delivered(self) -> None:
        """The destination took something."""
        if self._away:
            self._away = False
            _logger.warning("%s are delivered to %s again", self._what, self._address)

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
        """The destination will not take it."""
        if lost and self._first(reason):
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
