"""The small API: what the OpenTelemetry API has no word for. Imports nothing before the first call.

Everything here can be used with ``with``, with ``async with``, and as a decorator of functions, coroutine
functions and generators of either sort. Before telemetry is configured it does nothing; it never raises, and
what the application raises passes unchanged. A wrong argument costs one warning.
"""

from __future__ import annotations

from spanwise.manual.controllers import Controllers
from spanwise.manual.nothing import imported

TYPE_CHECKING = False  # typing is not imported for it: every start of `spanwise run` would pay
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from opentelemetry.util.types import AttributeValue

    from spanwise.manual.circuits import Circuit
    from spanwise.manual.operations import Operation
    from spanwise.manual.preload import Preload
    from spanwise.manual.pressure import MemoryPressure, Reaction
    from spanwise.manual.streaming import Stream

__all__ = [
    "circuit",
    "controllers",
    "memory_pressure",
    "on_memory_pressure",
    "operation",
    "preload",
    "stream",
]

controllers = Controllers()
"""The controllers of this process."""


def operation(
    name: str | None = None,
    kind: str = "custom",
    *,
    component: str | None = None,
    plugin: str | None = None,
    attributes: Mapping[str, AttributeValue] | None = None,
) -> Operation:
    """An operation: a span with duration, CPU time, memory growth and errors, and metrics of all these.

    The metrics are ``spanwise.operation.duration`` (seconds; a failed one has ``error.type``),
    ``spanwise.operation.cpu.time`` (seconds) and ``spanwise.operation.memory.delta`` (bytes), by name, kind,
    component and plugin. The thresholds rate the span by its kind.

    Memory is the process's, so what other threads do meanwhile is in it. CPU time is that of the thread; in
    decorated coroutines and generators that of their own steps. ``async with`` tells none, since other tasks
    run meanwhile.

    Args:
        name: of low cardinality: it names the span and is on the metrics. As a decorator the function's
            name by default.
        kind: ``http``, ``external_api``, ``database``, ``ai_generation``, ``file``, ``auth``, ``custom``,
            ``system_resource``, ``plugin``, ``plugin.load``, ``component.render`` or ``component.action``.
        component: whose operation it is, for example the component that is rendered.
        plugin: the plugin that it belongs to.
        attributes: of the span only.

    Example:
        >>> import spanwise
        >>> with spanwise.operation("video generation", kind="ai_generation") as op:
        ...     op.add_metric("frames", 30, "{frame}")
        ...     op.set_attribute("format", "mp4")
        >>> @spanwise.operation(kind="component.render", component="Cart")
        ... def render(): ...
        >>> op = spanwise.operation("import").start()  # until op.stop() or op.fail(error)
    """
    made: Operation = _make("operations", "Operation", name, kind, component, plugin, attributes)
    return made


def preload(id: object = None, *, id_from: Callable[..., object] | None = None) -> Preload:  # noqa: A002
    """An item that is loaded ahead of its use, with its outcome: success, failure or time-out.

    Metrics: ``preload.events`` and ``preload.duration`` (seconds) by ``outcome``, ``preload.bytes``. A raised
    TimeoutError, of Python, requests, urllib3 or httpx, is a time-out, and so is a cancellation, which
    ``asyncio.wait_for`` makes of one; any other exception is a failure.

    Args:
        id: the item's; on the span, never on a metric.
        id_from: finds the id from a decorated function's arguments.

    Example:
        >>> import spanwise
        >>> with spanwise.preload("track-17") as item:
        ...     item.loaded(4096)
        >>> @spanwise.preload(id_from=lambda track: track)
        ... def load(track) -> bytes: ...  # the result's bytes are counted
        >>> spanwise.preload("track-18").record(success=False, duration=1.5, error="damaged")
    """
    made: Preload = _make("preload", "Preload", id, id_from)
    return made


def stream(
    id: object = None,  # noqa: A002
    *,
    id_from: Callable[..., object] | None = None,
    quality: str | None = None,
    format: str | None = None,  # noqa: A002
) -> Stream:
    """A stream: begun, under way, completed or failed; its waiting for data, bandwidth and bytes.

    Metrics: ``stream.started``, ``stream.active``, ``stream.completed``, ``stream.errors``,
    ``stream.duration``, ``stream.buffer.time`` (both in seconds), ``stream.buffer.ratio`` (a share from 0 to
    1), ``stream.bandwidth`` (bytes a second) and ``stream.bytes``. One that is closed or cancelled before its
    end, because the receiver goes away, is neither completed nor failed. A decorated generator's pieces are
    counted.

    Args:
        id: the stream's; on the span, never on a metric.
        id_from: finds the id from a decorated function's arguments.
        quality, format: of low cardinality: they are on the metrics.

    Example:
        >>> import spanwise
        >>> with spanwise.stream("track-17", format="mp3") as playing:
        ...     with playing.buffering():
        ...         piece = b"..."  # read: the receiver waits for it
        ...     playing.sent(len(piece))
    """
    made: Stream = _make("streaming", "Stream", id, id_from, quality, format)
    return made


def circuit(name: str) -> Circuit:
    """A circuit breaker that no instrumentor knows. All objects of one name stand for one breaker.

    Tell it what the breaker does, with ``trip(reason)``, ``half_open()``, ``closed()`` and ``rejected()``. In
    a ``with`` statement or as a decorator it counts a call that was let through as succeeded or failed.

    Args:
        name: of low cardinality: what the breaker protects.

    Example:
        >>> import spanwise
        >>> spanwise.circuit("payments").trip("5 failures in a row", backoff=30)
    """
    made: Circuit = _make("circuits", "Circuit", name)
    return made


def memory_pressure() -> MemoryPressure:
    """What is done about too much memory: bytes before and after, controllers given up.

    Metrics: ``memory.pressure.events``, ``memory.pressure.before`` (bytes) and ``memory.pressure.disposed``
    (controllers: by how many fewer ``spanwise.controllers`` has at the end, or what ``disposed(n)`` says).

    Example:
        >>> import spanwise
        >>> with spanwise.memory_pressure() as pressure:
        ...     pressure.disposed(3)
        >>> spanwise.memory_pressure().record(before_mb=512, controllers_disposed=3)  # measured elsewhere
    """
    made: MemoryPressure = _make("pressure", "MemoryPressure")
    return made


def on_memory_pressure(
    limit_mb: float,
    hook: Callable[[float], Any] | None = None,
    *,
    falls_below_mb: float | None = None,
) -> Reaction:
    """Has a function called when the process's memory rises above a limit, and recorded as memory pressure.

    It is called once for each crossing, within a second or so, on a thread of its own: no request waits for
    it, and one that hangs or raises stops neither the watch nor another hook. A coroutine function runs in an
    event loop of its own.

    Args:
        limit_mb: megabytes (10⁶ bytes) of resident memory.
        hook: gets the megabytes in use. If it returns a whole number, that is how many controllers it gave
            up. Left out where this decorates it.
        falls_below_mb: below this, memory is taken to have fallen, and the next crossing counts; 90 % of the
            limit by default, so that a figure which wavers around the limit does not call again and again.

    Returns:
        What decorates the hook; ``cancel()`` ends the watch.

    Example:
        >>> import spanwise
        >>> @spanwise.on_memory_pressure(500)
        ... def free(used_mb): ...
    """
    made: Reaction = _make("pressure", "Reaction", limit_mb, hook, falls_below_mb)
    return made


def _make(module: str, name: str, *arguments: Any) -> Any:
    first = arguments[0] if arguments else None
    if callable(first):
        # Written without brackets the decorator gets the function here, and the application needs it back.
        from spanwise.manual.told import shown, tell

        try:
            called = first.__qualname__
        except Exception:
            called = shown(first)
        tell(f"@spanwise.… on {called} needs brackets and its arguments: see help(spanwise); not observed")
        return first
    return imported(module, name, *arguments)
