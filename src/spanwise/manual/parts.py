"""The tracer and the meters of the small API, one set a process."""

from __future__ import annotations

from typing import Any, Final

from opentelemetry.metrics import get_meter, get_meter_provider
from opentelemetry.trace import get_tracer

from spanwise import names
from spanwise.instrumentors._calls import Calls
from spanwise.instrumentors._failure import message_of, type_name
from spanwise.log import Log
from spanwise.manual.told import tell
from spanwise.meters.controllers import ControllerMeter
from spanwise.meters.locks import ForkLock
from spanwise.meters.memory import PressureMeter
from spanwise.meters.operations import OperationMeter
from spanwise.meters.preload import PreloadMeter
from spanwise.meters.streaming import StreamMeter

__all__ = ["Parts", "parts"]

_API: Final = "opentelemetry.metrics"

_logger = Log("spanwise")


class _ManualCalls(Calls):
    """Calls that the application marks: there is no instrumentation to switch off."""

    __slots__ = ()

    def warn(self, doing: str, error: BaseException) -> None:
        tell(
            f"could not {doing} ({type_name(error)}: {message_of(error)}); the application is not affected, "
            "but telemetry is missing. Please report this"
        )


class Parts:
    """What the faces of the API record with.

    Before telemetry is configured these are the OpenTelemetry API's proxies: nothing is recorded, and all is
    from then on.

    Args:
        tracer_provider, meter_provider: the global ones by default.
    """

    def __init__(self, tracer_provider: Any = None, meter_provider: Any = None) -> None:
        tracer = get_tracer(names.SCOPE_MANUAL, tracer_provider=tracer_provider)
        meter = get_meter(names.SCOPE_MANUAL, meter_provider=meter_provider)
        self._measures = meter_provider is not None
        self.operations = OperationMeter(meter)
        self.preloads = PreloadMeter(meter)
        self.controllers = ControllerMeter(meter)
        self.streams = StreamMeter(meter)
        self.pressure = PressureMeter(meter)
        self.operation_calls: Calls = _ManualCalls("operation", tracer, self.operations.duration)
        self.preload_calls: Calls = _ManualCalls("preload", tracer, self.preloads.duration)
        self.stream_calls: Calls = _ManualCalls("stream", tracer, self.streams.duration)
        self.pressure_calls: Calls = _ManualCalls("memory pressure", tracer)

    def measures(self) -> bool:
        """Whether metrics are recorded: not before telemetry is configured, nor where it has none."""
        if not self._measures:
            # Until one is set the API gives one of its own, and has no other way to say so.
            self._measures = not type(get_meter_provider()).__module__.startswith(_API)
        return self._measures


_lock: Final = ForkLock()
_made: Parts | None = None


def parts() -> Parts:
    """The process's, made on the first call."""
    global _made
    if _made is None:
        with _lock:
            if _made is None:
                _made = Parts()
    return _made
