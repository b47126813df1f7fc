"""What stands between the application and redis-py: two lookups, a span and a duration.

Each replacement of a method asks for what a command's span says, which is remembered by server, command and
number of arguments, starts the call, and ends it with the answer or the error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import Token
from time import perf_counter_ns
from typing import Any, Final

from opentelemetry.context import Context

from spanwise import names
from spanwise.context import get_context, is_suppressed, surely_observed
from spanwise.instrumentors._call import NO_CALL, Call
from spanwise.instrumentors._calls import Calls
from spanwise.instrumentors._contrib import Contrib
from spanwise.instrumentors._database import Conventions
from spanwise.instrumentors._failure import message_of
from spanwise.instrumentors._redis import Described, Target, is_script, status_code
from spanwise.instrumentors._redis_answer import HELD_AS, Answer, Targets, answering
from spanwise.instrumentors._redis_info import Servers
from spanwise.instrumentors._redis_shape import observed_by_contrib, owner_of, queued
from spanwise.instrumentors._traceback import passed_over
from spanwise.privacy.redis import redact_message

__all__ = ["Observer"]

Function = Callable[..., Any]
Begin = Callable[[Any, Sequence[Any], Any, Context], Any]

_DEFAULT_PORT: Final = 6379
# What redis-py says when a watched key was changed. That is no failure: the transaction is tried again.
_CHANGED: Final = "Watched variable changed."


class _Running:
    """A call with more to do at its end than to end: hooks, or a server that is known only then."""

    __slots__ = ("answer", "call", "client", "late", "target", "token")

    def __init__(self, call: Call, target: Target, client: Any, late: bool) -> None:
        self.late = late  # it was described before the server's address was known
        self.call = call
        self.target = target
        self.client = client
        self.answer: Answer | None = None
        self.token: Token[Answer | None] | None = None
        if target.moves:
            self.answer = Answer()
            held = getattr(client, "connection", None)  # a pipeline's that watches has one already
            if held is not None:
                self.answer.comes_from(held, client.connection_pool)
            self.token = answering.set(self.answer)

    def stop(self) -> None:
        """The call's own functions are over: what comes now is another's."""
        if self.token is not None:
            token, self.token = self.token, None
            # A coroutine that is thrown away is closed in another context, or under another call.
            if answering.get() is self.answer:
                with suppress(ValueError):
                    answering.reset(token)


class Observer:
    """Observes what one `instrument()` is asked to, until it is closed.

    Args:
        calls: starts the calls.
        chosen: which names to write.
        servers: is told of each server that answers; None where INFO is not wanted.
        targets: is told of each server that is met.
        request_hook, response_hook: the user's, or None.
    """

    def __init__(
        self,
        calls: Calls,
        chosen: Conventions,
        servers: Servers | None,
        targets: Targets,
        *,
        request_hook: Function | None = None,
        response_hook: Function | None = None,
    ) -> None:
        self._calls = calls
        self._conventions = chosen
        self._servers = servers
        self._request_hook = request_hook
        self._response_hook = response_hook
        self._open = True
        self._cluster = Target(self, chosen, quick=False)
        self._targets = targets
        self._contrib = Contrib("redis", "RedisInstrumentor")

    def _theirs(self, client: Any) -> bool:
        """Whether OpenTelemetry's instrumentor observes this client, or pipeline, too."""
        theirs = self._contrib.on or observed_by_contrib(client)
        if theirs and self._open:  # what is left of a closed one stands back for nobody
            self._contrib.stand_back()
        return theirs

    def close(self) -> None:
        """Observes no more. What is left of ours beneath somebody else's replacement passes calls on."""
        self._open = self._calls.open = False
        self._targets.forget()

    # -- the replacements ------------------------------------------------------------------------

    def command(self, original: Function) -> Function:
        return self._observed(original, self._begin_command)

    def pipeline(self, original: Function) -> Function:
        return self._observed(original, self._begin_pipeline)

    def command_async(self, original: Function) -> Function:
        return self._observed_async(original, self._begin_command)

    def pipeline_async(self, original: Function) -> Function:
        return self._observed_async(original, self._begin_pipeline)

    @passed_over
    def _observed(self, original: Function, begin: Begin) -> Function:
        over = self._calls.over

        def observed(client: Any, *args: Any, **options: Any) -> Any:
            context = get_context()
            running = begin(client, args, options, context)
            clock = perf_counter_ns()
            try:
                response = original(client, *args, **options)
            except BaseException as error:
                self._fail(running, error, args, context, clock)
                raise
            if type(running) is Described:
                over(running.name, running.attributes, running.labels, context, perf_counter_ns() - clock)
            else:
                self._end(running, response)
            return response

        return observed

    @passed_over
    def _observed_async(self, original: Function, begin: Begin) -> Function:
        over = self._calls.over

        async def observed(client: Any, *args: Any, **options: Any) -> Any:
            context = get_context()
            running = begin(client, args, options, context)
            clock = perf_counter_ns()
            try:
                response = await original(client, *args, **options)
            except BaseException as error:
                self._fail(running, error, args, context, clock)
                raise
            if type(running) is Described:
                over(running.name, running.attributes, running.labels, context, perf_counter_ns() - clock)
            else:
                self._end(running, response)
            return response

        return observed

    # -- beginning -------------------------------------------------------------------------------

    def _begin_command(self, client: Any, args: Sequence[Any], options: Any, context: Context) -> Any:
        if self._contrib.instrumentor is not None and self._theirs(client):
            return None
        try:
            # Another observer's target knows nothing: close() has seen to that.
            about: Described = client.connection_pool._spanwise_target.known[args[0], len(args)]
        except Exception:
            return self._begin(client, lambda target: target.command(args), context, (args, options))
        if self._calls.quick and surely_observed(context):
            return about
        return self._start(about)

    def _begin_pipeline(self, pipeline: Any, _args: Any, _options: Any, context: Context) -> Any:
        def describe(target: Target) -> Described | None:
            waiting = queued(pipeline)
            if not waiting.commands and not waiting.watching:
                return None  # nothing is sent
            return target.pipeline(waiting.transaction, waiting.commands)

        return self._begin(pipeline, describe, context)

    def _start(self, about: Described, context: Context | None = None, took: int | None = None) -> Call:
        return self._calls.start(
            about.name, about.attributes, metric_attributes=about.labels, context=context, took=took
        )

    def _begin(
        self,
        client: Any,
        describe: Callable[[Target], Described | None],
        context: Context,
        request: Sequence[Any] | None = None,
    ) -> Any:
        """The call, or what is to be said of it when it is over; None: nothing is observed. Never raises."""
        if not self._open or (request is not None and not request[0]):
            return None
        try:
            if is_suppressed(context):
                return None  # nor is the server to be asked for INFO
            if self._contrib.instrumentor is not None and self._theirs(client):
                return None
            target = self._target(client)
            late = bool(target.address) and not target.peer
            about = describe(target)
            if about is None:
                return None
            plain = target.quick and (target.settled or not late)
            if plain and self._calls.quick:
                return about
            call = self._start(about)
            if plain or call is NO_CALL:
                return call  # NO_CALL: a tracer has failed
            if request is not None:
                self._run_hook(self._request_hook, call, client, *request)
            return _Running(call, target, client, late)
        except Exception as error:
            self._calls.warn("observe a command", error)
            return None

    def _target(self, client: Any) -> Target:
        pool = getattr(client, "connection_pool", None)
        if pool is None:
            return self._cluster
        target = getattr(pool, HELD_AS, None)
        if target is not None and target.observer is self:
            found: Target = target
            return found
        found = self._new_target(pool)
        self._targets.add(found)
        self._targets.hold(found, pool)
        return found

    def _new_target(self, pool: Any) -> Target:
        options = pool.connection_kwargs
        database = int(options.get("db") or 0)
        quick = self._request_hook is None and self._response_hook is None
        if hasattr(pool, "service_name"):  # Sentinel's
            return Target(self, self._conventions, database=database, quick=False)
        path = options.get("path")
        address = str(path or options.get("host") or "localhost")
        port = 0 if path else int(options.get("port") or _DEFAULT_PORT)
        target = Target(self, self._conventions, address, port, database, quick=quick)
        if self._servers is not None:
            self._servers.add(pool, options, pool.connection_class, address, port)
        return target

    # -- ending ----------------------------------------------------------------------------------

    def _end(self, running: Any, response: Any) -> None:
        if type(running) is not _Running:
            if running is not None:
                running.end()
            return
        call: Call = running.call
        running.stop()
        if running.late:
            running.target.settled = True
        self._run_hook(self._response_hook, call, running.client, response)
        call.end(self._answered(running))

    def _fail(
        self, running: Any, error: BaseException, args: Sequence[Any], context: Context, clock: int
    ) -> None:
        labels: dict[str, Any] = {}
        if type(running) is _Running:
            running.stop()
            labels = self._answered(running)
            running = running.call
        elif type(running) is Described:
            took, about = perf_counter_ns() - clock, running
            if isinstance(error, GeneratorExit):
                self._calls.abandoned(about.name, about.attributes, about.labels, context, took, error)
                return
            running = self._start(about, context, took)
        if not isinstance(running, Call) or running is NO_CALL:
            return
        try:
            message = message_of(error)
            if type(error).__name__ == "WatchError" and message == _CHANGED:
                running.end(labels)
                return
            code = status_code(error)
            if code and self._conventions.stable:
                labels[names.DB_RESPONSE_STATUS_CODE] = code
            # A script's message is the application's own text.
            text = code if args and is_script(args[0]) else redact_message(message)
        except Exception as problem:
            self._calls.warn("describe a failed command", problem)
            code = text = ""
        running.fail(error, error_type=code, message=text, attributes=labels)

    def _answered(self, running: _Running) -> dict[str, Any]:
        """Writes down which server answered; the labels that say so."""
        answer = running.answer
        try:
            if running.late and running.target.peer:
                running.call.span.set_attributes(dict(running.target.place))
            if answer is None or not answer.host:
                return {}
            attributes, labels = running.target.node(answer.host, answer.port)
            if attributes:
                running.call.span.set_attributes(attributes)
            if self._servers is not None:
                options = answer.owner.connection_kwargs
                owner = owner_of(answer.owner, running.client)
                self._servers.add(owner, options, answer.owner.connection_class, answer.host, answer.port)
            return dict(labels)
        except Exception as error:
            self._calls.warn("tell which server answered", error)
            return {}

    def _run_hook(self, hook: Function | None, call: Call, *arguments: Any) -> None:
        if hook is None:
            return
        try:
            hook(call.span, *arguments)
        except Exception as error:
            self._calls.warn(f"run the hook {getattr(hook, '__name__', hook)!s}", error)
