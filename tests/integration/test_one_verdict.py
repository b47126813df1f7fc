"""One verdict: the process, the real Collector with the generated configuration, and replay rate alike, span
by span, and the Collector keeps the traces and counts the spans that replay says."""

from __future__ import annotations

import re
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from backends import Collector, answers, collector
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.trace import SpanKind
from otlp_sink import Sink, otlp_sink
from parts import need
from servers import free_port, running, wait_for

from rating_traffic import Sent, request, rules_of, traffic
from spanwise import names
from spanwise.artefacts.collector import DIMENSIONS, gateway
from spanwise.rating.lowered import compile_rules
from spanwise.replay.ratings import GOOD
from spanwise.replay.replay import Outcome, Replay
from spanwise.replay.sources import read_file
from spanwise.replay.spans import Losses
from spanwise.rules.model import Burn, Match, MetricRule, Objective, Rule, Sampling, Series, SpanRule
from spanwise.thresholds.load import load, lower

pytestmark = pytest.mark.real

SEED = 20261121  # of a failure, change it to see whether it is one of a kind
REQUEST_SPANS = 500

Verdicts = list[tuple[str, str, float] | None]


def post(to: Collector, message: ExportTraceServiceRequest) -> None:
    asked = urllib.request.Request(
        f"{to.http}/v1/traces",
        message.SerializeToString(),
        {"Content-Type": "application/x-protobuf"},
    )
    with urllib.request.urlopen(asked, timeout=20) as answer:
        assert answer.status == 200


def replayed(rules: tuple[Rule, ...], file: Path) -> tuple[Verdicts, Outcome]:
    losses, run = Losses(), Replay(rules, DIMENSIONS)
    said = [each for batch in read_file(file, losses, lambda _: None) for each in run.add(batch)]
    assert not losses, losses.problems
    return [None if each is None or each.rating == GOOD else tuple(each) for each in said], run.outcome()


def framed(messages: list[ExportTraceServiceRequest]) -> bytes:
    bodies = [message.SerializeToString() for message in messages]
    return b"".join(len(body).to_bytes(4, "big") + body for body in bodies)


@pytest.fixture(scope="module")
def edges() -> tuple[tuple[Rule, ...], list[Sent], list[ExportTraceServiceRequest]]:
    """The shipped rules and generated ones, and spans at all their edges."""
    random = Random(SEED)
    shipped = [rule for rule in lower(load(None, "testing")) if not isinstance(rule, Sampling)]
    rules = (*shipped, *rules_of(random, 25), Sampling(("error",), 100.0, 1_000_000_000))
    sent = traffic(rules, random)
    parts = [sent[first : first + REQUEST_SPANS] for first in range(0, len(sent), REQUEST_SPANS)]
    return rules, sent, [request(part, random, {names.SERVICE_NAME: "edges"}) for part in parts]


@pytest.fixture
def sink() -> Iterator[Sink]:
    with otlp_sink() as found:
        yield found


def rated(attributes: dict[str, Any]) -> tuple[str, str, float] | None:
    said = tuple(attributes.get(key) for key in (names.RATING, names.RATING_RULE, names.RATING_LIMIT))
    return None if said == (None,) * 3 else said  # type: ignore[return-value]


def test_process_collector_and_replay_agree_on_every_span(
    edges: tuple[tuple[Rule, ...], list[Sent], list[ExportTraceServiceRequest]], sink: Sink, tmp_path: Path
) -> None:
    rules, sent, messages = edges
    assert len(sent) > 2_000
    verdict = compile_rules(rules)
    in_the_process: Verdicts = []
    for each in sent:
        found = verdict(each.name, each.kind, each.attributes, each.duration) if each.kind else None
        in_the_process.append(tuple(found) if found else None)
    file = tmp_path / "traces.pb"
    file.write_bytes(framed(messages))
    by_replay, _ = replayed(rules, file)

    config = tmp_path / "gateway.yaml"
    config.write_text(gateway(rules), encoding="utf-8")
    environ = {
        "SPANWISE_JAEGER_ENDPOINT": sink.grpc_endpoint.removeprefix("http://"),
        "SPANWISE_DECISION_WAIT": "1s",
    }
    with collector(tmp_path, environ, config) as gate:
        for message in messages:
            post(gate, message)
        sink.wait_for(lambda found: len(found.spans()) >= len(sent), 60)
    by_id = {span["span_id"]: rated(span["attributes"]) for span in sink.spans()}
    assert len(by_id) == len(sent)
    ids = [
        span.span_id.hex()
        for message in messages
        for group in message.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]
    by_collector = [by_id[span_id] for span_id in ids]

    def differing(one: Verdicts, other: Verdicts) -> list[Any]:
        return [each for each in zip(sent, one, other, strict=True) if each[1] != each[2]][:5]

    assert differing(by_collector, by_replay) == []
    # What has no kind cannot come from the process.
    told = zip(sent, in_the_process, by_replay, strict=True)
    here = [each if span.kind else said for span, each, said in told]
    assert differing(by_collector, here) == []
    assert {each[0] for each in by_collector if each} == {"acceptable", "poor", "critical"}
    assert len({each[1] for each in by_collector if each}) > 25, "most rules decide something"


def test_the_collector_keeps_and_counts_what_replay_says(sink: Sink, tmp_path: Path) -> None:
    """By the real baseline policy, trace by trace; and the counts that alerts are made of."""
    slow = SpanRule("slow", (Match("server"),), 100, 200, 300)
    calls = names.SPAN_METRICS_CALLS

    def counted(name: str, *labels: tuple[str, str]) -> MetricRule:
        of = Series(calls.name, calls.unit, "counter", tuple(sorted(labels)))
        return MetricRule(name, "increase", of, 0, "warning", window=300_000_000_000)

    watched = {
        "servers": (("span.kind", "SPAN_KIND_SERVER"),),
        "failed": (("span.kind", "SPAN_KIND_SERVER"), ("status.code", "STATUS_CODE_ERROR")),
        "critical": ((names.RATING, "critical"), (names.RATING_RULE, "slow")),
        "route": (("http.route", "/a"), ("span.name", "GET /a")),
        "status": (("http.response.status_code", "500"),),
    }
    hours, of = 3_600_000_000_000, Series(calls.name, calls.unit, "counter")
    rules: tuple[Rule, ...] = (
        slow,
        *(counted(name, *labels) for name, labels in watched.items()),
        Objective("aim", "slow", 0.999, 0.001, hours, of, of, (Burn(hours, hours, "1", 0.0, "warning"),)),
        Sampling(("error", "critical"), 10.0, 1_000_000_000),
    )
    # What the Collector marks for an objective, and as missed.
    watched |= {
        "total": ((names.OBJECTIVE, "slow"),),
        "missed": ((names.OBJECTIVE, "slow"), (names.OBJECTIVE_MET, "false")),
    }
    random = Random(SEED)
    sent = [
        Sent(
            random.choice(("GET /a", "GET /b")),
            random.choice((SpanKind.SERVER, SpanKind.CLIENT)),
            {
                "http.route": random.choice(("/a", "/b")),
                "http.response.status_code": random.choice((200, 500)),
            },
            random.choice((50, 150, 250, 301) if random.random() < 0.1 else (50, 100)),
        )
        for _ in range(4_000)
    ]
    message = request(sent, random, {names.SERVICE_NAME: "sampled"})
    for span in message.resource_spans[0].scope_spans[0].spans:
        span.status.code = 2 if random.random() < 0.02 else 0
    file = tmp_path / "traces.pb"
    file.write_bytes(message.SerializeToString())
    verdicts, outcome = replayed(rules, file)
    spans = message.resource_spans[0].scope_spans[0].spans

    config = tmp_path / "gateway.yaml"
    config.write_text(gateway(rules), encoding="utf-8")
    environ = {
        "SPANWISE_JAEGER_ENDPOINT": sink.grpc_endpoint.removeprefix("http://"),
        "SPANWISE_DECISION_WAIT": "1s",
        "SPANWISE_METRICS_FLUSH": "500ms",
    }
    with collector(tmp_path, environ, config) as gate:
        post(gate, message)
        kept = sum(each.traces for each in outcome.kept.values())
        sink.wait_for(lambda found: len(found.spans()) >= kept, 60)

        def scraped() -> Counter[str] | None:
            with urllib.request.urlopen(f"http://{gate.prometheus}/metrics", timeout=5) as answer:
                text = answer.read().decode()
            found: Counter[str] = Counter()
            for labels, value in re.findall(r"^traces_span_metrics_calls_total{(.*?)} (\S+)", text, re.M):
                for name, wanted in watched.items():
                    if all(f'{key.replace(".", "_")}="{each}"' in labels for key, each in wanted):
                        found[name] += int(float(value))
                found["all"] += int(float(value))
            return found if found["all"] == len(sent) else None

        real = wait_for(scraped, 30, "all spans counted")
        # Nothing more comes: the gateway's shutdown decides and sends what it still holds.
    wanted_by = Counter(
        "error" if span.status.code == 2 else "rated" if said and said[0] == "critical" else "any other"
        for span, said in zip(spans, verdicts, strict=True)
    )
    assert {policy: outcome.kept[policy].traces for policy in ("error", "rated")} == {
        policy: wanted_by[policy] for policy in ("error", "rated")
    }
    assert 200 < outcome.kept["baseline"].traces < 600
    assert len(sink.spans()) == kept
    sizes = {span.span_id.hex(): span.ByteSize() for span in spans}
    assert sum(sizes[span["span_id"]] for span in sink.spans()) == sum(
        each.size for each in outcome.kept.values()
    )
    counts = {alert.rule: int(alert.worst) for alert in outcome.alerts if not alert.budget}
    assert counts == {name: real[name] for name in counts}
    assert len(counts) == 5
    (aim,) = (alert for alert in outcome.alerts if alert.budget)
    assert aim.worst == real["missed"] / real["total"]


def test_what_the_file_exporter_writes_is_read(tmp_path: Path) -> None:
    """The Collector's own files: JSON lines and protobuf, which hold what was sent."""
    random = Random(SEED)
    rules: tuple[Rule, ...] = (*rules_of(random, 8), Sampling((), 10.0, 1_000_000_000))
    sent = traffic(rules, random)
    message = request(sent, random, {names.SERVICE_NAME: "files"})
    direct = tmp_path / "direct.pb"
    direct.write_bytes(message.SerializeToString())
    http, health = free_port(), free_port()
    written = {"json": tmp_path / "traces.jsonl", "proto": tmp_path / "traces.pb"}
    config = {
        "extensions": {"health_check": {"endpoint": f"127.0.0.1:{health}"}},
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{http}"}}}},
        "exporters": {f"file/{form}": {"path": str(path), "format": form} for form, path in written.items()},
        "service": {
            "extensions": ["health_check"],
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {
                "traces": {"receivers": ["otlp"], "exporters": [f"file/{form}" for form in written]}
            },
        },
    }
    path = tmp_path / "files.yaml"
    path.write_text(yaml.safe_dump(config))
    program = need("otelcol", "scripts/build-collector")
    with running(
        [program, "--config", str(path)], tmp_path / "log", lambda: answers(f"http://127.0.0.1:{health}")
    ):
        gate = Collector(f"http://127.0.0.1:{http}", "", "", "")
        post(gate, message)
    expected, _ = replayed(rules, direct)
    assert any(expected)
    for file in written.values():
        assert replayed(rules, file)[0] == expected
