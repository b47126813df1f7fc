"""Where settings come from, which source holds, and what is told about those that cannot be used."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spanwise.settings import SIGNALS, Exporter, Settings, documentation
from spanwise.sources import load


def test_precedence_argument_environment_file_default() -> None:
    arguments, environ, file = {"span_batch": 1}, {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2"}, {"span_batch": 3}
    assert load(arguments, environ, file).span_batch == 1
    assert load({}, environ, file).span_batch == 2
    assert load({}, {}, file).span_batch == 3
    assert load({}, {}, {}).span_batch == Settings().span_batch == 2048


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load({}, {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": " "}, {"span_batch": 3}).span_batch == 3
    assert load({}, {"OTEL_TRACES_EXPORTER": ""}).traces_exporter == ("otlp",)
    assert load({}, {"OTEL_TRACES_EXPORTER": ""}).problems == ()


@pytest.mark.parametrize("bad", ["x", "0", "-1", "1.5"])
def test_a_bad_value_is_told_with_its_place_and_the_next_source_holds(bad: str) -> None:
    loaded = load({}, {"OTEL_BSP_MAX_QUEUE_SIZE": bad}, {"span_queue": 7})
    assert loaded.span_queue == 7
    (problem,) = loaded.problems
    assert repr(bad) in problem
    assert "OTEL_BSP_MAX_QUEUE_SIZE" in problem


def test_a_bad_argument_leaves_the_variable_in_force() -> None:
    loaded = load({"span_queue": "many"}, {"OTEL_BSP_MAX_QUEUE_SIZE": "9"})
    assert loaded.span_queue == 9
    assert "argument span_queue" in loaded.problems[0]


def test_bad_headers_are_told_without_their_secret() -> None:
    loaded = load({}, {"OTEL_EXPORTER_OTLP_HEADERS": "authorization Bearer s3cret"})
    assert loaded.traces.headers == ()
    assert "OTEL_EXPORTER_OTLP_HEADERS" in loaded.problems[0]
    assert "s3cret" not in " ".join(loaded.problems)


@pytest.mark.parametrize(
    ("text", "disabled"), [("true", True), ("TRUE", True), ("false", False), ("1", False)]
)
def test_only_true_disables_the_sdk(text: str, disabled: bool) -> None:
    """https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#boolean"""
    assert load({}, {"OTEL_SDK_DISABLED": text}).disabled is disabled


def test_our_own_booleans_take_one() -> None:
    assert load({}, {"SPANWISE_STARTUP_REPORT": "1"}).startup_report is True
    assert load({"startup_report": True}, {}).startup_report is True


def test_a_signal_s_own_exporter_variable_wins_over_the_general_one() -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://all:4318",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "5",
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://logs/take",
        "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION": "gzip",
    }
    loaded = load({}, environ)
    assert [loaded.exporter(signal).endpoint for signal in SIGNALS] == ["http://all:4318"] * 2 + [
        "http://logs/take"
    ]
    assert [loaded.exporter(signal).endpoint_is_whole for signal in SIGNALS] == [False, False, True]
    assert [loaded.exporter(signal).compression for signal in SIGNALS] == ["none", "gzip", "none"]
    assert [loaded.exporter(signal).timeout for signal in SIGNALS] == [5, 5, 5]


def test_headers_are_decoded_and_keep_equals_signs() -> None:
    environ = {"OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Basic%20YQ==,x=1"}
    assert load({}, environ).traces.headers == (("authorization", "Basic YQ=="), ("x", "1"))


def test_headers_as_a_mapping_keep_commas() -> None:
    loaded = load({"headers": {"X-List": "a,b=c d%"}}, {})
    assert loaded.traces.headers == (("x-list", "a,b=c d%"),)
    assert loaded.problems == ()


def test_an_unknown_name_is_told_with_a_suggestion() -> None:
    assert "Did you mean 'span_queue'?" in load({"span_que": 1}, {}).problems[0]
    assert "thresholds file" in load({}, {}, {"traces_endpont": "x"}).problems[0]
    assert "README" in load({"zzzzzz": 1}, {}).problems[0]
    for said in ("OTEL_EXPORTER_OTLP_ENDPOINT", "exporter_otlp_endpont"):
        assert load({said: 1}, {}).problems[0].endswith("Did you mean 'endpoint'?")


def test_a_working_folder_that_may_not_be_searched_has_no_thresholds(tmp_path: Path) -> None:
    """As under ``sudo -u``, which stays in the other user's folder."""
    code = (
        "import os, sys\n"
        "from spanwise.settings import Settings\n"
        "from spanwise.sources import thresholds_file\n"
        "os.chdir(sys.argv[1]); os.chmod('.', 0)\n"
        "if os.geteuid() == 0: os.seteuid(65534)\n"
        "print(thresholds_file(Settings()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    tmp_path.chmod(0o700)
    assert done.stdout == "None\n", done.stderr


@pytest.mark.parametrize("name", ["spool", "thresholds"])
@pytest.mark.parametrize("value", ["a\0b", "\ud800"])
def test_a_path_that_no_file_system_has_is_ignored(name: str, value: str) -> None:
    loaded = load({name: value}, {})
    assert getattr(loaded, name) is None
    assert "not a valid path" in loaded.problems[0]
    # What cannot be decoded is a path all the same.
    assert load({name: "\udcff"}, {}).problems == ()


def test_documentation_has_every_field_with_its_default() -> None:
    rows = documentation()
    told = {variable for variable, *_ in rows}
    fields = [
        field for owner in (Settings, Exporter) for field in dataclasses.fields(owner) if field.metadata
    ]
    assert len(rows) == len(fields) == len(told)
    for field in fields:
        assert any(variable.endswith(field.metadata["env"]) for variable in told)
    # What is no setting of its own: the three exporters, what was computed, what went wrong.
    undocumented = {field.name for field in dataclasses.fields(Settings) if not field.metadata}
    assert undocumented == {*SIGNALS, "problems"}
    assert ("OTEL_BSP_MAX_QUEUE_SIZE", "span_queue", "65536") in {row[:3] for row in rows}
    assert ("OTEL_SDK_DISABLED", "disabled", "false") in {row[:3] for row in rows}
    assert all(meaning for *_, meaning in rows)


SIGNAL_SETTINGS = [field.name for field in dataclasses.fields(Exporter) if field.metadata]


@pytest.mark.parametrize(
    ("given", "good", "said"),
    [
        ("x-key=1,bad header=2", {"x-key": "1"}, ["pair 2", "bad header"]),
        ("a=1,b%0d%0ac=s3cret", {"a": "1"}, ["pair 2", r"b\r\nc"]),
        ("a=1,b=s3cret%0ax", {"a": "1"}, ["pair 2", "'b'"]),
        ("a=s3cret\u20ac,b=2", {"b": "2"}, ["pair 1", "'a'"]),
        ("e:f=s3cret,b=2", {"b": "2"}, ["pair 1", "'e'"]),
        ("Authorization: Bearer s3cret=,b=2", {"b": "2"}, ["pair 1", "'Authorization'"]),
        ("Authorization Bearer s3cret==,b=2", {"b": "2"}, ["pair 1", "'Authorization …'"]),
        ("a=1,s3cret", {"a": "1"}, ["pair 2", "has no '='", "%2C"]),
        ("=s3cret,a=1", {"a": "1"}, ["pair 1", "''"]),
        ("content-length=3,a=1", {"a": "1"}, ["pair 1", "set by the exporter itself"]),
        ("Transfer-Encoding=chunked,a=1", {"a": "1"}, ["pair 1", "set by the exporter itself"]),
        ({"a": "1", "b\n": "s3cret"}, {"a": "1"}, ["pair 2", r"b\n"]),
        ({"a": 1, "b": object()}, {"a": "1"}, ["pair 2", "is not text"]),
        ([("a", "1"), ("b", "s3cret\r\nx: y")], {"a": "1"}, ["pair 2", "'b'"]),
        ([("a", "1"), ("s3cret",), "s3cret"], {"a": "1"}, ["pair 2", "pair 3", "is not text"]),
        ([["a", "1"], [b"b", "s3cret"]], {"a": "1"}, ["pair 2", "is not text"]),
        ({"a": "1", "b": "\ud800s3cret"}, {"a": "1"}, ["pair 2", "'b'"]),
    ],
)
@pytest.mark.parametrize("name", ["headers", "traces_headers"])
@pytest.mark.parametrize("source", ["variable", "argument", "file"])
def test_a_header_that_cannot_be_sent_costs_itself_alone(
    given: object, good: dict[str, str], said: list[str], name: str, source: str
) -> None:
    variable = f"OTEL_EXPORTER_OTLP_{name.upper()}"
    if source == "variable":
        if not isinstance(given, str):
            pytest.skip("a variable is text")
        loaded = load({}, {variable: given})
    else:
        loaded = load({name: given}, {}) if source == "argument" else load({}, {}, {name: given})
    assert dict(loaded.traces.headers) == good
    (problem,) = loaded.problems
    assert "s3cret" not in problem
    assert all(part in problem for part in said)
    assert (variable if source == "variable" else f"{name}") in problem


def test_headers_of_which_none_can_be_sent_leave_those_of_the_next_source() -> None:
    loaded = load({"headers": "s3cret"}, {"OTEL_EXPORTER_OTLP_HEADERS": "a=1"})
    assert loaded.logs.headers == (("a", "1"),)
    assert "next source" in loaded.problems[0]


@given(st.text(max_size=60))
def test_no_text_of_headers_gives_one_that_cannot_be_sent(text: str) -> None:
    loaded = load({}, {"OTEL_EXPORTER_OTLP_HEADERS": text})
    connection = HTTPConnection("localhost")
    connection.putrequest("POST", "/", skip_host=True, skip_accept_encoding=True)
    for name, value in loaded.traces.headers:
        connection.putheader(name, value)
    assert len(loaded.problems) <= 1


@pytest.mark.parametrize(
    ("variable", "field", "most"),
    [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "span_queue", 1 << 20),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "log_queue", 1 << 20),
        ("OTEL_BSP_SCHEDULE_DELAY", "span_delay", 3_600_000),
        ("OTEL_BLRP_SCHEDULE_DELAY", "log_delay", 3_600_000),
        ("OTEL_METRIC_EXPORT_INTERVAL", "metric_interval", 86_400_000),
        ("SPANWISE_EXIT_TIMEOUT", "exit_timeout", 3_600_000),
    ],
)
@pytest.mark.parametrize("given", ["100000000000", "9" * 30, "9" * 6000])
def test_what_is_beyond_all_measure_is_capped(variable: str, field: str, most: int, given: str) -> None:
    loaded = load({}, {variable: given})
    assert getattr(loaded, field) == most
    (problem,) = loaded.problems
    assert variable in problem
    assert str(most) in problem
    assert len(problem) < 300
    assert load({}, {variable: str(most)}).problems == ()


def test_a_request_holds_no_more_than_the_queue() -> None:
    loaded = load({}, {"OTEL_BSP_MAX_QUEUE_SIZE": "100", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "100000000000"})
    assert (loaded.span_queue, loaded.span_batch) == (100, 100)
    assert [("OTEL_BSP_MAX_EXPORT_BATCH_SIZE" in problem) for problem in loaded.problems] == [True, True]
    # Nobody asked for the default's size.
    loaded = load({}, {"OTEL_BLRP_MAX_QUEUE_SIZE": "100"})
    assert (loaded.log_batch, loaded.problems) == (100, ())


def test_a_time_out_in_seconds_is_told() -> None:
    loaded = load({}, {"OTEL_EXPORTER_OTLP_TIMEOUT": "10"})
    assert loaded.traces.timeout == 10
    assert "OTEL_EXPORTER_OTLP_TIMEOUT" in loaded.problems[0]
    assert "Did you mean 10000?" in loaded.problems[0]


class Raising:
    def __str__(self) -> str:
        raise RuntimeError("planted")


BAD = st.one_of(
    st.text(st.characters(blacklist_characters="\0"), min_size=1, max_size=200),
    st.sampled_from(
        [
            "-1",
            "1e6",
            "nan",
            "9" * 5000,
            "\ud800",
            "a\0b",
            "\x1b[31m",
            "true,",
            "a=b=c",
            "http://u:s3cret@x:99999",
        ]
    ),
)
WRONG = st.one_of(
    BAD, st.just(Raising()), st.just(object()), st.binary(), st.dictionaries(BAD, BAD), st.lists(BAD)
)


@given(st.data())
def test_no_value_of_any_setting_harms_another(data: st.DataObject) -> None:
    names = [field.name for field in dataclasses.fields(Settings) if field.metadata]
    names += SIGNAL_SETTINGS + [f"{signal}_{name}" for signal in SIGNALS for name in SIGNAL_SETTINGS]
    name = data.draw(st.sampled_from(names))
    whose = dict(zip([row[1] for row in documentation()], documentation(), strict=True))
    signal, _, general = name.partition("_")
    if signal in SIGNALS and name not in whose:
        variable = whose[general][0].replace("OTLP_", f"OTLP_{signal.upper()}_")
    else:
        variable = whose[name][0]
    value = data.draw(WRONG)
    for loaded in (
        load({name: value}, {}),
        load({}, {}, {name: value}),
        *([load({}, {variable: value})] if isinstance(value, str) else []),
    ):
        own = name if name in {field.name for field in dataclasses.fields(Settings)} else ""
        rest = dataclasses.replace(
            loaded,
            problems=(),
            **{each: getattr(Settings(), each) for each in (own, "span_batch", "log_batch") if each},
        )
        if own:
            assert rest == Settings()
        for problem in loaded.problems:
            assert name in problem or variable in problem or "BATCH_SIZE" in problem
            assert "s3cret" not in problem or not name.endswith(("headers", "endpoint"))
            assert len(problem) < 2_000
