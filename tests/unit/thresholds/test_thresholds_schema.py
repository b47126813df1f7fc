"""The JSON Schema: whatever the reader takes, it takes; and it finds what an editor should mark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from spanwise.commands.thresholds import thresholds
from spanwise.errors import ThresholdsError
from spanwise.thresholds.kinds.table import KINDS
from spanwise.thresholds.load import read
from spanwise.thresholds.schema import document
from spanwise.thresholds.sections import SINGLE
from spanwise.thresholds.shapes import shape_of

ROOT = Path(__file__).resolve().parents[3]
VALIDATOR: Any = jsonschema.Draft202012Validator(document())


def problems(text: str) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(yaml.safe_load(text))]


def test_it_is_a_schema_and_the_command_prints_it() -> None:
    jsonschema.Draft202012Validator.check_schema(document())
    assert json.loads(CliRunner().invoke(thresholds, ["schema"]).output) == document()


@pytest.mark.parametrize(
    "path", [ROOT / "thresholds.yaml", ROOT / "src/spanwise/thresholds/defaults.yaml"], ids=lambda p: p.name
)
def test_our_own_files_are_good(path: Path) -> None:
    assert problems(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("name", [*KINDS, *SINGLE])
def test_every_field_says_what_it_reads_and_means(name: str) -> None:
    fields = KINDS[name].fields if name in KINDS else SINGLE[name].fields
    for key, field in fields.items():
        assert shape_of(field.read), key
        assert field.meaning, key


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "version: 1\nspanz: {}",
        "version: 1\nspans: {a: {goood: 1s}}",
        "version: 1\nspans: {a: {good: 1}}",
        "version: 1\nspans: {a: {good: 1 parsec}}",
        "version: 1\nspans: {a: {match: {}}}",
        "version: 1\nmetrics: {a: {warning: -5}}",
        "version: 1\nmetrics: {a: {warning: 5/y}}",
        "version: 1\nmetrics: {a: {ratio: a/b}}",
        "version: 1\nobjectives: {a: {good: 2}}",
        "version: 1\nsampling: {keep: [errors]}",
        "version: 1\nalerts: {handlers: [sms]}",
        "version: 1\nalerts: {handlers: {a: {webhook: x, severities: [bad]}}}",
        "version: 1\nprofiles: {p: {version: 1}}",
    ],
)
def test_it_marks_mistakes(text: str) -> None:
    assert problems(text)
    with pytest.raises(ThresholdsError):
        read(text)


FIGURES = st.sampled_from(
    [
        "1s",
        "2 s",
        "1.5s",
        "0.001ms",
        "500MB",
        "2GiB",
        "10%",
        "0.1",
        "1",
        "0",
        "5/h",
        "1/m",
        "3d",
        "99.9%",
        "1e3",
    ]
) | st.from_regex(r"[0-9]{1,4}(\.[0-9]{1,3})? ?(s|ms|MB|%|/h|d)?", fullmatch=True)
ENTRIES = {
    "spans": ["good", "acceptable", "poor"],
    "metrics": ["warning", "critical", "over", "for", "minimum", "quantile", "unit"],
    "objectives": ["good", "over", "minimum", "spans"],
}


@given(
    st.sampled_from(sorted(ENTRIES)).flatmap(
        lambda section: st.tuples(
            st.just(section),
            st.sampled_from(["http.server", "memory", "preload", "latency", "preload_failures", "new"]),
            st.dictionaries(st.sampled_from(ENTRIES[section]), FIGURES, min_size=1),
        )
    )
)
def test_what_the_reader_takes_is_never_marked(entry: tuple[str, str, dict[str, str]]) -> None:
    section, name, fields = entry
    inside = ", ".join(f"{key}: {value}" for key, value in fields.items())
    text = f"version: 1\n{section}: {{{name}: {{{inside}}}}}\n"
    try:
        read(text)
    except ThresholdsError:
        return
    assert problems(text) == []
