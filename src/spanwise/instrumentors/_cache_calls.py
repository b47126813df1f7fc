"""A cache's method that goes elsewhere or to a disk: counted by outcome, timed, and a span where wanted."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from time import perf_counter
from typing import Any, Final, NamedTuple

from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from spanwise import names
from spanwise.context import SUPPRESSION_KEYS, get_context
from spanwise.instrumentors._call import NO_CALL, Call, Calls
from spanwise.meters.cache import ERROR, Caches, Tally

__all__ = ["CacheCalls", "Outcomes", "Target", "argument"]

_SUPPRESSED: Final = frozenset(SUPPRESSION_KEYS)
_SAMPLE: Final = 0xFF  # of a cache in the process's memory, one operation in 256 is timed

Outcomes = Callable[[Any, tuple[Any, ...], Mapping[str, Any], Any], "list[tuple[str, int]]"]
"""From the cache, its method's arguments and result: outcomes and counts, the one that is timed first."""


class Target(NamedTuple):
    """A cache as telemetry names it.

    Attributes:
        tally: its counts.
        spans: whether each call is a span.
        kind: of the spans.
        attributes: of spans, and labels of their duration.
        in_memory: whether only one call in 256 is timed.
    """

    tally: Tally
    spans: bool
    kind: SpanKind
    attributes: Mapping[str, AttributeValue]
    in_memory: bool = False


class CacheCalls:
    """Wraps methods.

    Args:
        calls: makes the spans.
        caches: what is counted goes there.
        target: of a cache; None for one that is not observed.
    """

    def __init__(self, calls: Calls, caches: Caches, target: Callable[[Any], Target | None]) -> None:
        self._calls, self._caches, self._target = calls, caches, target
        # A method may call another one of the same cache: the outer one is what was asked for.
        self._inside: ContextVar[bool] = ContextVar("spanwise.cache", default=False)

    def wrap(
        self,
        original: Callable[..., Any],
        operation: str,
        outcomes: Outcomes | None,
        *,
        command: str = "",
        batch: Callable[[tuple[Any, ...], Mapping[str, Any]], int] | None = None,
        absent: str = "",
    ) -> Callable[..., Any]:
        """A method, observed.

        Args:
            original: the method.
            operation: as counted.
            outcomes: what became of a call; None where nothing is counted.
            command: the database's operation, where the cache is one.
            batch: the number of keys in a call's arguments.
            absent: what a KeyError means; without, it is a failure like any other.
        """
        target_of, caches, warn, inside = self._target, self._caches, self._calls.warn, self._inside

        @functools.wraps(original)
        def wrapper(cache: Any, *args: Any, **named: Any) -> Any:
            if inside.get() or not _SUPPRESSED.isdisjoint(get_context()):
                return original(cache, *args, **named)
            target = target_of(cache)
            if target is None:
                return original(cache, *args, **named)
            call = self._start(target, operation, command, batch(args, named) if batch else 0)
            token = inside.set(True)
            began = perf_counter()
            try:
                result = original(cache, *args, **named)
            except BaseException as error:
                seconds = perf_counter() - began
                answer = absent if isinstance(error, KeyError) else ""
                if outcomes is not None:
                    caches.note(target.tally, operation, answer or ERROR, seconds)
                if answer:
                    call.end()
                else:
                    # The message may hold the key.
                    call.fail(error, message="")
                raise
            finally:
                inside.reset(token)
            seconds = perf_counter() - began
            try:
                found = outcomes(cache, args, named, result) if outcomes is not None else []
                self._end(target, operation, call, found, seconds)
            except Exception as error:
                call.end()
                warn("tell what became of an operation", error)
            return result

        return wrapper

    def _start(self, target: Target, operation: str, command: str, batch: int) -> Call:
        if not target.spans:
            return NO_CALL
        if command:
            labels = {**target.attributes, names.DB_OPERATION_NAME: command}
            attributes = {**labels, names.DB_OPERATION_BATCH_SIZE: batch} if batch > 1 else labels
            return self._calls.start(command, attributes, kind=target.kind, metric_attributes=labels)
        attributes = {**target.attributes, names.CACHE_OPERATION_NAME: operation}
        return self._calls.start(f"{operation} {target.tally.name}", attributes, kind=target.kind)

    def _end(
        self, target: Target, operation: str, call: Call, found: list[tuple[str, int]], seconds: float
    ) -> None:
        for position, (outcome, count) in enumerate(found):
            timed = position == 0
            if target.in_memory and timed:
                timed = not target.tally.cell(operation, outcome).value & _SAMPLE
            self._caches.note(target.tally, operation, outcome, seconds if timed else -1.0, count)
        if call is NO_CALL:
            return
        if found:
            call.span.set_attribute(names.CACHE_OUTCOME, found[0][0])
        if found and found[0][0] == ERROR:
            call.fail(None)
        else:
            call.end()


def argument(args: tuple[Any, ...], named: Mapping[str, Any], position: int, name: str) -> Any:
    """A call's argument by position or name; None where it was not given."""
    return args[position] if len(args) > position else named.get(name)
