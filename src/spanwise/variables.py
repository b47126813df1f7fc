"""The known environment variables, and which of them a misspelt one stands for.

Ours, the specification's (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/),
those of OpenTelemetry's Python packages and of our generated files. A variable that is missing here does no
harm, unless its name is close to one that is here.
"""

from __future__ import annotations

from spanwise.settings import OTLP, Exporter, documentation, fields

__all__ = ["KNOWN", "is_known", "meant", "might_be_meant"]

# Those that are no settings of ours: OpenTelemetry's packages', then the gate's and our generated files'.
_OTHERS = """
OTEL_ATTRIBUTE_COUNT_LIMIT OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT OTEL_BLRP_EXPORT_TIMEOUT OTEL_BSP_EXPORT_TIMEOUT
OTEL_ENTITIES OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT OTEL_EXPERIMENTAL_CONFIG_FILE
OTEL_EXPERIMENTAL_RESOURCE_DETECTORS OTEL_EXPORTER_JAEGER_AGENT_HOST OTEL_EXPORTER_JAEGER_AGENT_PORT
OTEL_EXPORTER_JAEGER_ENDPOINT OTEL_EXPORTER_JAEGER_PASSWORD OTEL_EXPORTER_JAEGER_PROTOCOL
OTEL_EXPORTER_JAEGER_TIMEOUT OTEL_EXPORTER_JAEGER_USER OTEL_EXPORTER_OTLP_METRIC_INSECURE
OTEL_EXPORTER_OTLP_SPAN_INSECURE OTEL_EXPORTER_PROMETHEUS_HOST OTEL_EXPORTER_PROMETHEUS_PORT
OTEL_EXPORTER_ZIPKIN_ENDPOINT OTEL_EXPORTER_ZIPKIN_TIMEOUT OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT
OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST
OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_RESPONSE
OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS
OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST
OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS
OTEL_LINK_ATTRIBUTE_COUNT_LIMIT OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT
OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT OTEL_LOG_ATTRIBUTE_COUNT_LIMIT OTEL_LOG_LEVEL
OTEL_METRICS_EXEMPLAR_FILTER OTEL_METRIC_EXPORT_TIMEOUT OTEL_PROPAGATORS
OTEL_PYTHON_AUTO_INSTRUMENTATION_EXPERIMENTAL_GEVENT_PATCH OTEL_PYTHON_CONFIGURATOR OTEL_PYTHON_CONTEXT
OTEL_PYTHON_DISTRO OTEL_PYTHON_DJANGO_INSTRUMENT OTEL_PYTHON_DJANGO_MIDDLEWARE_POSITION
OTEL_PYTHON_DJANGO_TRACED_REQUEST_ATTRS OTEL_PYTHON_ELASTICSEARCH_ENABLE_SANITIZATION
OTEL_PYTHON_ELASTICSEARCH_NAME_PREFIX OTEL_PYTHON_EXCLUDED_URLS
OTEL_PYTHON_EXPORTER_OTLP_GRPC_CREDENTIAL_PROVIDER OTEL_PYTHON_EXPORTER_OTLP_GRPC_LOGS_CREDENTIAL_PROVIDER
OTEL_PYTHON_EXPORTER_OTLP_GRPC_METRICS_CREDENTIAL_PROVIDER
OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES OTEL_PYTHON_EXPORTER_OTLP_GRPC_TRACES_CREDENTIAL_PROVIDER
OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER OTEL_PYTHON_EXPORTER_OTLP_HTTP_LOGS_CREDENTIAL_PROVIDER
OTEL_PYTHON_EXPORTER_OTLP_HTTP_METRICS_CREDENTIAL_PROVIDER
OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER OTEL_PYTHON_FALCON_TRACED_REQUEST_ATTRS
OTEL_PYTHON_FLASK_EXCLUDED_URLS OTEL_PYTHON_HTTPX_EXCLUDED_URLS OTEL_PYTHON_ID_GENERATOR
OTEL_PYTHON_INSTRUMENTATION_HTTP_CAPTURE_ALL_METHODS OTEL_PYTHON_LOGGER_CONFIGURATOR
OTEL_PYTHON_LOGGER_PROVIDER OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED
OTEL_PYTHON_LOG_AUTO_INSTRUMENTATION OTEL_PYTHON_LOG_CODE_ATTRIBUTES OTEL_PYTHON_LOG_CORRELATION
OTEL_PYTHON_LOG_FORMAT OTEL_PYTHON_LOG_HANDLER_LEVEL OTEL_PYTHON_LOG_HANDLER_LEVEL_BY_NAME
OTEL_PYTHON_LOG_LEVEL OTEL_PYTHON_METER_CONFIGURATOR OTEL_PYTHON_METER_PROVIDER
OTEL_PYTHON_PYRAMID_TRACED_REQUEST_ATTRS OTEL_PYTHON_REQUESTS_EXCLUDED_URLS
OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED OTEL_PYTHON_TORNADO_TRACED_REQUEST_ATTRS
OTEL_PYTHON_TRACER_CONFIGURATOR OTEL_PYTHON_TRACER_PROVIDER OTEL_PYTHON_URLLIB3_EXCLUDED_URLS
OTEL_PYTHON_URLLIB_EXCLUDED_URLS OTEL_RESOURCE_ATTRIBUTES OTEL_RESOURCE_DETECTORS OTEL_RESOURCE_PROVIDERS
OTEL_SEMCONV_STABILITY_OPT_IN OTEL_SERVICE_NAMESPACE OTEL_SERVICE_VERSION OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT
OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT OTEL_SPAN_EVENT_COUNT_LIMIT OTEL_SPAN_LINK_COUNT_LIMIT
OTEL_TRACES_SAMPLER OTEL_TRACES_SAMPLER_ARG

SPANWISE_BASELINE SPANWISE_CACHE SPANWISE_DECISION_WAIT SPANWISE_GATEWAYS_HOST SPANWISE_GATEWAYS_INSECURE
SPANWISE_GATEWAYS_PORT SPANWISE_HEALTH_LISTEN SPANWISE_JAEGER_ENDPOINT SPANWISE_JAEGER_INSECURE
SPANWISE_METRICS_FLUSH SPANWISE_NUM_TRACES SPANWISE_OTLP_GRPC SPANWISE_OTLP_HTTP SPANWISE_PROMETHEUS_HEADERS
SPANWISE_PROMETHEUS_LISTEN SPANWISE_STORAGE_DIR SPANWISE_TELEMETRY_HOST SPANWISE_TELEMETRY_PORT
"""

KNOWN = (
    frozenset(_OTHERS.split())
    | {variable for variable, *_ in documentation()}
    | {
        f"{OTLP}{signal}_{field.metadata['env']}"
        for signal in ("TRACES", "METRICS", "LOGS", "PROFILES")
        for field in fields(Exporter)
    }
)

# What belongs to other programs and languages, which may have the same environment.
_OWNERS = """
AUTO_ AWS_ COLLECTOR_ CPP_ DOTNET_ EBPF_ ELIXIR_ ERLANG_ GO_ INJECTOR_ JAVA JMX_ K8S_ LAMBDA_ NODE_ OBI_
OPERATOR_ PHP_ RUBY_ RUST_ SWIFT_
"""
_FOREIGN = tuple(f"OTEL_{owner}" for owner in _OWNERS.split())
# contrib's and other languages' instrumentations have hundreds; these alone are told when misspelt.
_INSTRUMENTATION = "OTEL_INSTRUMENTATION_"
_CAPTURE = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_"
# What Kubernetes puts into every container for a service called "otel" or "spanwise-…".
_OF_A_SERVICE = ("_SERVICE_HOST", "_SERVICE_PORT", "_TCP", "_TCP_ADDR", "_TCP_PORT", "_TCP_PROTO")
_SCHEMES = ("tcp://", "udp://", "sctp://")
# Two letters of twenty: below, what one meant is not what the other is called. Of ours nobody else has any.
_NEAR, _NEAR_OURS = 0.9, 0.75
_OURS = "SPANWISE_"


# Each way in which one letter of the prefixes is missing, or two have changed places: what nobody else's
# variables begin with. An OTEL variable's first word has an underscore behind it, so that TELNET is none.
_BEGINNINGS = ("OTEL", "SPAN", "OTLE", "OTL_", "TEL_", "OTE_", "OEL_", "TOEL_", "OETL_")
_BEGINNINGS_OF_OURS = ("PANWISE", "SAPNWISE", "SNPAWISE", "SANWISE", "SPNWISE", "PSANWISE", "OPENTELEMETRY_")
# What is left out, or added, where one does not remember the whole name.
_FILLERS = frozenset(
    {"EXPORTER", "OTLP", "SDK", "PYTHON", "SIZE", "NAME", "FILE", "DIR", "STARTUP"}
    | {"MS", "MILLIS", "MILLISECONDS", "SECONDS", "URL"}
)


def might_be_meant(name: str) -> bool:
    """Whether a variable's name begins as one of ours or of OpenTelemetry's, misspelt or not."""
    return name.upper().startswith(_BEGINNINGS) or name.upper().startswith(_BEGINNINGS_OF_OURS)


def is_known(name: str, value: str) -> bool:
    """Whether a variable is one, or belongs to somebody else.

    Args:
        name: its name; one of ours or OpenTelemetry's begins with ``SPANWISE`` or ``OTEL``.
        value: its value: Kubernetes's are told by theirs too.
    """
    return (
        name in KNOWN
        or name.startswith(_FOREIGN)
        or (name.startswith(_INSTRUMENTATION) and not name.startswith(_CAPTURE))
        or (name.startswith("OTEL_PYTHON_") and name.endswith("_EXCLUDED_URLS"))
        or name.endswith(_OF_A_SERVICE)
        or "_SERVICE_PORT_" in name
        or "_UDP" in name
        or value.startswith(_SCHEMES)
    )


def meant(name: str) -> str:
    """The variable that somebody most likely meant; empty where none is near."""
    import difflib  # nobody's start needs it but that of who misspells

    upper = name.upper().replace("OPENTELEMETRY_", "OTEL_")
    # Without their blanks: one too many or too few is what is most often wrong.
    plain = {each.replace("_", ""): each for each in sorted(KNOWN)}
    near = difflib.get_close_matches(upper.replace("_", ""), plain, n=1, cutoff=_NEAR)
    if near:
        return plain[near[0]]
    # The whole name but for words that say little: OTEL_OTLP_ENDPOINT, OTEL_BSP_MAX_QUEUE. What has but one
    # word behind its OTEL may be the application's own.
    words = _telling(upper)
    alike = [each for each in sorted(KNOWN, key=lambda known: (len(known), known)) if _telling(each) == words]
    if alike and (upper.count("_") > 1 or upper.startswith(_OURS)):
        return alike[0]
    if not upper.startswith(_OURS):
        return ""
    rest = upper.removeprefix(_OURS)
    # SPANWISE_ENDPOINT: the specification has that setting, so that there is none of ours.
    same = sorted(
        (each for each in KNOWN if each.startswith("OTEL_") and _telling(each)[1:] == _telling(rest)),
        key=lambda known: (len(known), known),
    )
    ours = {each.removeprefix(_OURS).replace("_", ""): each for each in KNOWN if each.startswith(_OURS)}
    near = difflib.get_close_matches(rest.replace("_", ""), ours, n=1, cutoff=_NEAR_OURS)
    return same[0] if same else ours[near[0]] if near else ""


def _telling(name: str) -> list[str]:
    return [word for word in name.split("_") if word not in _FILLERS]
