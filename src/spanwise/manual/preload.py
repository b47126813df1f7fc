"""Loading ahead."""

from __future__ import annotations

from typing import Final

from opentelemetry.trace import SpanKind

from spanwise import names
from spanwise.instrumentors._call import NO_CALL, Call
from spanwise.manual.items import Identified, is_cancelled, is_timeout, size_of
from spanwise.manual.parts import parts
from spanwise.manual.told import guarded, is_amount, shown, tell, text
from spanwise.meters.preload import FAILURE, SUCCESS, TIMEOUT

__all__ = ["Preload"]

_NAME: Final = "preload"
_TIMED_OUT: Final = "timeout"


class Preload(Identified):
    """See :func:`spanwise.preload`, which makes them."""

    what = "preload"

    def _reset(self) -> None:
        super()._reset()
        self._size = 0
        self._timed_out = False

    def loaded(self, size: int) -> None:
        """Adds bytes. A decorated function's result is counted by itself, where it is bytes or text.

        Args:
            size: how many more, not negative.
        """
        if not (is_amount(size) and isinstance(size, int)):
            tell(f"a preload's size is a number of bytes, not {shown(size)}; it is not counted")
            return
        self._size += size

    def time_out(self) -> None:
        """Ends it as having taken too long. A TimeoutError or a cancellation does the same by itself."""
        self._timed_out = True
        self._end(None, True)

    def record(
        self,
        success: bool,
        duration: float,
        error: BaseException | str | None = None,
        size: int = 0,
    ) -> None:
        """Records an item whose loading was timed elsewhere and ended now.

        Not for one that is under way: that times itself, and costs one warning here.

        Args:
            success: whether it was loaded.
            duration: seconds, not negative.
            error: what was raised, or a text that says what went wrong.
            size: bytes.
        """
        guarded("record a preload", self._record, success, duration, error, size)

    def _record(self, success: object, duration: float, error: BaseException | str | None, size: int) -> None:
        if not is_amount(duration):
            raise ValueError(f"its duration is {shown(duration)}: give seconds from 0 on")
        item = self._recorded()
        item.loaded(size)
        item._call = item._started(round(duration * 1e9))
        raised = error if isinstance(error, BaseException) else None
        item._finish(raised, not success, "" if error is None or raised is not None else text(error))

    def _started(self, took: int | None = None) -> Call:
        attributes = {names.OPERATION_KIND: _NAME, names.PRELOAD_ID: self._id}
        return parts().preload_calls.start(
            _NAME, attributes, kind=SpanKind.INTERNAL, metric_attributes={}, took=took
        )

    def _begin(self) -> None:
        self._call = self._started()

    def _result(self, result: object) -> None:
        if not self._size:
            self._size = size_of(result)

    def _finish(self, error: BaseException | None, failed: bool, message: str) -> None:
        call = self._call
        if call is NO_CALL:
            return
        # Cancelled is what `asyncio.wait_for` and `asyncio.timeout` make of it: who waited has given up.
        timed_out = self._timed_out or is_timeout(error) or is_cancelled(error)
        outcome = SUCCESS if not failed else TIMEOUT if timed_out else FAILURE
        if self._size:
            call.span.set_attribute(names.PRELOAD_SIZE, self._size)
        if failed:
            code = _TIMED_OUT if timed_out and error is None else ""
            call.fail(
                error,
                error_type=code,
                message=message or None,
                attributes={names.PRELOAD_OUTCOME: outcome},
            )
        else:
            call.span.set_attribute(names.PRELOAD_OUTCOME, outcome)
            call.end({names.PRELOAD_OUTCOME: outcome})
        parts().preloads.record(outcome, self._size)
