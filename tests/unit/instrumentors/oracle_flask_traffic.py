"""The same requests to a Flask application under one of two instrumentors, told as JSON.

Run with the instrumentor's name: ``ours`` or ``contrib``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from oracle_compare import Recorder

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def application(recorder: Recorder) -> Any:
    import flask

    tracer = recorder.tracer_provider.get_tracer("application")
    app = flask.Flask("shop")

    @app.before_request
    def refuse() -> None:
        if flask.request.args.get("refuse"):
            flask.abort(403)

    @app.route("/item/<int:number>", methods=["GET", "POST"])
    def item(number: int) -> str:
        with tracer.start_as_current_span("within"):
            return "x" * number

    @app.get("/raises")
    def raises() -> str:
        raise ZeroDivisionError("planted")

    @app.get("/aborts/<int:status>")
    def aborts(status: int) -> str:
        flask.abort(status)

    @app.get("/streams")
    def streams() -> flask.Response:
        def parts() -> Iterator[str]:
            with tracer.start_as_current_span("part"):
                yield "x"

        return flask.Response(flask.stream_with_context(parts()))

    blueprint = flask.Blueprint("admin", "admin", url_prefix="/admin")
    blueprint.add_url_rule("/users", view_func=lambda: "users")
    app.register_blueprint(blueprint)
    return app


def main(whose: str) -> None:
    recorder = Recorder()
    providers = {"tracer_provider": recorder.tracer_provider, "meter_provider": recorder.meter_provider}
    if whose == "ours":
        from spanwise.instrumentors.flask import FlaskInstrumentor

        FlaskInstrumentor().instrument(**providers)
    else:
        from opentelemetry.instrumentation.flask import FlaskInstrumentor as Contrib

        Contrib().instrument(**providers)
    client = application(recorder).test_client()
    requests: dict[str, dict[str, Any]] = {
        "a page": {"path": "/item/3"},
        "a query": {"path": "/item/3?a=b"},
        "a port": {"path": "/item/3", "base_url": "http://shop.example:8080"},
        "over https": {"path": "/item/3", "base_url": "https://shop.example"},
        "a body": {"path": "/item/3", "method": "POST", "data": b"12345"},
        "head": {"path": "/item/3", "method": "HEAD"},
        "a blueprint's": {"path": "/admin/users"},
        "in a trace": {"path": "/item/3", "headers": {"traceparent": PARENT}},
        "no such page": {"path": "/no/such/page"},
        "no such method": {"path": "/item/3", "method": "DELETE"},
        "an unknown method": {"path": "/item/3", "method": "BREW"},
        "refused before": {"path": "/item/3?refuse=1"},
        "an abort": {"path": "/aborts/503"},
        "a client's error": {"path": "/aborts/400"},
        "an exception": {"path": "/raises"},
        "a stream": {"path": "/streams"},
        "a proxied client": {"path": "/item/3", "headers": {"X-Forwarded-For": "203.0.113.9"}},
        "a user agent": {"path": "/item/3", "headers": {"User-Agent": "shop-test/1"}},
    }
    for name, request in requests.items():
        with recorder.step(name):
            client.open(**request).close()
    print(json.dumps(recorder.steps))


if __name__ == "__main__":
    main(sys.argv[1])
