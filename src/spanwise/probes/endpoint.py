"""The health over HTTP. Imports nothing before it is asked: it is a part of the package's face."""

from __future__ import annotations

TYPE_CHECKING = False  # typing is not imported for it: every start of `spanwise run` would pay
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Environ = dict[str, Any]
    Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

__all__ = ["HealthEndpoint", "health_endpoint"]

PATH = "/health"

# Probes come from several load balancers at once, and a flood of them must cost nothing.
_SECONDS = 1.0
_PHRASES = {200: "OK", 405: "Method Not Allowed", 503: "Service Unavailable"}
_HEADERS = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))


class HealthEndpoint:
    """See :data:`spanwise.health_endpoint`.

    Args:
        critical: the HTTP status where the health is critical; all else is 200.
    """

    __name__ = "spanwise_health"  # what Flask calls the view

    def __init__(self, critical: int = 503) -> None:
        self._critical = critical
        self._until = 0.0
        self._answer: tuple[int, str] | None = None
        self._pid = 0  # whose answer it is

    def answering(self, *, critical: int) -> HealthEndpoint:
        """Another endpoint, with another HTTP status where the health is critical: 200, for instance, where a
        restart of the process would not help.

        Args:
            critical: the status, 200 to 599.

        Raises:
            ValueError: it is none.
        """
        if not isinstance(critical, int) or not 200 <= critical <= 599:
            raise ValueError(f"critical is {critical!r}: give an HTTP status from 200 to 599")
        return HealthEndpoint(critical)

    def __call__(
        self, environ: Environ | None = None, start_response: Callable[..., Any] | None = None
    ) -> Any:
        """Answers as a WSGI application, or, without arguments, as a view of Flask's.

        Returns:
            The body as WSGI wants it; as a view, (body, status, headers).
        """
        status, text = self._current()
        if environ is None or start_response is None:
            return text, status, dict(_HEADERS)
        method = environ.get("REQUEST_METHOD", "GET")
        headers = [*_HEADERS]
        if method not in ("GET", "HEAD"):
            status, text = 405, '{"error": "GET and HEAD only"}'
            headers.append(("Allow", "GET, HEAD"))
        body = text.encode()
        headers.append(("Content-Length", str(len(body))))
        start_response(f"{status} {_PHRASES.get(status, 'Critical')}", headers)
        return [b"" if method == "HEAD" else body]

    def register(self, app: Any, options: dict[str, Any] | None = None) -> None:
        """What ``app.register_blueprint(spanwise.health_endpoint)`` of Flask's calls.

        Args:
            app: a Flask application.
            options: ``url_prefix``, before ``/health``, and ``name`` of the view; others mean nothing here.
        """
        given = options or {}
        path = f"{(given.get('url_prefix') or '').rstrip('/')}{PATH}"
        app.add_url_rule(path, endpoint=given.get("name") or self.__name__, view_func=self)
        _leave_unobserved(path)

    def before(self, app: Application, path: str = PATH) -> Application:
        """A WSGI application that answers at the path, and leaves all else to another.

        Args:
            app: gets every other request.
            path: below where the whole is mounted.
        """
        _leave_unobserved(path)

        def application(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
            if environ.get("PATH_INFO") == path:
                answer: Iterable[bytes] = self(environ, start_response)
                return answer
            return app(environ, start_response)

        return application

    def _current(self) -> tuple[int, str]:
        """The answer, made at most once a second. Never raises."""
        import os
        import time

        now, pid = time.monotonic(), os.getpid()
        answer = self._answer
        if answer is None or now >= self._until or pid != self._pid:
            if pid != self._pid:
                # A forked child's health is its own, and nobody in it has an answer before.
                self._answer, self._pid = None, pid
            # First: whoever asks meanwhile is given the answer before. A lock could be held across a fork.
            self._until = now + _SECONDS
            self._answer = answer = self._made()
        return answer

    def _made(self) -> tuple[int, str]:
        try:
            import json

            from spanwise.snapshot import health

            found = health()
            status = self._critical if found.status == "critical" else 200
            return status, json.dumps(found.as_dict())
        except Exception:  # a fault of ours must not have the process restarted
            return 200, '{"status": "unknown", "issues": [], "reason": "the health could not be told"}'


def _leave_unobserved(path: str) -> None:
    # A probe every few seconds from each load balancer is noise among the traces, and dilutes error rates.
    from spanwise.context import UNOBSERVED_PATHS

    UNOBSERVED_PATHS.add(path)


health_endpoint = HealthEndpoint()
"""The health as JSON (status, issues, service, time, reason), with 503 where it is critical and 200
otherwise, for GET and HEAD. It is asked once a second at most, whoever asks, and never raises.

- a view of Flask's: ``app.register_blueprint(spanwise.health_endpoint)`` answers at ``/health``, or
  ``app.add_url_rule("/up", view_func=spanwise.health_endpoint)``;
- a WSGI application, to be mounted anywhere;
- ``app = spanwise.health_endpoint.before(app)`` answers at ``/health`` and leaves the rest to ``app``.

As a blueprint and with ``before``, requests of its path make no spans and no metrics.
"""
