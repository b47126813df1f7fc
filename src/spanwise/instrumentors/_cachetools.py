"""The methods of cachetools' classes, with what they count: see :mod:`spanwise.instrumentors.cachetools`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from spanwise import names
from spanwise.context import get_context, surely_observed
from spanwise.instrumentors._call import Call
from spanwise.instrumentors._calls import Calls
from spanwise.instrumentors._traceback import passed_over
from spanwise.meters.cache import (
    ABSENT,
    DELETE,
    DELETED,
    ERROR,
    EXPIRED,
    GET,
    HIT,
    MISS,
    REFUSED,
    SET,
    STORED,
    Caches,
    Tally,
)

__all__ = ["Method", "Methods", "Record", "traced", "traced_contains"]

_SAMPLE: Final = 0xFF
"""One lookup in 256 is timed: a duration costs three times as much as a hit, so 0.01 µs on average."""

Method = Callable[..., Any]


class Record:
    """What is known of one cache.

    Attributes:
        owner: the cache, weakly.
        tally: its counts; the others are cells of it.
        inside: above 0 while the cache does something within itself.
        asked: lookups of entries.
        popped: calls of popitem().
        ages: whether its entries expire.
        makes: whether a subclass makes up what is missing.
        named: after a function.
    """

    __slots__ = (
        "ages",
        "asked",
        "error",
        "expired",
        "hit",
        "inside",
        "makes",
        "miss",
        "named",
        "owner",
        "popped",
        "stored",
        "tally",
    )

    def __init__(self, owner: Any, tally: Tally, *, ages: bool, makes: bool) -> None:
        self.owner, self.ages, self.makes = owner, ages, makes
        self.asked = self.inside = self.popped = 0
        self.named = False
        self.count_as(tally)

    def count_as(self, tally: Tally) -> None:
        """Counts into these from now on."""
        self.tally = tally
        self.hit, self.miss = tally.cell(GET, HIT), tally.cell(GET, MISS)
        self.expired, self.error = tally.cell(GET, EXPIRED), tally.cell(GET, ERROR)
        self.stored = tally.cell(SET, STORED)


class Methods:
    """Wraps each method.

    Args:
        records: by the caches' identity.
        adopt: makes the record of a cache that has none.
        stores: tells whether an entry is in a cache, however old.
        caches: what is counted goes there.
    """

    def __init__(
        self,
        records: dict[int, Record],
        adopt: Callable[[Any], Record],
        stores: Callable[[Any, Any], bool],
        caches: Caches,
    ) -> None:
        self._records, self._adopt, self._stores, self._caches = records, adopt, stores, caches

    # -- lookups -------------------------------------------------------------------------------

    @passed_over
    def getitem(self, original: Method) -> Method:
        records, adopt, timed, failed = self._records, self._adopt, self._timed, self._failed

        @functools.wraps(original)
        def getitem(cache: Any, key: Any, *args: Any, **named: Any) -> Any:
            record = records.get(id(cache)) or adopt(cache)
            if record.inside or not surely_observed(get_context()):
                return original(cache, key, *args, **named)
            # What __missing__() makes up is a miss: asking for the key counts it.
            if record.makes and key not in cache:
                return original(cache, key, *args, **named)
            number = record.asked
            record.asked = number + 1
            if not number & _SAMPLE:
                return timed(record, original, cache, key, *args, **named)
            try:
                value = original(cache, key, *args, **named)
            except Exception as error:
                failed(record, cache, key, error)
                raise
            record.hit.value += 1
            return value

        return getitem

    @passed_over
    def _timed(self, record: Record, original: Method, cache: Any, key: Any, *args: Any, **named: Any) -> Any:
        began = perf_counter()
        try:
            value = original(cache, key, *args, **named)
        except Exception as error:
            seconds = perf_counter() - began
            self._caches.time(record.tally, GET, self._failed(record, cache, key, error), seconds)
            raise
        self._caches.note(record.tally, GET, HIT, perf_counter() - began)
        return value

    @passed_over
    def contains(self, original: Method) -> Method:
        records, adopt, missed = self._records, self._adopt, self._missed

        @functools.wraps(original)
        def contains(cache: Any, key: Any, *args: Any, **named: Any) -> Any:
            found = original(cache, key, *args, **named)
            if not found:
                record = records.get(id(cache)) or adopt(cache)
                if not record.inside and surely_observed(get_context()):
                    missed(record, cache, key)
            return found

        return contains

    def _failed(self, record: Record, cache: Any, key: Any, error: Exception) -> str:
        if isinstance(error, KeyError):
            return self._missed(record, cache, key)
        record.error.value += 1  # a key that cannot be hashed, a __missing__() that fails
        return ERROR

    def _missed(self, record: Record, cache: Any, key: Any) -> str:
        # The base class knows what is stored, not how old it is.
        if record.ages and self._stores(cache, key):
            record.expired.value += 1
            return EXPIRED
        record.miss.value += 1
        return MISS

    # -- changes -------------------------------------------------------------------------------

    @passed_over
    def setitem(self, original: Method) -> Method:
        records, adopt = self._records, self._adopt

        @functools.wraps(original)
        def setitem(cache: Any, key: Any, value: Any, *args: Any, **named: Any) -> Any:
            record = records.get(id(cache)) or adopt(cache)
            if not surely_observed(get_context()):
                return original(cache, key, value, *args, **named)
            popped = record.popped
            record.inside += 1
            try:
                original(cache, key, value, *args, **named)
                record.stored.value += 1
            except Exception as error:
                # ValueError: the value is larger than the cache.
                outcome = REFUSED if isinstance(error, ValueError) else ERROR
                cell = record.tally.cell(SET, outcome)
                cell.value += 1
                raise
            finally:
                record.inside -= 1
                if record.popped != popped:
                    record.tally.evicted.value += record.popped - popped
            return None

        return setitem

    @passed_over
    def delitem(self, original: Method) -> Method:
        records, adopt = self._records, self._adopt

        @functools.wraps(original)
        def delitem(cache: Any, key: Any, *args: Any, **named: Any) -> Any:
            record = records.get(id(cache)) or adopt(cache)
            if record.inside or not surely_observed(get_context()):
                return original(cache, key, *args, **named)
            outcome = DELETED
            try:
                return original(cache, key, *args, **named)
            except Exception as error:
                outcome = ABSENT if isinstance(error, KeyError) else ERROR
                raise
            finally:
                cell = record.tally.cell(DELETE, outcome)
                cell.value += 1

        return delitem

    def setdefault(self, original: Method) -> Method:
        """A set where the key is not there, a hit where it is."""
        within = self.within(original)

        @functools.wraps(original)
        def setdefault(cache: Any, key: Any, *args: Any, **named: Any) -> Any:
            record = self._records.get(id(cache)) or self._adopt(cache)
            if record.inside or not surely_observed(get_context()):
                return within(cache, key, *args, **named)
            stored = record.stored.value
            value = within(cache, key, *args, **named)
            if record.stored.value == stored:
                record.hit.value += 1
            return value

        return setdefault

    @passed_over
    def within(self, original: Method) -> Method:
        """A method that uses the cache's others: they are not the application's doing."""
        records, adopt = self._records, self._adopt

        @functools.wraps(original)
        def within(cache: Any, *args: Any, **named: Any) -> Any:
            record = records.get(id(cache)) or adopt(cache)
            record.inside += 1
            try:
                return original(cache, *args, **named)
            finally:
                record.inside -= 1

        return within

    def popitem(self, original: Method) -> Method:
        within = self.within(original)

        @functools.wraps(original)
        def popitem(cache: Any) -> Any:
            pair = within(cache)
            record = self._records.get(id(cache))
            if record is not None:
                record.popped += 1
            return pair

        return popitem


def traced(operation: str, counted: Method, calls: Calls, records: dict[int, Record]) -> Method:
    """A method that counts, with a span. A key that is not there is no failure."""

    @functools.wraps(counted)
    def wrapper(cache: Any, *args: Any, **named: Any) -> Any:
        record = records.get(id(cache))
        if record is None or record.inside:
            return counted(cache, *args, **named)
        call = _start(calls, operation, record)
        try:
            found = counted(cache, *args, **named)
        except KeyError:
            call.span.set_attribute(names.CACHE_OUTCOME, MISS if operation == GET else ABSENT)
            call.end()
            raise
        except BaseException as error:
            call.fail(error)
            raise
        if operation == GET:
            call.span.set_attribute(names.CACHE_OUTCOME, HIT)
        call.end()
        return found

    return wrapper


def traced_contains(counted: Method, calls: Calls, records: dict[int, Record]) -> Method:
    """The same for ``in``, which is a lookup where it says no."""

    @functools.wraps(counted)
    def wrapper(cache: Any, *args: Any, **named: Any) -> Any:
        found = counted(cache, *args, **named)
        record = records.get(id(cache))
        if not found and record is not None and not record.inside:
            call = _start(calls, GET, record)
            call.span.set_attribute(names.CACHE_OUTCOME, MISS)
            call.end()
        return found

    return wrapper


def _start(calls: Calls, operation: str, record: Record) -> Call:
    attributes: dict[str, AttributeValue] = {
        names.CACHE_NAME: record.tally.name,
        names.CACHE_SYSTEM: record.tally.system,
        names.CACHE_OPERATION_NAME: operation,
    }
    return calls.start(f"{operation} {record.tally.name}", attributes, kind=SpanKind.INTERNAL)
