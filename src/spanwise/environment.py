"""Removes from the environment the values that OpenTelemetry's own packages would fail on.

One bad limit makes the import of the SDK raise, which would cost all telemetry; one bad pattern costs the
contrib instrumentation that reads it. An invalid setting is to affect only itself, and to be reported once,
by the name of its variable.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, MutableMapping
from typing import Final

from spanwise import values
from spanwise.shown import short_repr
from spanwise.variables import KNOWN, is_known, meant, might_be_meant

__all__ = ["SAMPLERS", "mend"]

Environ = MutableMapping[str, str]
# Returns for a value that can be used as it is; raises as the parsers of :mod:`spanwise.values`.
Check = Callable[[str], object]

_HOUR: Final = 3_600_000
# More attributes, events or links than any span has room for, and what C counts to.
_MOST_COUNTED: Final = 1_000_000
_MOST_LONG: Final = (1 << 31) - 1

_RATIOS: Final = ("traceidratio", "parentbased_traceidratio")
# The specification's, which the SDK's provider itself makes from the variables.
SAMPLERS: Final = ("always_on", "always_off", "parentbased_always_on", "parentbased_always_off", *_RATIOS)
_LEVELS: Final = ("debug", "info", "warning", "warn", "error", "critical", "fatal", "notset")
_CONVENTIONS: Final = frozenset(
    f"{group}{both}"
    for group in (
        "http",
        "database",
        "rpc",
        "messaging",
        "code",
        "k8s",
        "gen_ai",
        "gen_ai_latest_experimental",
    )
    for both in ("", "/dup")
)

_count = values.whole(0, _MOST_COUNTED)
_length = values.whole(0, _MOST_LONG)
_wait = values.whole(0, _HOUR)


def _resource(text: str) -> None:
    good, bad = [], []
    for position, part in enumerate(text.split(","), 1):
        key, separator, _ = part.partition("=")
        if separator and key.strip():
            good.append(part)
        elif part.strip():
            bad.append(f"pair {position} ({short_repr(key.strip())})")
    if bad:
        _some(",".join(good), f"expected key=value pairs separated by commas, not as in {', '.join(bad)}")


def _patterns(text: str) -> None:
    import re  # only where somebody has such a variable

    good, bad = [], []
    for part in values.names(text):
        try:
            re.compile(part)
        except re.error as error:
            bad.append(f"{short_repr(part)} ({error})")
        else:
            good.append(part)
    if bad:
        _some(",".join(good), f"not a regular expression: {', '.join(bad)}")


def _conventions(text: str) -> None:
    asked = values.names(text)
    unknown = [each for each in asked if each not in _CONVENTIONS]
    if not unknown:
        return
    # Where others are known it is left: another package may know it.
    left = text if len(unknown) < len(asked) else ""
    _some(left, f"unknown group of conventions: {', '.join(map(short_repr, unknown))}")


def _installed(group: str, *built_in: str) -> Check:
    """A check for names of parts that a package provides, separated by commas."""

    def check(text: str) -> None:
        asked = values.names(text)
        if all(name.lower() in built_in for name in asked):
            return
        from spanwise.installed import entry_points

        known = {*built_in, *(entry.name for entry in entry_points(group))}
        missing = [name for name in asked if name not in known and name.lower() not in known]
        if missing:
            what = f"not installed: {', '.join(map(short_repr, missing))}. {_near(missing[0], known)}"
            _some(",".join(name for name in asked if name not in missing), what)

    return check


def _some(left: str, what: str) -> None:
    """Raises the error of a value of which only ``left`` can be used; nothing of it where that is empty."""
    raise values.Partly(left, what) if left else ValueError(what)


_CHECKS: Final[dict[str, Check]] = {
    "OTEL_ATTRIBUTE_COUNT_LIMIT": _count,
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": _count,
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": _count,
    "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": _count,
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": _count,
    "OTEL_SPAN_EVENT_COUNT_LIMIT": _count,
    "OTEL_SPAN_LINK_COUNT_LIMIT": _count,
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": _length,
    "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT": _length,
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": _length,
    "OTEL_BSP_EXPORT_TIMEOUT": _wait,
    "OTEL_BLRP_EXPORT_TIMEOUT": _wait,
    "OTEL_METRIC_EXPORT_TIMEOUT": _wait,
    "OTEL_METRICS_EXEMPLAR_FILTER": values.one_of("trace_based", "always_on", "always_off"),
    "OTEL_TRACES_SAMPLER": _installed("opentelemetry_traces_sampler", *SAMPLERS),
    "OTEL_RESOURCE_ATTRIBUTES": _resource,
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": _installed(
        "opentelemetry_resource_detector", "process", "os", "host", "otel", "service_instance", "*"
    ),
    "OTEL_SEMCONV_STABILITY_OPT_IN": _conventions,
    "OTEL_PYTHON_CONTEXT": _installed("opentelemetry_context", "contextvars_context"),
    "OTEL_PYTHON_TRACER_PROVIDER": _installed("opentelemetry_tracer_provider"),
    "OTEL_PYTHON_METER_PROVIDER": _installed("opentelemetry_meter_provider"),
    "OTEL_PYTHON_LOGGER_PROVIDER": _installed("opentelemetry_logger_provider"),
    "OTEL_PYTHON_LOG_LEVEL": values.one_of(*_LEVELS),
    "OTEL_PYTHON_LOG_HANDLER_LEVEL": values.one_of(*_LEVELS),
    "OTEL_PYTHON_LOG_CORRELATION": values.specified_boolean,
    "OTEL_PYTHON_LOG_CODE_ATTRIBUTES": values.specified_boolean,
    "OTEL_PYTHON_LOG_AUTO_INSTRUMENTATION": values.specified_boolean,
    "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": values.specified_boolean,
    "OTEL_PYTHON_EXCLUDED_URLS": _patterns,
}


def mend(environ: Environ = os.environ) -> list[str]:
    """Removes from the environment what OpenTelemetry's parts cannot use, and returns a message for each.

    To be called before the SDK is imported. A value that can be used in part is reduced to that part.

    Args:
        environ: the process's own, so that its children inherit the corrected values.
    """
    problems: list[str] = []
    for name in [each for each in environ if might_be_meant(each)]:
        text = environ[name].strip()
        check = _check_of(name)
        if not text:
            continue
        if check is not None:
            problems += _mended(environ, name, text, check)
        elif not is_known(name, text):
            problems += _misspelt(name)
    problems += _sampled(environ)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        path = environ.get(name)
        wrong = values.unreadable(path) if path else ""
        if path and not wrong and name == "SSL_CERT_FILE" and os.path.isdir(path):
            wrong = "Is a directory"
        if path and wrong:
            problems.append(f"{short_repr(path)} cannot be used ({name}): {wrong}. It is ignored")
    return problems


def _check_of(name: str) -> Check | None:
    check = _CHECKS.get(name)
    if check is None and (
        (name.startswith("OTEL_PYTHON_") and name.endswith("_EXCLUDED_URLS"))
        or (name.startswith("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_") and name in KNOWN)
    ):
        return _patterns
    return check


def _mended(environ: Environ, name: str, text: str, check: Check) -> Iterable[str]:
    try:
        check(text)
        return
    except values.Partly as error:
        environ[name] = str(error.value)
        outcome = values.sentences(str(error), f"{short_repr(environ[name])} is used")
    except ValueError as error:
        del environ[name]
        outcome = values.sentences(str(error), "It is ignored")
    yield f"{short_repr(text)} cannot be used ({name}): {outcome}"


def _sampled(environ: Environ) -> Iterable[str]:
    """Checks the sampler's argument, which must be a share where one is used at all."""
    name, sampler = "OTEL_TRACES_SAMPLER_ARG", environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    text = environ.get(name, "").strip()
    if not text or (sampler and sampler not in _RATIOS):
        return
    if not sampler:
        yield f"{short_repr(text)} has no effect ({name}): OTEL_TRACES_SAMPLER names no sampler that takes it"
        return
    try:
        usable = 0 <= float(text) <= 1
    except ValueError:
        usable = False
    if not usable:
        del environ[name]
        yield f"{short_repr(text)} cannot be used ({name}): expected a number from 0 to 1. 1 is used"


def _misspelt(name: str) -> Iterable[str]:
    nearest = meant(name)
    if nearest:
        yield f"there is no setting {short_repr(name)}. Did you mean {nearest}?"
    elif name.startswith("SPANWISE_"):
        yield f"there is no setting {short_repr(name)}. The README lists all settings"


def _near(name: str, known: Iterable[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name.lower(), sorted(known), n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Installed: {', '.join(sorted(known)) or 'none'}"
