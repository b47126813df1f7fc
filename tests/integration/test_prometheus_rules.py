"""The generated rules under the real promtool: their own generated tests, and how near the figures come."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from parts import need

from spanwise.artefacts import promql
from spanwise.artefacts.table import ARTEFACTS
from spanwise.rules.model import MetricRule, Rule, Series
from spanwise.thresholds.load import load, read

pytestmark = pytest.mark.real
ROOT = Path(__file__).resolve().parents[2]
RULES, TESTS = "prometheus/rules/spanwise.yaml", "prometheus/tests/spanwise.yaml"
SECOND = 1_000_000_000
# Each form with windows, holds, units and label sets that the shipped rules do not have, and hostile text.
ODD = r"""
version: 1
spans: {'odd "${env:HOME}" {{ .Values }} \': {match: {a: b}, good: 1s, acceptable: 2s, poor: 3s}}
metrics:
  odd_level: {level: 'a.b{c="}}{{ \" $x"}', unit: ms, warning: 0.1, critical: 0.30000000000000004, for: 30s}
  odd_zero: {level: z, unit: '{thing}', warning: 0}
  odd_increase: {increase: 'a.b/c{d=e}', unit: s, over: 90s, warning: 1.5s}
  odd_rate: {increase: trips, unit: '1', warning: 3/m, for: 2m}
  odd_days: {increase: trips, unit: By, over: 2h, critical: 5MB}
  odd_parts: {ratio: 'x{a=b,c=d} / x{a=b}', unit: '1', over: 7m, warning: 33%, minimum: 3}
  odd_apart: {ratio: 'x{a=b} / y{c=d}', unit: '{n}', over: 1m, warning: 150%, minimum: 1}
  odd_same: {ratio: 'x / x', unit: '1', over: 5m, warning: 10%}
  odd_whole: {ratio: 'x / x{a=b}', unit: '1', over: 5m, warning: 10%}
  odd_median: {quantile: 50%, of: h, unit: By, over: 2m, critical: 1MB, minimum: 100}
  odd_most: {quantile: 1, of: h, unit: s, over: 10m, for: 90s, warning: 0.1s}
  odd_none: {quantile: 0.99, of: h, unit: '1', over: 10m, warning: 0%}
  '{{ .Values "$1" \ 🎵': {increase: q, unit: '1', over: 1h, warning: 5}
objectives:
  'odd {{ "$1" \ 🎵': {good: 99.95%, over: 7d, spans: 'odd "${env:HOME}" {{ .Values }} \'}
  db.client: {good: 50%, over: 1d, minimum: 1000}
  http.server: {good: 90%, over: 365d}
"""


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [need("promtool", "apt-get install prometheus"), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def written(folder: Path, rules: tuple[Rule, ...], change: tuple[str, str] = ("", "")) -> Path:
    """The rules and their tests in a folder; the tests' path."""
    for name in (RULES, TESTS):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = ARTEFACTS[name](rules)
        if name == RULES and change[0]:
            assert change[0] in text, change
            text = text.replace(*change)
        path.write_text(text, encoding="utf-8")
    return folder / TESTS


def test_the_committed_rules_pass_their_committed_tests() -> None:
    done = promtool("test", "rules", str(ROOT / "collector" / TESTS))
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_of_every_form_pass_their_tests(tmp_path: Path) -> None:
    # The shipped ones are the test before this one; theirs would take half a minute more.
    rules = tuple(
        rule for rule in read(ODD).rules if getattr(rule, "name", "").startswith(("odd", "{{", "db", "http."))
    )
    names = {getattr(rule, "name", "") for rule in rules}
    assert sum(name.startswith("odd") for name in names) == 14, sorted(names)
    done = promtool("test", "rules", str(written(tmp_path, rules)))
    assert done.returncode == 0, done.stdout + done.stderr


def only(*named: str) -> tuple[Rule, ...]:
    return tuple(rule for rule in load().rules if getattr(rule, "name", "") in named)


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("memory", ("> 800000000", ">= 800000000")),
        ("memory", ("> 500000000", "> 500000001")),
        ("memory", ("for: 1m", "for: 2m")),
        ("circuit_trips", ("> 5", "> 5.001")),
        ("circuit_trips", ("[1h]) and", "[59m]) and")),
        ("disposal_errors", ("max_over_time", "0 * max_over_time")),
        ("disposal_errors", ("up[1h]", "down[1h]")),
        ("preload_failures", ("> 0.1", "> 0.1001")),
        ("preload_failures", ("severity: critical", "severity: warning")),
        ("latency", ("histogram_quantile(0.95", "histogram_quantile(0.951")),
        ("http_errors", (">= 10", ">= 9")),
        ("preload", ("> 0.72", "> 0.7201")),
        ("preload", ("> 0.05", "> 0.0501")),
        ("preload", (">= 20", ">= 20000000000")),
    ],
    ids=lambda each: each if isinstance(each, str) else each[1],
)
def test_the_tests_find_a_wrong_rule(tmp_path: Path, rule: str, change: tuple[str, str]) -> None:
    right = promtool("test", "rules", str(written(tmp_path, only(rule))))
    assert right.returncode == 0, right.stdout + right.stderr
    wrong = promtool("test", "rules", str(written(tmp_path, only(rule), change)))
    assert wrong.returncode == 1, wrong.stdout + wrong.stderr
    assert "FAILED" in wrong.stdout + wrong.stderr


def shows(tmp_path: Path, series: dict[str, str], expressions: dict[str, list[str]], interval: str) -> None:
    """Asks promtool whether each expression is true (has one sample, 1) at each of the times."""
    tests: list[dict[str, Any]] = [
        {
            "interval": interval,
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [
                {"expr": expression, "eval_time": time, "exp_samples": [{"labels": "{}", "value": 1}]}
                for expression, times in expressions.items()
                for time in times
            ],
        }
    ]
    file = tmp_path / "near.yaml"
    file.write_text(yaml.safe_dump({"evaluation_interval": interval, "tests": tests}), encoding="utf-8")
    done = promtool("test", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("window", [60, 90, 300, 3600])
def test_an_increase_is_off_by_less_than_two_scrapes(tmp_path: Path, window: int) -> None:
    """Seven each scrape of 15 s, asked at every second between two scrapes."""
    rule = MetricRule("n", "increase", Series("n", "1", "counter"), 1, "warning", window=window * SECOND)
    true = window // 15 * 7
    near = f"sum(abs({promql.figure(rule)} - {true})) < bool {2 * 7}"
    times = [f"{2 * window + 4000 + second}s" for second in range(15)]
    length = (2 * window + 4100) // 15
    shows(
        tmp_path, {'n_total{service_name="a"}': f"0+7x{length}", "up": f"1+0x{length}"}, {near: times}, "15s"
    )


def test_a_new_series_counts_with_what_it_began_with_and_not_for_ever(tmp_path: Path) -> None:
    rule = MetricRule("n", "increase", Series("n", "1", "counter"), 1, "warning", window=300 * SECOND)
    born = f"sum({promql.figure(rule)}) == bool 3"
    over = f"sum({promql.figure(rule)}) == bool 0"
    # Born at 100 minutes with 3, which stay 3.
    series = {'n_total{service_name="a"}': "_x400 3+0x400", "up": "1+0x800"}
    shows(tmp_path, series, {born: ["6001s", "6100s", "6299s"], over: ["6301s", "7000s"]}, "15s")


def test_what_happened_before_prometheus_was_there_is_not_counted(tmp_path: Path) -> None:
    rule = MetricRule("n", "increase", Series("n", "1", "counter"), 1, "warning", window=300 * SECOND)
    silent = f"sum({promql.figure(rule)}) == bool 0"
    shows(
        tmp_path,
        {'n_total{service_name="a"}': "99+0x200", "up": "1+0x200"},
        {silent: ["60s", "299s", "900s"]},
        "15s",
    )


@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.95, 0.99])
def test_a_quantile_lies_in_its_bucket_and_tells_exactly_whether_it_is_above_an_edge(
    tmp_path: Path, quantile: float
) -> None:
    rule = MetricRule(
        "h", "quantile", Series("h", "s", "histogram"), 2, "warning", quantile=quantile, window=300 * SECOND
    )
    figure = promql.figure(rule)
    for share, above in ((quantile - 1e-6, True), (quantile + 1e-6, False)):
        counts = {"1": 0, "2": share * 1000, "5": 1000, "+Inf": 1000}
        series = {
            f'h_seconds_bucket{{service_name="a",le="{edge}"}}': f"{1000 * each * 100:.6f}+{each:.9f}x100"
            for edge, each in counts.items()
        }
        said = f"sum({figure}) > bool 2" if above else f"sum({figure}) <= bool 2"
        inside = f"(sum({figure}) > bool {2 if above else 1}) * (sum({figure}) <= bool {5 if above else 2})"
        shows(tmp_path, series, {said: ["1200s", "1207s"], inside: ["1200s", "1207s"]}, "15s")


def test_each_alert_says_how_near_it_is() -> None:
    groups = yaml.safe_load((ROOT / "collector" / RULES).read_text(encoding="utf-8"))["groups"]
    for rule in (rule for group in groups for rule in group["rules"] if "alert" in rule):
        wanted = set(promql.ACCURACY.values())
        assert rule["annotations"]["accuracy"] in wanted
        if re.search(r"increase|rate|quantile", rule["expr"]):
            assert rule["annotations"]["accuracy"] != promql.ACCURACY["level"]


def test_an_objective_alerts_while_its_budget_burns_and_not_after(tmp_path: Path) -> None:
    """An hour of misses, then none: the long window still holds them, the short one ends the alert."""
    rules = only("preload")
    file = written(tmp_path, rules)
    calls = "traces_span_metrics_calls_total"
    series = f'{calls}{{service_name="a",spanwise_objective="preload",spanwise_objective_met='
    firing = 'ALERTS{alertname="preload_budget",alertstate="firing",window="1h"}'
    left = 'spanwise:objective_budget:remaining_ratio{objective="preload"}'
    # 100 a minute: all good for an hour, all missed for an hour, all good again.
    tests = {
        "rule_files": ["../rules/spanwise.yaml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": f'{series}"true"}}', "values": "0+100x60 6000+0x59 6000+100x60"},
                    {"series": f'{series}"false"}}', "values": "0+0x60 100+100x59 6000+0x60"},
                ],
                "promql_expr_test": [
                    {"expr": f"count({firing})", "eval_time": "60m", "exp_samples": []},
                    {"expr": f"count({firing})", "eval_time": "118m", "exp_samples": [ONE]},
                    {"expr": f"count({firing})", "eval_time": "128m", "exp_samples": []},
                    {"expr": f"count({left} > 0.99)", "eval_time": "60m", "exp_samples": [ONE]},
                    {"expr": f"count({left} < 0)", "eval_time": "120m", "exp_samples": [ONE]},
                ],
            }
        ],
    }
    file.write_text(yaml.safe_dump(tests), encoding="utf-8")
    done = promtool("test", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


ONE = {"labels": "{}", "value": 1}
