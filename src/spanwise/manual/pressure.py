"""Memory pressure: telling what was done about it, and having something done about it."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from opentelemetry.trace import SpanKind

from spanwise import names
from spanwise.forks import after_any_fork
from spanwise.instrumentors._call import NO_CALL
from spanwise.manual.measured import Measured
from spanwise.manual.parts import parts
from spanwise.manual.told import guarded, is_amount, shown, tell, text
from spanwise.meters.locks import ForkLock
from spanwise.meters.memory import MEGABYTE, Crossing
from spanwise.meters.resident import resident_bytes
from spanwise.shown import figure
from spanwise.threads import Event, Thread, started, started_task

__all__ = ["MemoryPressure", "Reaction"]

_NAME: Final = "memory pressure"
_KIND: Final = "system_resource"

# Seconds between two looks at the memory: 6 µs of work each, and a leak of 100 MB a second is seen in time.
_EVERY: Final = 1.0
# Falling just below the limit and rising again is one crossing, not two.
_FALLS_BELOW: Final = 0.9


class MemoryPressure(Measured):
    """See :func:`spanwise.memory_pressure`, which makes them."""

    what = "memory pressure"

    def _reset(self) -> None:
        super()._reset()
        self._before = 0
        self._held = 0
        self._disposed: int | None = None

    def disposed(self, controllers: int) -> None:
        """Says how many controllers were given up; else it is by how many fewer are tracked at the end.

        Args:
            controllers: how many, not negative.
        """
        if not (is_amount(controllers) and isinstance(controllers, int)):
            tell(f"controllers disposed of are a number from 0 on, not {shown(controllers)}")
            return
        self._disposed = controllers

    def record(self, before_mb: float, controllers_disposed: int) -> None:
        """Records what was done already.

        Not for one that is under way: that measures itself, and costs one warning here.

        Args:
            before_mb: megabytes (10⁶ bytes) in use before.
            controllers_disposed: how many controllers were given up.
        """
        guarded("record memory pressure", self._record, before_mb, controllers_disposed)

    def _record(self, before_mb: float, controllers_disposed: int) -> None:
        if not is_amount(before_mb):
            raise ValueError(f"before_mb is {shown(before_mb)}: give megabytes from 0 on")
        answer = self._recorded()
        answer._begin()
        answer._before = round(before_mb * MEGABYTE)
        answer.disposed(controllers_disposed)
        answer._finish(None, False, "")

    def _begin(self) -> None:
        self._reset_figures()
        self._call = parts().pressure_calls.start(
            _NAME, {names.OPERATION_KIND: _KIND}, kind=SpanKind.INTERNAL
        )

    def _reset_figures(self) -> None:
        self._before, self._disposed = resident_bytes(), None
        self._held = parts().controllers.counts().total

    def _finish(self, error: BaseException | None, failed: bool, message: str) -> None:
        call = self._call
        if call is NO_CALL:
            return
        disposed = self._disposed
        if disposed is None:
            disposed = max(0, self._held - parts().controllers.counts().total)
        call.span.set_attributes(
            {
                names.MEMORY_PRESSURE_BEFORE.name: self._before,
                names.MEMORY_PRESSURE_AFTER: resident_bytes(),
                names.MEMORY_PRESSURE_DISPOSED.name: disposed,
            }
        )
        if failed:
            call.fail(error, message=message or None)
        else:
            call.end()
        parts().pressure.record(self._before, disposed)


class Reaction:
    """See :func:`spanwise.on_memory_pressure`, which makes them."""

    def __init__(
        self, limit_mb: float, hook: Callable[..., Any] | None, falls_below_mb: float | None
    ) -> None:
        self._hook = hook
        self._busy = threading.Lock()
        self._crossing: Crossing | None = None
        guarded("watch the memory", self._arm, limit_mb, falls_below_mb)
        if hook is not None:
            self._watch()

    def __call__(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        """Decorates the hook, which stays as it is."""
        self._hook = hook
        self._watch()
        return hook

    def cancel(self) -> None:
        """The hook is not called again; one that runs is left to end."""
        _watcher.remove(self)

    def _arm(self, limit_mb: float, falls_below_mb: float | None) -> None:
        below = limit_mb if falls_below_mb is None else falls_below_mb
        for name, value in (("limit_mb", limit_mb), ("falls_below_mb", below)):
            if not is_amount(value) or not value:
                raise ValueError(f"{name} is {shown(value)}: give megabytes, above 0")
        if below > limit_mb:
            raise ValueError(f"falls_below_mb ({figure(below)}) is above limit_mb ({figure(limit_mb)})")
        if falls_below_mb is None:
            below *= _FALLS_BELOW
        self._crossing = Crossing(limit_mb * MEGABYTE, below * MEGABYTE)

    def _watch(self) -> None:
        if not callable(self._hook):
            tell(f"the hook of on_memory_pressure must be a function, not {shown(self._hook)}")
        elif self._crossing is not None:
            _watcher.add(self)

    def look(self, used: int) -> None:
        """Calls the hook, on a thread of its own, if the limit was crossed.

        Args:
            used: bytes in use now.
        """
        if self._crossing is None or not self._crossing.crossed(used):
            return
        # Of its own: one that hangs keeps neither another hook nor the watch from going on.
        started_task(partial(self._react, used), "spanwise-memory-hook")

    def renew(self) -> None:
        """In a forked child no hook runs, though one of the parent's may have at the fork."""
        self._busy = threading.Lock()

    def _react(self, used: int) -> None:
        if self._hook is None or not self._busy.acquire(False):
            return  # the one before still runs
        try:
            with MemoryPressure() as pressure:
                result = self._hook(used / MEGABYTE)
                if inspect.isawaitable(result):
                    result = asyncio.run(_awaited(result))
                if isinstance(result, int) and not isinstance(result, bool):
                    pressure.disposed(result)
        except BaseException as error:  # its thread is ours, and ends here in any case
            tell(f"a hook of on_memory_pressure raised {type(error).__name__}: {text(error)}")
        finally:
            self._busy.release()


async def _awaited(result: Any) -> Any:
    return await result


class _Watcher:
    """Looks at the memory on a thread of its own, while there are reactions."""

    def __init__(self) -> None:
        self._lock = ForkLock()
        self._reactions: list[Reaction] = []
        self._thread: Thread | None = None
        self._stirred = Event()

    def add(self, reaction: Reaction) -> None:
        with self._lock:
            if reaction not in self._reactions:
                self._reactions.append(reaction)
            self._go_on()

    def remove(self, reaction: Reaction) -> None:
        with self._lock:
            if reaction in self._reactions:
                self._reactions.remove(reaction)
            if not self._reactions:
                self._stirred.set()

    def after_fork(self) -> None:
        """A child has none of its parent's threads."""
        self._thread, self._stirred = None, Event()
        for reaction in self._reactions:
            reaction.renew()
        if self._reactions:
            guarded("watch the memory in a forked process", self._go_on)

    def _go_on(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = started(self._run, "spanwise-memory", again=self._go_on)

    def _run(self) -> None:
        while True:
            with self._lock:
                # Else the one who cancelled leaves it set, and the wait below is none from then on.
                self._stirred.clear()
                found = list(self._reactions)
                if not found:
                    self._thread = None
                    return
            used = guarded("read the process's memory", resident_bytes)
            for reaction in found if used is not None else ():
                guarded("look at the memory", reaction.look, used)
            self._stirred.wait(_EVERY)


_watcher: Final = _Watcher()
after_any_fork(_watcher.after_fork)
