"""What every face of the API has: ``with``, ``async with``, decorator, and start and stop by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from threading import Lock
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar

from opentelemetry.context import Context
from opentelemetry.trace import Span
from opentelemetry.util.types import AttributeValue

from spanwise.context import attach_context, detach_context, get_context
from spanwise.instrumentors._abandoned import end_abandoned, later, waiting
from spanwise.instrumentors._call import NO_CALL, Call
from spanwise.manual import steps
from spanwise.manual.told import guarded, shown, tell, text

__all__ = ["Measured"]

P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M", bound="Measured")

# What a `with` of one under way entered instead, the innermost last: by context, since the same object may be
# entered by several threads and tasks at a time.
_instead: Final[ContextVar[tuple[tuple[Measured, Measured], ...]]] = ContextVar("instead", default=())


class Measured:
    """Something that begins and ends once. As a decorator it is the pattern of one such thing a call.

    So it is for ``with`` where another ``with`` has entered it, around or in another thread or task: what
    ``with`` gives is then another one like it. Only where one ``with`` begins and ends in different contexts,
    as in a generator that a thread pool runs step by step, must each have an object of its own.

    Whatever a subclass does at the beginning or the end may raise: it is told once, and costs telemetry only.
    What the application raises passes unchanged.

    Attributes:
        current: whether the span is the current one within ``with`` and a decorated function.
    """

    what = "operation"
    current = True

    def __init__(self) -> None:
        self._entered = Lock()
        self._reset()

    def _reset(self) -> None:
        self._call: Call = NO_CALL
        self._running = False
        self._inside: Context | None = None
        self._token: Token[Context] | None = None

    # -- what subclasses say ------------------------------------------------------------------

    def _begin(self) -> None:
        """Starts."""

    def _finish(self, error: BaseException | None, failed: bool, message: str) -> None:
        """Ends.

        Args:
            error: what was raised, if anything.
            failed: whether it failed; an answer may say so without an exception.
            message: what went wrong, where no exception says it.
        """

    def _take(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Takes from a decorated function's call what was not said before."""

    def _abandon(self) -> None:
        """Ends because whoever asked for the next item goes away; as a success unless said otherwise."""
        self._finish(None, False, "")

    def _clock(self, on: bool) -> None:
        """It begins to run on this thread, or ceases to."""

    def _item(self, item: Any) -> None:
        """A decorated generator yielded this."""

    def _result(self, result: Any) -> None:
        """A decorated function returned this."""

    # -- by hand ------------------------------------------------------------------------------

    @property
    def span(self) -> Span:
        """The span, for what has no method here; one that records nothing unless this is under way."""
        return self._call.span

    def start(self: M) -> M:
        """Begins. The span does not become the current one: that is for ``with`` and the decorator.

        Returns:
            Itself.
        """
        if self._running:
            tell(f"a {self.what} was started that is under way; make one for each, or stop it first")
            return self
        if waiting:
            end_abandoned()  # this one's last run may wait there, and needs what is forgotten now
        self._reset()
        self._running = True
        guarded(f"start a {self.what}", self._begin)
        self._clock(True)
        return self

    def stop(self) -> None:
        """Ends it as a success. Does nothing where it is not under way."""
        self._end(None, False)

    def fail(self, error: BaseException | str | None = None) -> None:
        """Ends it as a failure. Does nothing where it is not under way.

        Args:
            error: what was raised, or a text that says what went wrong.
        """
        self._end(error, True)

    def _recorded(self: M) -> M:
        """One for what was measured elsewhere: this may be a pattern that several threads record by.

        Raises:
            ValueError: this is under way.
        """
        if self._running:
            raise ValueError("it is under way and measures itself: end it by stop() or fail() instead")
        return self._fresh()

    def _end(self, error: BaseException | str | None, failed: bool) -> None:
        if not self._running:
            return
        self._running = False
        self._clock(False)
        raised = error if isinstance(error, BaseException) else None
        message = "" if error is None or raised is not None else text(error)
        guarded(f"end a {self.what}", self._finish, raised, failed, message)

    def set_attribute(self, name: str, value: AttributeValue) -> None:
        """Puts an attribute on the span, and on no metric: it may have any number of values.

        Args:
            name: the attribute's name.
            value: text, number, truth value, or a sequence of one of these.
        """
        guarded("set an attribute", self._call.span.set_attribute, name, value)

    # -- with, async with ---------------------------------------------------------------------

    def __enter__(self: M) -> M:
        run = self._entry()
        run.start()
        run.enter_step()
        return run

    def _entry(self: M) -> M:
        """What a `with` begins: this, or another one where this is entered already."""
        instead = _instead.get()
        # If it is free by now, it is not for a `with` inside: whose end would be taken for the outer one's.
        if all(of is not self for of, _ in instead) and self._entered.acquire(False):
            return self
        run = self._fresh()
        run._entered.acquire(False)
        _instead.set((*instead, (self, run)))
        return run

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        run: Measured = self
        instead = _instead.get()
        for at in range(len(instead) - 1, -1, -1):
            if instead[at][0] is self:
                run = instead[at][1]
                _instead.set(instead[:at] + instead[at + 1 :])
                break
        run.leave_step()
        if error is None:
            run.stop()
        else:
            run.raised(error)
        if run._entered.locked():
            run._entered.release()

    async def __aenter__(self: M) -> M:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    # -- step by step -------------------------------------------------------------------------

    def enter_step(self) -> None:
        """Runs from here on, with its span as the current one."""
        if self.current and self._call is not NO_CALL:
            self._token = attach_context(self._inside or self._call.current)
        self._clock(True)

    def leave_step(self) -> None:
        """Ceases to run."""
        self._clock(False)
        token, self._token = self._token, None
        if token is not None:
            try:
                # What it made current itself is current again in the next step.
                self._inside = get_context()
                detach_context(token)
            except Exception:  # its text has the token's address: each would be told as a new mistake
                tell(
                    f"{self.what}: it was left in another context than it was entered in, as happens in a "
                    "generator whose steps a thread pool runs; there the current span is left as it is"
                )

    def item(self, item: Any) -> None:
        """A decorated generator yielded this."""
        guarded("look at an item", self._item, item)

    def result(self, result: Any) -> None:
        """A decorated function returned this."""
        guarded("look at a result", self._result, result)

    def _leaves(self, error: BaseException) -> bool:
        """Whether this says that whoever asked for the next item goes away, and is no failure."""
        return isinstance(error, GeneratorExit)

    def raised(self, error: BaseException) -> None:
        """The application raised this."""
        if not self._leaves(error):
            self._end(error, True)
        elif self._running and isinstance(error, GeneratorExit):
            # Of a generator that was dropped, as a rule: this is a finalizer, which may run within the very
            # lock that ending a span takes.
            self._running = False
            self._clock(False)
            (later if self._call is NO_CALL else self._call.drop)(self._left)
        else:
            self._leave()

    def _leave(self) -> None:
        """Ends it where it is under way: whoever asked for the next item went away."""
        if self._running:
            self._running = False
            self._clock(False)
            self._left()

    def _left(self) -> None:
        guarded(f"end a {self.what}", self._abandon)

    # -- decorator ----------------------------------------------------------------------------

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorates a function, a coroutine function or a generator of either sort.

        A generator is under way from its first item to its last, and closed or dropped it ends. Anything else
        is returned as it is, with a warning.
        """
        if isinstance(function, (staticmethod, classmethod)):
            # A static method can be called since Python 3.10, but as a plain function it would get `self`.
            return type(function)(self(function.__func__))
        if not callable(function) or isinstance(function, type):
            tell(f"a {self.what} decorates functions and methods, not {shown(function)}; it is left alone")
            return function
        made: Callable[P, R] = steps.observed(
            function, lambda args, kwargs: self._run(function, args, kwargs)
        )
        return made

    def _run(self: M, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> M:
        """A thing of its own for one call of a decorated function."""
        run = self._fresh()
        guarded("read a call's arguments", run._take, function, args, kwargs)
        return run

    def _fresh(self: M) -> M:
        """Another one like it that has not begun."""
        run = object.__new__(type(self))
        run.__dict__.update(self.__dict__)
        run._entered = Lock()
        run._reset()
        return run
