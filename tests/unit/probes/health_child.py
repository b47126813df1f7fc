"""A process whose health goes bad: run by a test, which reads what it prints."""

from __future__ import annotations

import json
import os
import sys
import time

import flask

import spanwise

app = flask.Flask("shop")
app.register_blueprint(spanwise.health_endpoint)


@app.get("/")
def index() -> str:
    return "hello"


client = app.test_client()
client.get("/")  # what the first request takes is over: the next one comes before the first sample
print(json.dumps({"before": spanwise.health().as_dict()}))
spanwise.configure(service_name="shop", metrics_exporter="otlp", traces_exporter="otlp", logs_exporter="none")
print(json.dumps({"first": client.get("/health").get_json()}))
end = time.monotonic() + 60
while (found := spanwise.health()).status != "critical" and time.monotonic() < end:
    time.sleep(0.05)
print(json.dumps({"then": found.as_dict()}))
time.sleep(1.1)  # the answer before is kept for a second
answer = client.get("/health")
client.get("/")
print(json.dumps({"endpoint": [answer.status_code, answer.get_json()]}))
sys.stdout.flush()
pid = os.fork()
if pid == 0:
    print(json.dumps({"forked": spanwise.health().as_dict()}), flush=True)
    os._exit(0)
os.waitpid(pid, 0)
from opentelemetry import trace  # noqa: E402

trace.get_tracer_provider().force_flush()  # type: ignore[attr-defined]
