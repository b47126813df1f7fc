"""Our names for Prometheus are those that the real Collector's exporter shows."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import pytest
from collectors import Running, running, until
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from spanwise import names
from spanwise.artefacts import prometheus_names
from spanwise.artefacts.collector import gateway
from spanwise.rules.model import Series
from spanwise.thresholds.load import load

pytestmark = pytest.mark.real
UNITS = [
    *("By/min", "By/h", "By/d", "By/w", "By/mo", "By/y", "By/m", "TBy/wk"),
    *("", "1", "s", "ms", "us", "ns", "By", "KiBy", "MBy", "%", "Cel", "{request}", "{a}/s", "By/s", "m/s"),
    *(
        "{request}/min",
        "By/{request}",
        "s/{request}",
        "kg",
        "W",
        "Hz",
        "d",
        "h",
        "min",
        "wk",
        "mo",
        "a",
        "m",
        "V",
    ),
    *(
        "A",
        "J",
        "g",
        "TBy",
        "TiBy",
        "GiBy",
        "bit",
        "k{thing}",
        "{thing}s",
        "1/s",
        "s/1",
        "m/h",
        "furlong",
        "x/y/z",
    ),
    *("requests", "a_b", "2x", "%/s", "total", "ratio", "seconds"),
]
WORDS = [
    *(
        "http",
        "total",
        "ratio",
        "seconds",
        "bytes",
        "s",
        "a_b",
        "x-y",
        "a/b",
        "__",
        "1st",
        "percent",
        "per",
        "count",
    ),
    *("bucket", "sum", "info", "milliseconds", "up", "_", "9", "-", "//", "total_total", "per_second"),
]


def cases() -> list[Series]:
    """Every metric that spanwise knows, and names and units put together at random, the same each time."""
    known = [
        Series(each.name, each.unit, each.kind)  # type: ignore[arg-type]
        for each in vars(names).values()
        if isinstance(each, names.Metric) and each.source != "collector"
    ]
    chance = random.Random(7)
    made = []
    for number in range(600):
        word = ".".join(chance.choice(WORDS) for _ in range(chance.randint(0, 3)))
        # A number of their own: two of the same name in Prometheus would be one.
        name = f"m{number}{chance.choice('._-/')}{word}"
        made.append(
            Series(
                name, chance.choice(UNITS), chance.choice(("gauge", "updowncounter", "counter", "histogram"))
            )
        )
    return known + made


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("names"), gateway(load().rules)) as found:
        yield found


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text"])
def test_names_and_labels(collector: Running, accept: str) -> None:
    series = cases()
    exporter = OTLPMetricExporter(endpoint=f"{collector.http}/v1/metrics")
    provider = MeterProvider(
        [PeriodicExportingMetricReader(exporter)], Resource({"service.name": "names"}), shutdown_on_exit=False
    )
    meter = provider.get_meter("names")
    keys = ["http.route", "a-b", "_x", "9th", "a c", "A.b/c", "key_9", "x__y"]
    attributes = dict.fromkeys(keys, "v")
    for each in series:
        if each.instrument == "gauge":
            meter.create_gauge(each.metric, each.unit).set(1, attributes)
        elif each.instrument == "updowncounter":
            meter.create_up_down_counter(each.metric, each.unit).add(1, attributes)
        elif each.instrument == "counter":
            meter.create_counter(each.metric, each.unit).add(1, attributes)
        else:
            meter.create_histogram(each.metric, each.unit).record(1, attributes)
    provider.force_flush()
    provider.shutdown()
    suffix = {"histogram": "_count"}
    wanted = {prometheus_names.metric(each) + suffix.get(each.instrument, ""): each for each in series}
    assert len(wanted) == len(series), "two have the same name"

    def shown() -> dict[str, str]:
        lines = re.findall(r'^([^\s{]+){((?:[^"}]|"(?:[^"\\]|\\.)*")*)}', collector.scraped(accept), re.M)
        return {name: labels for name, labels in lines if 'service_name="names"' in labels}

    until("the last metric", lambda: any(name.startswith("m599") for name in shown()))
    found = shown()
    lacking = {name: each for name, each in wanted.items() if name not in found}
    near = {
        f"{each.metric!r} in {each.unit!r}": (
            name,
            [one for one in found if one.startswith(f"{name.split('_')[0]}_")],
        )
        for name, each in lacking.items()
    }
    assert not near
    labels = set(re.findall(r'([^\s,{}="]+)="', found[next(iter(wanted))]))
    assert {prometheus_names.label(key) for key in keys} <= labels, labels
