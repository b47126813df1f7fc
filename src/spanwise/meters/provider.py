"""The meter provider: the SDK's, whose synchronous instruments record the quick way."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opentelemetry.metrics import Meter
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
from opentelemetry.util.types import Attributes

from spanwise import names
from spanwise.log import Log
from spanwise.meters import sdk_reservoirs, sdk_shape
from spanwise.meters.observed import guarded, limit_sets
from spanwise.meters.recording import Recording

__all__ = ["MeterProvider"]

_logger = Log("spanwise.meters")


class MeterProvider(SdkMeterProvider):
    """See `opentelemetry.sdk.metrics.MeterProvider`: the same arguments, views, readers and results.

    Differences: amounts are checked and added up when a reader collects, so that its warnings come then; an
    instrument has at most 2,000 sets of attributes, the rest is counted as ``otel.metric.overflow``. With
    another version of the SDK than this was written for, or an exemplar filter that is not one of the SDK's
    "trace_based" and "always_off", instruments record the SDK's way.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # First: readers make instruments of their own while the provider is made.
        self._recordings: list[Recording] = []
        #: Whether a meter was asked for that is not about the process itself.
        self.measured = False
        super().__init__(*args, **kwargs)
        # A reader's collection asks the observable instruments first. This one observes nothing: it has all
        # that waits added up, for any reader. As the last, since what others' callbacks add counts too.
        if sdk_shape.SHAPE_HOLDS:
            sdk_shape.call_last(self._measurement_consumer, _Folding(self._recordings))
            sdk_shape.register_at_once(self._measurement_consumer)

    def get_meter(
        self,
        name: str,
        version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> Meter:
        # The SDK answers any name, also one that cannot be looked up.
        if not isinstance(name, str) or name not in names.SCOPES_OF_THE_PROCESS:
            self.measured = True
        meter: Any = super().get_meter(name, version, schema_url, attributes)
        if sdk_shape.SHAPE_HOLDS and type(meter) is sdk.Meter:
            _Meter.of(meter, self)
        made: Meter = meter
        return made

    def _quicken(self, instrument: Any, method: str) -> None:
        """Has an instrument's method record the quick way."""
        exemplars = sdk_reservoirs.takes_exemplars(self)
        if exemplars is None or method in vars(instrument):
            return
        recording = Recording(instrument, method, self._measurement_consumer, exemplars=exemplars)
        # On the instrument, not in a class of its own: readers look its class up.
        setattr(instrument, method, recording.measure)
        self._recordings.append(recording)

    def _handle_fork(self) -> None:
        super()._handle_fork()
        # Else the child's first collection may wait for ever, and with it the one thread that delivers.
        if sdk_shape.SHAPE_HOLDS:
            sdk_shape.renew_locks(self)
        for recording in self._recordings:
            recording.reset()


class _Meter(sdk.Meter):
    """The SDK's meter, whose instruments are quickened as they are made."""

    _provider: MeterProvider

    @staticmethod
    def of(meter: Any, provider: MeterProvider) -> None:
        """Makes a meter one of this class: the SDK has no way to say which class its meters are of."""
        meter.__class__ = _Meter
        meter._provider = provider

    def create_counter(self, *args: Any, **kwargs: Any) -> Any:
        return self._quick(super().create_counter(*args, **kwargs), "add")

    def create_up_down_counter(self, *args: Any, **kwargs: Any) -> Any:
        return self._quick(super().create_up_down_counter(*args, **kwargs), "add")

    def create_histogram(self, *args: Any, **kwargs: Any) -> Any:
        return self._quick(super().create_histogram(*args, **kwargs), "record")

    def create_gauge(self, *args: Any, **kwargs: Any) -> Any:
        return self._quick(super().create_gauge(*args, **kwargs), "set")

    def create_observable_counter(self, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = _guarded(args, kwargs)
        return limit_sets(super().create_observable_counter(*args, **kwargs))

    def create_observable_up_down_counter(self, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = _guarded(args, kwargs)
        return limit_sets(super().create_observable_up_down_counter(*args, **kwargs))

    def create_observable_gauge(self, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = _guarded(args, kwargs)
        return limit_sets(super().create_observable_gauge(*args, **kwargs))

    def _quick(self, instrument: Any, method: str) -> Any:
        with self._instrument_registration_lock:
            self._provider._quicken(instrument, method)
        return instrument

    def _set_meter_config(self, meter_config: Any) -> None:
        super()._set_meter_config(meter_config)
        for recording in self._provider._recordings:
            recording.forget()


def _guarded(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of an observable instrument, whose second one is the callbacks."""
    name = args[0] if args else kwargs.get("name")
    if len(args) > 1:
        return (name, guarded(name, args[1]), *args[2:]), kwargs
    if "callbacks" in kwargs:
        kwargs["callbacks"] = guarded(name, kwargs["callbacks"])
    return args, kwargs


class _Folding:
    """Stands among the observable instruments."""

    def __init__(self, recordings: list[Recording]) -> None:
        self._recordings = recordings

    def callback(self, _: Any) -> Iterable[Any]:
        for recording in list(self._recordings):
            try:
                recording.fold()
            except Exception:
                # Raised here, it would end the collection of all else.
                _logger.exception("measurements could not be added up; please report this")
        return ()
