"""A reader of a file with several mistakes is told of all of them in one run."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from spanwise.commands.thresholds import thresholds
from spanwise.errors import ThresholdsError, ThresholdsErrors
from spanwise.thresholds.load import read

MANY = """\
version: 1
profile: nowhere
spanz: {}
spans:
  http.server: {goood: 1s, poor: 5s}
  db.client: {good: -1s, acceptable: 2x}
  mine: {match: {a: b}, good: 3s, acceptable: 2s, poor: 1s}
metrics:
  memory: {warning: 5s}
  other: 5
objectives:
  nothing: {good: 200%, over: 30d}
alerts: {handlers: [sms], throttle: 1h, again: 2h}
sampling: {keep: [errors], baseline: 110%}
profiles:
  p: {spans: {x: {god: 1s}}}
"""


def test_all_mistakes_are_told_at_once_each_with_its_place() -> None:
    with pytest.raises(ThresholdsErrors) as caught:
        read(MANY, file="f.yaml")
    told = {(error.where, error.what): error.fix for error in caught.value.problems}
    assert len(told) == len(caught.value.problems), "a mistake is told twice"
    places = {where.removeprefix("f.yaml:") for where, _ in told}
    wanted = {"2:10", "3:1", "5:17", "6:21", "6:38", "7:3", "9:21", "10:10", "12:19"}
    assert places == wanted | {"13:21", "13:41", "14:19", "14:38", "16:19"}
    text = str(caught.value)
    assert text.startswith("14 things in the thresholds cannot be used:\n")
    assert [error.where for error in caught.value.problems][:2] == ["f.yaml:2:10", "f.yaml:3:1"]
    for where, what in told:
        assert f"  {what} ({where})" in text


def test_one_mistake_stays_one_error() -> None:
    with pytest.raises(ThresholdsError) as caught:
        read("version: 1\nspans: {db.client: {good: 1}}", file="f.yaml")
    assert not isinstance(caught.value, ThresholdsErrors)


def test_a_mistake_in_the_chosen_profile_is_told_once() -> None:
    with pytest.raises(ThresholdsError) as caught:
        read("version: 1\nprofile: p\nprofiles: {p: {spans: {db.client: {god: 1s}}}}", file="f.yaml")
    assert not isinstance(caught.value, ThresholdsErrors)


def test_more_than_anybody_reads_are_counted() -> None:
    entries = "".join(f"  e{number}: {{bad: 1}}\n" for number in range(50))
    with pytest.raises(ThresholdsErrors) as caught:
        read(f"version: 1\nspans:\n{entries}")
    assert str(caught.value).endswith("and 30 more")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("version: 1\nspans:\n\tdb.client: {good: 1s}\n", "f.yaml:3:1"),
        ("version: 1\nspans:\n  db.client:\n  \tgood: 1s\n", "f.yaml:4:3"),
        ("version: 1\nspans:\n  db.client:\n    good:\n\t\t1s\n  \t: x", "f.yaml:5:1"),
        ("version: 1\nsampling:\n  keep:\n  -\t- error\n", "f.yaml:4:4"),
    ],
)
def test_a_tab_is_called_a_tab(text: str, where: str) -> None:
    with pytest.raises(ThresholdsError) as caught:
        read(text, file="f.yaml")
    assert "a tab stands" in caught.value.what
    assert caught.value.where == where


def test_a_tab_that_is_not_at_fault_is_not_blamed() -> None:
    with pytest.raises(ThresholdsError) as caught:
        read("version: 1\nprofile: 'a\tb\n", file="f.yaml")
    assert "tab" not in caught.value.what


def test_show_tells_the_origin_of_every_figure(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        'version: 1\nspans:\n  preload: {good: 7ms}\n  odd: {match: {k: "a\\e[31m"}, good: 1s,'
        " acceptable: 2s, poor: 3s}\nprofiles: {wifi: {spans: {preload: {acceptable: 3s}}}}\n",
        encoding="utf-8",
    )
    shown = CliRunner().invoke(thresholds, ["show", "--thresholds", str(file), "--profile", "wifi"]).output
    assert "\x1b" not in shown
    lines = shown.splitlines()
    start = lines.index("preload  (span rating)")
    figures = {line.split()[0]: line.split()[-2:] for line in lines[start + 2 : start + 5]}
    assert figures["good"] == ["7ms", f"{file}:3:19"]
    assert figures["acceptable"] == ["3s", f"{file}:5:49"]
    assert figures["poor"][0] == "10s"
    assert figures["poor"][1].startswith("defaults.yaml:")


def test_check_counts_what_is_the_files_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("version: 1\nspans: {preload: {good: 7ms}}\nsampling: {baseline: 5%}\n", "utf-8")
    said = CliRunner().invoke(thresholds, ["check", str(file)])
    assert said.exit_code == 0
    assert "2 entries of its own" in said.output
