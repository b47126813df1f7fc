"""Operations: anything the application wants to see as a span, with what it cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from threading import get_ident
from time import thread_time_ns
from typing import Any, Final, TypeVar

from opentelemetry.util.types import AttributeValue

from spanwise import names
from spanwise.instrumentors._call import NO_CALL
from spanwise.manual.kinds import kind_of
from spanwise.manual.measured import Measured
from spanwise.manual.parts import parts
from spanwise.manual.told import guarded, shown, tell, text
from spanwise.meters.resident import resident_bytes

__all__ = ["Operation"]

Self = TypeVar("Self", bound="Operation")

# Attributes that operations have: by some of them they are rated, and a figure would take their place.
_OURS: Final = frozenset(
    (
        names.OPERATION_NAME,
        names.OPERATION_KIND,
        names.OPERATION_COMPONENT,
        names.OPERATION_PLUGIN,
        names.OPERATION_MEMORY_DELTA.name,
        names.OPERATION_CPU_TIME.name,
        names.OPERATION_DURATION.name,
        names.ERROR_TYPE,
    )
)


class Operation(Measured):
    """See :func:`spanwise.operation`, which makes them."""

    what = "operation"

    def __init__(
        self,
        name: object,
        kind: object,
        component: str | None,
        plugin: str | None,
        attributes: Mapping[str, AttributeValue] | None,
    ) -> None:
        super().__init__()
        self._kind, self._span_kind = kind_of(kind)
        self._labels: dict[str, AttributeValue] = {names.OPERATION_KIND: self._kind}
        if component is not None:
            self._labels[names.OPERATION_COMPONENT] = text(component)
        if plugin is not None:
            self._labels[names.OPERATION_PLUGIN] = text(plugin)
        self._attributes: Mapping[str, AttributeValue] = {}
        if attributes is not None:
            try:
                self._attributes = dict(attributes)
            except (TypeError, ValueError):
                tell(f"attributes of an operation are a mapping of names to values, not {shown(attributes)}")
        self._name = "" if name is None else text(name)
        self._said = dict(self._labels)

    def _reset(self) -> None:
        super()._reset()
        self._costs = False  # whether anybody is told what it costs: finding out takes 10 µs
        self._cpu = 0
        self._since: int | None = None
        self._thread = 0
        self._cpu_known = True
        self._before: int | None = None

    def _take(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if not self._name:
            inner = function.func if isinstance(function, partial) else function
            self._name = getattr(inner, "__qualname__", None) or type(inner).__qualname__

    def _begin(self) -> None:
        if not self._name:
            self._name = str(self._labels.get(names.OPERATION_COMPONENT) or self.what)
        self._said = {names.OPERATION_NAME: self._name, **self._labels}
        self._call = parts().operation_calls.start(
            self._name,
            {**self._said, **self._attributes},
            kind=self._span_kind,
            metric_attributes=self._said,
        )
        self._costs = self._call is not NO_CALL and (self._call.span.is_recording() or parts().measures())
        if self._costs:
            self._before = resident_bytes()

    def _clock(self, on: bool) -> None:
        if not self._costs:
            return
        if on:
            self._thread, self._since = get_ident(), thread_time_ns()
        elif self._since is not None:
            # Begun on one thread and ended on another: neither's clock tells.
            if self._thread == get_ident():
                self._cpu += thread_time_ns() - self._since
            else:
                self._cpu_known = False
            self._since = None

    def _finish(self, error: BaseException | None, failed: bool, message: str) -> None:
        call = self._call
        if call is NO_CALL:
            return
        try:
            if not self._costs:
                return
            grown = None if self._before is None else resident_bytes() - self._before
            cpu = self._cpu / 1e9 if self._cpu_known else None
            span = call.span
            if grown is not None:
                span.set_attribute(names.OPERATION_MEMORY_DELTA.name, grown)
            if cpu is not None:
                span.set_attribute(names.OPERATION_CPU_TIME.name, cpu)
            parts().operations.record(cpu, grown, self._said)
        finally:
            if failed:
                call.fail(error, message=message or None)
            else:
                call.end()

    async def __aenter__(self: Self) -> Self:
        entered = self.__enter__()
        # Other tasks run on this thread meanwhile, and their time cannot be told from this one's.
        entered._cpu_known = False
        return entered

    def add_metric(self, name: str, value: float, unit: str = "") -> None:
        """Adds a figure: an attribute of the span, and a histogram of this name.

        The histogram has the operation's name, kind, component and plugin as attributes. A figure that cannot
        be used costs one warning.

        Args:
            name: of low cardinality: letters, digits and ``_ . / -``, beginning with a letter.
            value: a finite number, not negative.
            unit: UCUM unit such as ``By``, ``s`` or ``{frame}``.
        """
        guarded(f"add the metric {shown(name)}", self._add_metric, name, value, unit)

    def _add_metric(self, name: Any, value: Any, unit: Any) -> None:
        if not self._running:
            raise ValueError("the operation is not under way. Add metrics between its start and its end")
        if not isinstance(name, str) or not isinstance(unit or "", str):
            raise ValueError("its name and its unit must be texts")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{shown(value)} is no number")
        if self._call is NO_CALL:
            return
        if name in _OURS:
            raise ValueError("the name is one of spanwise's own. Use another")
        parts().operations.add(name, value, unit or "", self._said)
        self._call.span.set_attribute(name, value)
