"""A cache's method that goes elsewhere or to a disk: counted by outcome, timed, and a span where wanted."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from time import perf_counter
from typing import Any, Final, NamedTuple

from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from spanwise import names
from spanwise.context import get_context, surely_observed
from spanwise.instrumentors._call import NO_CALL, Call
from spanwise.instrumentors._calls import Calls
from spanwise.instrumentors._traceback import passed_over
from spanwise.meters.cache import ERROR, GET, HIT, MISS, Caches, Cell, Tally

__all__ = ["CacheCalls", "Outcomes", "Target", "argument"]

_SAMPLE: Final = 0xFF  # of a cache in the process's memory, one lookup in 256 is timed

Outcomes = Callable[[Any, tuple[Any, ...], Mapping[str, Any], Any], "list[tuple[str, int]]"]
"""From the cache, its method's arguments and result: outcomes and counts, the one that is timed first."""


class Target(NamedTuple):
    """A cache as telemetry names it.

    Attributes:
        tally: its counts.
        spans: whether each call is a span.
        kind: of the spans.
        attributes: of spans, and labels of their duration.
    """

    tally: Tally
    spans: bool
    kind: SpanKind
    attributes: Mapping[str, AttributeValue]


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

    @passed_over
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
        target_of, inside, calls = self._target, self._inside, self._calls

        @functools.wraps(original)
        def wrapper(cache: Any, *args: Any, **named: Any) -> Any:
            if inside.get() or not calls.open or not surely_observed(get_context()):
                return original(cache, *args, **named)
            target = target_of(cache)
            if target is None:
                return original(cache, *args, **named)
            call = self._start(target, operation, command, lambda: batch(args, named) if batch else 0)
            token = inside.set(True)
            began = perf_counter()
            try:
                result = original(cache, *args, **named)
            except BaseException as error:
                answer = absent if isinstance(error, KeyError) else ""
                counted = [(answer or ERROR, 1)] if outcomes is not None else []
                self._end(target, operation, call, counted, perf_counter() - began, None if answer else error)
                raise
            finally:
                inside.reset(token)
            seconds = perf_counter() - began
            try:
                counted = outcomes(cache, args, named, result) if outcomes is not None else []
            except Exception as error:
                counted = []
                self._calls.warn("tell what became of an operation", error)
            self._end(target, operation, call, counted, seconds)
            return result

        return wrapper

    @passed_over
    def quick_get(
        self, original: Callable[..., Any], wrapped: Callable[..., Any], tally: Tally
    ) -> Callable[..., Any]:
        """A lookup in the process's memory: counted, and one in 256 is observed like any other.

        Args:
            original: the method, where None is a miss; it must call no other that is wrapped.
            wrapped: by :meth:`wrap`.
            tally: of all caches of its class.
        """
        asked = Cell()
        calls, inside, hit, miss, error = (
            self._calls,
            self._inside,
            tally.cell(GET, HIT),
            tally.cell(GET, MISS),
            tally.cell(GET, ERROR),
        )

        @functools.wraps(original)
        def get(cache: Any, *args: Any, **named: Any) -> Any:
            if inside.get() or not calls.open or not surely_observed(get_context()):
                return original(cache, *args, **named)
            number = asked.value
            asked.value = number + 1
            if not number & _SAMPLE:
                return wrapped(cache, *args, **named)
            try:
                value = original(cache, *args, **named)
            except Exception:
                error.value += 1
                raise
            if value is None:
                miss.value += 1
            else:
                hit.value += 1
            return value

        return get

    def _start(self, target: Target, operation: str, command: str, batch: Callable[[], int]) -> Call:
        if not target.spans:
            return NO_CALL
        if not command:
            attributes = {**target.attributes, names.CACHE_OPERATION_NAME: operation}
            return self._calls.start(f"{operation} {target.tally.name}", attributes, kind=target.kind)
        attributes = labels = {**target.attributes, names.DB_OPERATION_NAME: command}
        # What was given may be no collection at all, as the library will say.
        with contextlib.suppress(Exception):
            size = batch()
            if size > 1:
                attributes = {**labels, names.DB_OPERATION_BATCH_SIZE: size}
        return self._calls.start(command, attributes, kind=target.kind, metric_attributes=labels)

    def _end(
        self,
        target: Target,
        operation: str,
        call: Call,
        counted: list[tuple[str, int]],
        seconds: float,
        error: BaseException | None = None,
    ) -> None:
        """Tells how it ended. Never raises."""
        try:
            for position, (outcome, count) in enumerate(counted):
                self._caches.note(target.tally, operation, outcome, -1.0 if position else seconds, count)
            if call is not NO_CALL and counted and error is None:
                call.span.set_attribute(names.CACHE_OUTCOME, counted[0][0])
        except Exception as problem:
            self._calls.warn("tell what became of an operation", problem)
        if error is not None:
            call.fail(error, message="")  # its own may hold the key
        elif counted and counted[0][0] == ERROR:
            call.fail(None)
        else:
            call.end()


def argument(args: tuple[Any, ...], named: Mapping[str, Any], position: int, name: str) -> Any:
    """A call's argument by position or name; None where it was not given."""
    return args[position] if len(args) > position else named.get(name)
