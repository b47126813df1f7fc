"""The Collector's gateway configuration: rates, measures, then samples."""

from __future__ import annotations

from typing import Any, Final

from spanwise import names
from spanwise.artefacts.edges import edges
from spanwise.artefacts.environment import Env
from spanwise.artefacts.pipeline import (
    BATCH,
    MEMORY_LIMITER,
    configuration,
    extensions,
    otlp,
    pipeline,
    service,
)
from spanwise.artefacts.rating import statements
from spanwise.rules.model import Rule, Sampling

__all__ = ["gateway"]

# What span metrics are told apart by. Only names whose values are few: each new value is a new series.
DIMENSIONS: Final = (
    names.HTTP_ROUTE,
    names.HTTP_REQUEST_METHOD,
    names.HTTP_RESPONSE_STATUS_CODE,
    names.DB_SYSTEM_NAME,
    names.DB_OPERATION_NAME,
    names.SERVER_ADDRESS,
    names.RATING,
    names.RATING_RULE,
    names.OBJECTIVE,
    names.OBJECTIVE_MET,
    names.SERVICE_VERSION,
)

# Of the resource, on each of the application's own series.
_TOLD: Final = (names.SERVICE_NAME, names.SERVICE_VERSION)

_NUM_TRACES: Final = 50_000

_COMMENTS: Final = {
    "extensions": """\
file_storage keeps the queue to Jaeger over a restart. Without it, what Jaeger has not taken is lost.""",
    "receivers": """\
Loopback unless the environment says otherwise. OTLP has no authentication here: put a proxy before it,
or keep it on a private network.""",
    "processors": """\
memory_limiter stands first in every pipeline, or the Collector is killed instead of refusing data that
the senders would send again.
transform/threshold gives the verdict that the process gives: the same rules, compared in nanoseconds.
transform/service names the service and its version on each of the application's own series, as span
metrics do: `spanwise gate --version` tells a new version's from the old one's by it.
transform/instance takes the instance off span metrics, which are counted for all instances together.
tail_sampling: decision_wait must outlast a trace's slowest span, or that span is not part of the
decision. A trace beyond num_traces is dropped undecided. The caches remember decisions for late spans;
at their default of 0, late spans of a decided trace are decided anew, and traces arrive in parts.
transform/policy writes on each span which policy kept its trace. Start the Collector with
--feature-gates=processor.tailsamplingprocessor.recordpolicy for that; without, it has nothing to write.""",
    "connectors": """\
They stand before sampling: counts and histograms cover every span, not the kept ones. Each edge of the
thresholds is a bucket, so a share above a limit is exact. Two spans differ in a series only by the
dimensions; adding one with many values multiplies the series. resource_metrics_key_attributes: without
them, each restart of a process starts a new series.""",
    "exporters": """\
The queue to Jaeger is on disk, counted in requests, and retried without end.
debug prints how many log records came; give the logs pipeline an otlp_http exporter to store them.""",
    "service": """\
traces/in → rating → span metrics, service graph → traces/kept → tail sampling → Jaeger.
The Collector's own metrics are on SPANWISE_TELEMETRY_HOST and SPANWISE_TELEMETRY_PORT.""",
}


def gateway(rules: tuple[Rule, ...]) -> str:
    """The gateway's configuration as YAML text."""
    sampling = next(rule for rule in rules if isinstance(rule, Sampling))
    sections: dict[str, Any] = {
        "extensions": extensions(),
        "receivers": otlp(),
        "processors": _processors(rules, sampling),
        "connectors": _connectors(rules),
        "exporters": _exporters(),
        "service": _service(),
    }
    return configuration(rules, sections, _COMMENTS)


def _duration(nanoseconds: int) -> str:
    for unit, size in (("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)):
        if nanoseconds % size == 0:
            return f"{nanoseconds // size}{unit}"
    return f"{nanoseconds}ns"


def _processors(rules: tuple[Rule, ...], sampling: Sampling) -> dict[str, Any]:
    told = [(f'datapoint.attributes["{each}"]', f'resource.attributes["{each}"]') for each in _TOLD]
    policy = f'"{names.SAMPLING_POLICY}"'
    kept = f"instrumentation_scope.attributes[{policy}]"
    return {
        "memory_limiter": MEMORY_LIMITER,
        "transform/threshold": {
            # A statement that fails on one span must not lose the others.
            "error_mode": "ignore",
            "trace_statements": [{"context": "span", "statements": statements(rules)}],
        },
        "transform/service": {
            "error_mode": "ignore",
            "metric_statements": [
                {
                    "context": "datapoint",
                    "statements": [
                        f"set({label}, {resource}) where {resource} != nil" for label, resource in told
                    ],
                }
            ],
        },
        "transform/instance": {
            "error_mode": "ignore",
            "metric_statements": [
                {
                    "context": "resource",
                    "statements": [f'delete_key(resource.attributes, "{names.SERVICE_INSTANCE_ID}")'],
                }
            ],
        },
        "tail_sampling": {
            "decision_wait": Env("SPANWISE_DECISION_WAIT", _duration(sampling.decision_wait)),
            "num_traces": Env("SPANWISE_NUM_TRACES", _NUM_TRACES),
            "decision_cache": {
                "sampled_cache_size": 10 * _NUM_TRACES,
                "non_sampled_cache_size": 10 * _NUM_TRACES,
            },
            "policies": _policies(sampling),
        },
        "transform/policy": {
            "error_mode": "ignore",
            "trace_statements": [
                {
                    "context": "span",
                    "statements": [f"set(span.attributes[{policy}], {kept}) where {kept} != nil"],
                }
            ],
        },
        "batch": BATCH,
    }


def _policies(sampling: Sampling) -> list[dict[str, Any]]:
    policies: list[dict[str, Any]] = []
    if "error" in sampling.keep:
        policies.append({"name": "error", "type": "status_code", "status_code": {"status_codes": ["ERROR"]}})
    ratings = [each for each in sampling.keep if each != "error"]
    if ratings:
        policies.append(
            {
                "name": "rated",
                "type": "string_attribute",
                "string_attribute": {"key": names.RATING, "values": ratings},
            }
        )
    policies.append(
        {
            "name": "baseline",
            "type": "probabilistic",
            "probabilistic": {"sampling_percentage": Env("SPANWISE_BASELINE", sampling.baseline)},
        }
    )
    return policies


def _connectors(rules: tuple[Rule, ...]) -> dict[str, Any]:
    buckets = [_duration(edge) for edge in edges(rules)]
    return {
        "spanmetrics": {
            "namespace": names.SPAN_METRICS_NAMESPACE,
            "histogram": {"unit": "s", "explicit": {"buckets": buckets}},
            "dimensions": [{"name": each} for each in DIMENSIONS],
            "exemplars": {"enabled": True, "max_per_data_point": 5},
            "resource_metrics_key_attributes": [
                names.SERVICE_NAME,
                names.SERVICE_NAMESPACE,
                names.DEPLOYMENT_ENVIRONMENT,
                names.SERVICE_VERSION,
            ],
            # Beyond it, spans are counted in one overflow series: sums stay right, memory stays bounded.
            "aggregation_cardinality_limit": 20_000,
            "metrics_flush_interval": Env("SPANWISE_METRICS_FLUSH", "15s"),
        },
        "servicegraph": {
            "latency_histogram_buckets": buckets,
            # How long one half of a call waits for the other, and how many wait at a time.
            "store": {"ttl": "10s", "max_items": 20_000},
            "metrics_flush_interval": Env("SPANWISE_METRICS_FLUSH", "15s"),
        },
        "forward/kept": {},
    }


def _exporters() -> dict[str, Any]:
    return {
        "otlp_grpc/jaeger": {
            "endpoint": Env("SPANWISE_JAEGER_ENDPOINT", "127.0.0.1:4319"),
            "tls": {"insecure": Env("SPANWISE_JAEGER_INSECURE", "true")},
            "sending_queue": {"enabled": True, "storage": "file_storage", "queue_size": 5_000},
            "retry_on_failure": {"enabled": True, "max_interval": "30s", "max_elapsed_time": "0s"},
        },
        "prometheus": {
            "endpoint": Env("SPANWISE_PROMETHEUS_LISTEN", "127.0.0.1:8889"),
            "enable_open_metrics": True,  # the only exposition format with exemplars
            "add_metric_suffixes": True,
        },
        "debug": {"verbosity": "basic"},
    }


def _service() -> dict[str, Any]:
    return service(
        {
            "traces/in": pipeline(
                ["otlp"],
                ["memory_limiter", "transform/threshold"],
                ["spanmetrics", "servicegraph", "forward/kept"],
            ),
            "traces/kept": pipeline(
                ["forward/kept"], ["tail_sampling", "transform/policy", "batch"], ["otlp_grpc/jaeger"]
            ),
            "metrics/spans": pipeline(
                ["spanmetrics", "servicegraph"], ["transform/instance", "batch"], ["prometheus"]
            ),
            "metrics/app": pipeline(
                ["otlp"], ["memory_limiter", "transform/service", "batch"], ["prometheus"]
            ),
            "logs": pipeline(["otlp"], ["memory_limiter", "batch"], ["debug"]),
        }
    )
