"""Variables that OpenTelemetry's own parts read, and those that nobody reads: misspelt ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spanwise import environment
from spanwise.settings import documentation
from spanwise.variables import KNOWN, is_known, meant


@pytest.mark.parametrize(
    ("name", "value", "left"),
    [
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "-1", None),
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "abc", None),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "1.5", None),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "9" * 30, "1000000"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "9" * 30, str(2**31 - 1)),
        ("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "x", None),
        ("OTEL_BSP_EXPORT_TIMEOUT", "soon", None),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "some", None),
        ("OTEL_TRACES_SAMPLER", "traceidratoi", None),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=a, nothing ,b=1=2", "team=a,b=1=2"),
        ("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "os,nowhere", "os"),
        ("OTEL_PYTHON_METER_PROVIDER", "nobody_s", None),
        ("OTEL_PYTHON_CONTEXT", "nobody_s", None),
        ("OTEL_PYTHON_LOG_LEVEL", "loud", None),
        ("OTEL_PYTHON_LOG_CORRELATION", "yes", None),
        ("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "2", None),
        ("OTEL_PYTHON_FLASK_EXCLUDED_URLS", "health,[a,metrics", "health,metrics"),
        ("OTEL_PYTHON_EXCLUDED_URLS", "(", None),
        ("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST", "x-a,*", "x-a"),
        ("OTEL_SEMCONV_STABILITY_OPT_IN", "htp", None),
        ("OTEL_SEMCONV_STABILITY_OPT_IN", "http,htp", "http,htp"),
    ],
)
def test_what_cannot_be_used_is_taken_out_and_told(name: str, value: str, left: str | None) -> None:
    environ = {name: value, "PATH": "/bin", "OTEL_SERVICE_NAME": "shop"}
    (problem,) = environment.mend(environ)
    assert name in problem
    assert environ.get(name) == left
    assert (environ["PATH"], environ["OTEL_SERVICE_NAME"]) == ("/bin", "shop")
    # Children, and a second launch in the process, find nothing to tell of.
    if left != value:
        assert environment.mend(environ) == []


@pytest.mark.parametrize(
    ("sampler", "argument", "left"),
    [
        ("traceidratio", "abc", None),
        ("traceidratio", "2.5", None),
        ("parentbased_traceidratio", "nan", None),
        ("TraceIdRatio", "-0.1", None),
        ("", "0.1", "0.1"),
    ],
)
def test_a_share_that_is_none_leaves_the_sampler(sampler: str, argument: str, left: str | None) -> None:
    environ = {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument}
    (problem,) = environment.mend(environ)
    assert "OTEL_TRACES_SAMPLER_ARG" in problem
    assert environ.get("OTEL_TRACES_SAMPLER_ARG") == left
    assert environ["OTEL_TRACES_SAMPLER"] == sampler


GOOD = {
    "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
    "OTEL_TRACES_SAMPLER_ARG": "0.25",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "64",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "",
    "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=prod,a=%20b",
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "process,*",
    "OTEL_PYTHON_TRACER_PROVIDER": "sdk_tracer_provider",
    "OTEL_PYTHON_LOG_LEVEL": "WARNING",
    "OTEL_SEMCONV_STABILITY_OPT_IN": "http/dup, database",
    "OTEL_PYTHON_DJANGO_EXCLUDED_URLS": "health.*,/x/[0-9]+",
}


def test_what_can_be_used_stays_and_nothing_is_told() -> None:
    environ = dict(GOOD)
    assert environment.mend(environ) == []
    assert environ == GOOD


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_authorities_that_cannot_be_read_are_told(name: str, tmp_path: Path) -> None:
    environ = {name: str(tmp_path / "gone.pem")}
    (problem,) = environment.mend(environ)
    assert name in problem
    assert environ == {name: str(tmp_path / "gone.pem")}  # other libraries' too
    (tmp_path / "gone.pem").touch()
    assert environment.mend(environ) == []


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("SPANWISE_STARTUPREPORT", "SPANWISE_STARTUP_REPORT"),
        ("SPANWISE_SPOOL", "SPANWISE_SPOOL_DIR"),
        ("spanwise_profile", "SPANWISE_PROFILE"),
        ("SPANWISE_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("SPANWISE_SERVICE_NAME", "OTEL_SERVICE_NAME"),
        ("OTEL_SERVICENAME", "OTEL_SERVICE_NAME"),
        ("OTEL_TRACE_EXPORTER", "OTEL_TRACES_EXPORTER"),
        ("OTEL_EXPORTER_OTLP_ENDPONT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("OTEL_EXPORTER_OTLP_TRACE_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"),
        ("OTEL_EXPORTER_OLTP_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"),
        ("OTEL_PYTHON_LOG_CORELATION", "OTEL_PYTHON_LOG_CORRELATION"),
        ("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUESTS", "_SERVER_REQUEST"),
        ("OTLE_SERVICE_NAME", "OTEL_SERVICE_NAME"),
        ("OTL_SERVICE_NAME", "OTEL_SERVICE_NAME"),
        ("TEL_SERVICE_NAME", "OTEL_SERVICE_NAME"),
        ("OPENTELEMETRY_SERVICE_NAME", "OTEL_SERVICE_NAME"),
        ("PANWISE_SPOOL_DIR", "SPANWISE_SPOOL_DIR"),
        ("sapnwise_spool_dir", "SPANWISE_SPOOL_DIR"),
        ("SPANWISE_REPORT", "SPANWISE_STARTUP_REPORT"),
        ("SPANWISE_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"),
        ("SPANWISE_SERVICE", "OTEL_SERVICE_NAME"),
        ("OTEL_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("OTEL_BSP_MAX_QUEUE", "OTEL_BSP_MAX_QUEUE_SIZE"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT_MILLIS", "OTEL_EXPORTER_OTLP_TIMEOUT"),
    ],
)
def test_a_misspelt_variable_is_told_what_was_meant(written: str, wanted: str) -> None:
    (problem,) = environment.mend({written: "1"})
    assert repr(written) in problem
    assert "Did you mean" in problem
    assert f"{wanted}?" in problem


def test_a_variable_that_can_only_be_ours_is_told_where_nothing_is_near() -> None:
    (problem,) = environment.mend({"SPANWISE_ZZZZZZ": "1"})
    assert "'SPANWISE_ZZZZZZ'" in problem


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_COLLECTOR_SERVICE_HOST", "10.0.0.1"),
        ("OTEL_SERVICE_HOST", "10.0.0.1"),
        ("OTEL_SERVICE_PORT", "4317"),
        ("OTEL_SERVICE_PORT_OTLP_GRPC", "4317"),
        ("OTEL_PORT", "tcp://10.0.0.1:4317"),
        ("OTEL_COLLECTOR_PORT_4317_TCP_ADDR", "10.0.0.1"),
        ("OTEL_PORT_4317_TCP", "tcp://10.0.0.1:4317"),
        ("OTEL_PORT_6831_UDP_PROTO", "udp"),
        ("SPANWISE_CONSOLE_SERVICE_HOST", "10.0.0.1"),
        ("SPANWISE_CONSOLE_PORT_4318_TCP_PORT", "4318"),
        ("OTEL_JAVAAGENT_ENABLED", "true"),
        ("OTEL_JAVA_GLOBAL_AUTOCONFIGURE_ENABLED", "true"),
        ("OTEL_DOTNET_AUTO_HOME", "/x"),
        ("OTEL_NODE_RESOURCE_DETECTORS", "env"),
        ("OTEL_RESOURCE_ATTRIBUTES_POD_NAME", "shop-1"),
        ("OTEL_RESOURCE_ATTRIBUTES_POD_UID", "1"),
        ("OTEL_POD_IP", "10.0.0.1"),
        ("TEL_NUMBER", "1"),
        ("OTLET", "1"),
        ("OPENTELEMETRY_COLLECTOR_PORT", "tcp://10.0.0.1:4317"),
        ("OTEL_GO_AUTO_TARGET_EXE", "/x"),
        ("OTEL_PHP_AUTOLOAD_ENABLED", "true"),
        ("OTEL_INSTRUMENTATION_COMMON_DEFAULT_ENABLED", "true"),
        ("OTEL_INSTRUMENTATION_HTTP_CLIENT_CAPTURE_REQUEST_HEADERS", "x"),
        ("OTEL_PYTHON_FASTAPI_EXCLUDED_URLS", "x"),
        ("OTEL_SERVICE_VERSION", "1"),
        ("OTEL_MY_OWN", "1"),
        ("OTEL_ENDPOINT", "x"),
        ("SPANNER_EMULATOR_HOST", "x"),
        ("SPAN", "x"),
        *((name, "1") for name in ("OTEL_LOG_LEVEL", "OTEL_EXPORTER_JAEGER_ENDPOINT", "OTEL_CONFIG_FILE")),
    ],
)
def test_what_belongs_to_others_is_no_misspelling(name: str, value: str) -> None:
    environ = {name: value}
    assert environment.mend(environ) == []
    assert environ == {name: value}


def test_no_known_variable_is_nearest_to_another() -> None:
    assert all(meant(name) == name for name in KNOWN)


def test_every_setting_and_every_variable_of_the_sdk_is_known() -> None:
    from opentelemetry import environment_variables as api
    from opentelemetry.instrumentation import environment_variables as instrumentation
    from opentelemetry.sdk import environment_variables as sdk

    wanted = {row[0] for row in documentation()}
    for module in (api, instrumentation, sdk):
        wanted |= {value for name, value in vars(module).items() if name.lstrip("_").startswith("OTEL_")}
    assert sorted(wanted - KNOWN) == []
    assert all(is_known(name, "") for name in wanted)


def test_the_sdk_is_imported_after_the_environment_was_mended(tmp_path: Path) -> None:
    """It raises on its import for a bad limit."""
    code = (
        "import spanwise\nspanwise.configure()\n"
        "from opentelemetry import trace\n"
        "print(type(trace.get_tracer_provider()).__module__)\n"
    )
    for launcher in (
        [sys.executable, "-c", code],
        [sys.executable, "-m", "spanwise", "run", "python", "-c", code],
    ):
        done = subprocess.run(
            launcher,
            capture_output=True,
            text=True,
            timeout=120,
            cwd=tmp_path,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
                **{f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")},
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "-1",
                "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": "many",
            },
        )
        assert done.stdout == "spanwise.spans.provider\n", done.stderr
        assert len(done.stderr.splitlines()) == 2, done.stderr
        assert "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT" in done.stderr
        assert "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT" in done.stderr
