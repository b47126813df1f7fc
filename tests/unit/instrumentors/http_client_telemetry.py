"""What the tests of HTTP clients share: the clients by name, and what was told of their requests."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import httpx
import requests
import urllib3
from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from spanwise.instrumentors._abandoned import end_abandoned
from spanwise.instrumentors.httpx import HTTPXClientInstrumentor
from spanwise.instrumentors.requests import RequestsInstrumentor
from spanwise.instrumentors.urllib import URLLibInstrumentor
from spanwise.instrumentors.urllib3 import URLLib3Instrumentor
from spanwise.meters.provider import MeterProvider
from spanwise.spans.provider import TracerProvider

__all__ = ["CLIENTS", "INSTRUMENTORS", "Ours", "Stock", "Telemetry"]


def by_requests(url: str, **options: Any) -> int:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, **options).status_code


def by_urllib3(url: str, **options: Any) -> int:
    with urllib3.PoolManager() as pool:
        return pool.request("GET", url, retries=False, redirect=False, **options).status


def by_urllib(url: str, **options: Any) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, **options)) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def by_httpx(url: str, **options: Any) -> int:
    with httpx.Client(trust_env=False) as client:
        return client.get(url, **options).status_code


def by_httpx_async(url: str, **options: Any) -> int:
    async def get() -> int:
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(url, **options)).status_code

    return asyncio.run(get())


CLIENTS: dict[str, Callable[..., int]] = {
    "requests": by_requests,
    "urllib3": by_urllib3,
    "urllib": by_urllib,
    "httpx": by_httpx,
    "httpx, asynchronous": by_httpx_async,
}
INSTRUMENTORS: dict[str, Any] = {
    "requests": RequestsInstrumentor,
    "urllib3": URLLib3Instrumentor,
    "urllib": URLLibInstrumentor,
    "httpx": HTTPXClientInstrumentor,
}


class Stock:
    TracerProvider, MeterProvider = SdkTracerProvider, SdkMeterProvider


class Ours:
    TracerProvider, MeterProvider = TracerProvider, MeterProvider


class Telemetry:
    """What was told, through the SDK's own providers or ours."""

    def __init__(self, whose: Any = Ours) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.provider = whose.TracerProvider(resource=Resource({}), shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = whose.MeterProvider([self.reader], Resource({}), shutdown_on_exit=False)
        self.tracer = self.provider.get_tracer("test")

    def instrument(self, *libraries: str, **options: Any) -> None:
        """Observes these libraries, or all of them."""
        for library in libraries or INSTRUMENTORS:
            INSTRUMENTORS[library]().uninstrument()
            INSTRUMENTORS[library]().instrument(
                tracer_provider=self.provider, meter_provider=self.meters, **options
            )

    @staticmethod
    def uninstrument() -> None:
        """Observes none."""
        for instrumentor in INSTRUMENTORS.values():
            instrumentor().uninstrument()
        end_abandoned()

    @property
    def spans(self) -> list[Any]:
        """In the order of their start."""
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time)

    @property
    def span(self) -> Any:
        """The only one."""
        (span,) = self.spans
        return span

    def points(self, name: str) -> list[Any]:
        """A metric's."""
        data: Any = self.reader.get_metrics_data()
        return [
            point
            for scope in (data.resource_metrics[0].scope_metrics if data else ())
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]
