"""A span's attributes: cleaned, within their limits, and closed by `end` in one step.

Correct without a lock, as `details` says: the dict to write to is known to every writer; `end` takes it away
from the span first and copies it then. A writer that had it already writes where nobody reads, and finds so
when it looks again. To set a key is one step of C code, so no copy is taken half way. What isn't exact:
threads that fill a full span at once may each miscount what gave way by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from opentelemetry.util.types import AnyValue, Attributes

from spanwise import names
from spanwise.fixed import Fixed
from spanwise.log import Log
from spanwise.spans.details import CLOSED, SpanDetails
from spanwise.spans.kept import Count, Extras, Kept
from spanwise.spans.limits import FULL, NO_MAPPING, clean_items, clean_pair
from spanwise.spans.sdk_shape import bounded_over, frozen_over
from spanwise.spans.verdict import Verdict

__all__ = ["SpanAttributes"]

# The SDK's loggers and messages, so that filters that applications have for them go on working.
_logger = Log("opentelemetry.sdk.trace")
_attributes_logger = Log("opentelemetry.attributes")
_MISSING: Final = object()
_NO_ATTRIBUTES: Final = frozenset({"name", "status", "ok"})  # extras that need no more than a copy


class SpanAttributes(SpanDetails):
    """The attributes of `spanwise.spans.span.Span`."""

    # What readers see: what is written to while the span runs, and what `end` makes of it afterwards.
    _held: dict[str, AnyValue]

    def _begin(self, attributes: Any) -> None:
        """Gives a new span its first attributes, which need cleaning or have no room."""
        self._live = self._held = {}
        new, lost = clean_items(attributes, self._shared.rules.max_length)
        self._store(new, lost)

    def set_attribute(self, key: str, value: AnyValue) -> None:
        live = self._live
        shared = self._shared
        if (
            type(key) is str
            and type(value) in shared.plain
            and len(live) < shared.room
            and key
            and key not in live
        ):
            try:
                live[key] = value
            except TypeError:
                pass  # it has ended, or shares its attributes
            else:
                if self._live is not live:
                    self._tell_if_left_out(live, {key: value})
                return
        self._set_one(key, value)

    def _set_one(self, key: Any, value: Any) -> None:
        if self._live is CLOSED:
            _logger.seldom("Setting attribute on ended span.")
            return
        rules = self._shared.rules
        if type(key) is not str or not key:
            self._store(*clean_pair(key, value, rules.max_length))
        elif rules.is_plain(value):
            self._store({key: value}, 0)
        elif type(value) in (tuple, list) and all(map(rules.is_plain, flat := tuple(value))):
            # A flat sequence of plain values needs no more than a copy that can't change.
            self._store({key: flat}, 0)
        else:
            self._store(*clean_pair(key, value, rules.max_length))

    def set_attributes(self, attributes: Mapping[str, AnyValue]) -> None:
        live = self._live
        if live is CLOSED:
            _logger.seldom("Setting attribute on ended span.")
            return
        rules = self._shared.rules
        new = rules.plain_copy(attributes)
        if new is None:
            if not isinstance(attributes, Mapping):
                _attributes_logger.seldom(NO_MAPPING, type(attributes).__name__)
                return
            self._store(*clean_items(attributes, rules.max_length))
        elif type(live) is dict and len(live) + len(new) <= rules.room and live.keys().isdisjoint(new):
            live.update(new)
            if self._live is not live:
                self._tell_if_left_out(live, new)
        else:
            self._store(new, 0)

    def _store(self, new: dict[str, AnyValue], lost: int) -> None:
        """Sets clean attributes, each as the youngest, and lets the oldest give way."""
        room = self._shared.rules.room
        began = live = self._live
        alone = live.keys().isdisjoint(new)
        if type(live) is dict and alone and not lost and len(live) + len(new) <= room:
            live.update(new)
        else:
            extras = self._extras_made()
            if self._live is CLOSED:
                _logger.seldom("Setting attribute on ended span.")
                return
            if type(live) is Fixed:
                live = extras.setdefault("attributes", dict(live))
            if alone and len(new) > room:
                lost += len(new) - room
                new = dict(list(new.items())[len(new) - room :])
            for key, value in new.items():
                if key in live:
                    again = extras.setdefault("again", {})
                    again.pop(key, None)
                    again[key] = _youngest(live, key)
                live[key] = value
                if len(live) > room:
                    _attributes_logger.seldom(FULL)
                    _shrink(live, room, extras.get("again", {}), extras.setdefault("lost", Count()))
            if lost:
                extras.setdefault("lost", Count()).add(lost)
        if self._live is not began:
            self._tell_if_left_out(began, new)

    def _tell_if_left_out(self, began: dict[str, AnyValue], new: Mapping[str, AnyValue]) -> None:
        """Tells of attributes that came while the span ended, where they were not taken.

        Args:
            began: what the span had to write to.
            new: what was written.
        """
        held = self._held
        # While it still is what it was, the other thread has not got so far as to take anything.
        if held is began or any(held.get(key, _MISSING) is not value for key, value in new.items()):
            _logger.seldom("Setting attribute on ended span.")

    def _close(self, live: dict[str, AnyValue], extras: Extras) -> dict[str, AnyValue]:
        """Takes copies of what a span has that has just ended, of which writers may still have the originals.

        Args:
            live: what it had to write to.
            extras: its own.

        Returns:
            Its attributes.
        """
        extras = extras.copy()
        if _NO_ATTRIBUTES.issuperset(extras):
            self._extras = extras
            return live if type(live) is Fixed else live.copy()
        extras.pop("view", None)
        again = extras.pop("again", {}).copy()
        own = extras.pop("attributes", live)
        while True:
            count = self.dropped_attributes
            ended: dict[str, AnyValue] = own.copy()
            if count == self.dropped_attributes:
                break  # no attribute gave way meanwhile
        lost = Count(count)
        _shrink(ended, self._shared.rules.room, again, lost)
        for key in ("events", "links"):
            if isinstance(extras.get(key), Kept):
                extras[key] = extras[key].copy()
        if lost.value:
            extras["lost"] = lost
        self._extras = extras
        return _in_order(ended, again)

    def _rated(self, attributes: dict[str, AnyValue], verdict: Verdict) -> dict[str, AnyValue]:
        """The attributes of a span that has ended with what was said of it, within the limits of any."""
        rated = {
            names.RATING: verdict.rating,
            names.RATING_RULE: verdict.rule,
            names.RATING_LIMIT: verdict.limit,
        }
        rules = self._shared.rules
        said = {key: value for key, value in rated.items() if value is not None}
        new, lost = clean_items(said, rules.max_length)
        made = {key: value for key, value in attributes.items() if key not in new} | new
        count = Count(self.dropped_attributes + lost)
        _shrink(made, rules.room, {}, count)
        if count.value:
            self._extras = {**(self._extras or {}), "lost": count}
        return made

    # -- as the SDK has them --------------------------------------------------------------------

    def _now(self) -> dict[str, AnyValue]:
        """What readers see. Where it is fixed, it is not to be written to."""
        extras = self._extras
        if extras is None:
            return self._held
        return extras.get("attributes", self._held)  # type: ignore[no-any-return]

    @property
    def _attributes(self) -> Any:  # an attribute of the SDK's, read by many
        extras = self._extras_made()
        live = self._live
        rules = self._shared.rules
        if live is CLOSED:
            return frozen_over(self._held, rules.at_most, rules.max_length, self.dropped_attributes)
        if type(live) is Fixed:
            live = extras.setdefault("attributes", dict(live))
        found = extras.get("view")
        if found is None:
            found = extras.setdefault("view", bounded_over(live, rules.at_most, rules.max_length))
        return found

    @_attributes.setter
    def _attributes(self, value: Any) -> None:
        # The SDK's constructor, and processors that replace the attributes of a span.
        new = dict(value or {})
        dropped = getattr(value, "dropped", 0)
        live = self.__dict__.get("_live")
        if live is not None and type(live) is dict:
            live.clear()
            live.update(new)
        elif self._end_time is None and live is None:
            self._live = self._held = new
        else:
            self._held = new
        extras = self._extras
        if extras is not None or dropped or (live is not None and type(live) is Fixed):
            extras = self._extras_made()
            for part in ("view", "again", "lost"):
                extras.pop(part, None)
            if type(live) is Fixed:
                extras["attributes"] = new
            if dropped:
                extras["lost"] = Count(dropped)

    @property
    def attributes(self) -> Attributes:
        now = self._now()
        extras = self._extras
        if extras is not None and extras.get("again"):
            now = _in_order(now.copy(), extras["again"].copy())
        return MappingProxyType(now)

    @property
    def dropped_attributes(self) -> int:
        extras = self._extras
        if extras is None:
            return 0
        lost, view = extras.get("lost"), extras.get("view")
        by_others: int = 0 if view is None else view.dropped
        return by_others + (0 if lost is None else lost.value)


# Setting a key again makes it the youngest. To remove it first would be a second step, between which and the
# first an end would miss it. So it stays where it is in the dict, and "again" tells after which key of the
# dict it belongs: the last one at that time. Where that one gave way, all that was older did, too.
_Again: TypeAlias = "dict[str, str]"
_GONE: Final = ""  # no attribute's key


def _youngest(attributes: dict[str, AnyValue], default: str) -> str:
    try:
        return next(reversed(attributes))
    except (RuntimeError, StopIteration):
        return default  # another thread has just written to it


def _oldest(attributes: dict[str, AnyValue], again: _Again) -> str | None:
    for key, after in again.items():
        if after not in attributes:
            return key
    for key in attributes:
        if key not in again:
            return key
        for other, after in again.items():
            if after == key:
                return other
    return None


def _shrink(attributes: dict[str, AnyValue], room: int, again: _Again, lost: Count) -> None:
    """Removes the oldest attributes until there is room, and counts them."""
    while len(attributes) > room:
        try:
            oldest = _oldest(attributes, again)
        except RuntimeError:
            continue  # another thread wrote to one of them meanwhile
        if oldest is None:
            break
        lost.add_removed(attributes, oldest)
        again.pop(oldest, None)
        for key, after in list(again.items()):
            if after == oldest:
                again[key] = _GONE  # it may be set anew


def _in_order(attributes: dict[str, AnyValue], again: _Again) -> dict[str, AnyValue]:
    """As if each key that was set again had been removed before. Both are copies of the caller's own."""
    if not again:
        return attributes
    order = [key for key, after in again.items() if after not in attributes]
    for key in attributes:
        if key not in again:
            order.append(key)
        order.extend(other for other, after in again.items() if after == key)
    return {key: attributes[key] for key in order if key in attributes}
