"""A thresholds file of nothing but hostile text: Collector, promtool and amtool take what it makes."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from alertmanagers import amtool
from parts import need

from spanwise.artefacts.table import ARTEFACTS
from spanwise.rules.model import Rule
from spanwise.thresholds.load import read

pytestmark = pytest.mark.real
NASTY = [
    *(
        "${env:HOME}",
        "$${x}",
        "$service [[service]]",
        '"',
        '\\"',
        "\\",
        "{{ .Labels }}",
        "{{{",
        "}}{{ end }}",
        "null",
    ),
    *(
        "- a: b",
        '"} or vector(1) #',
        '") where true',
        "<!channel> & 'x'",
        "&anchor *alias",
        "é 🎵 日本",
        "%s %d",
        "`",
    ),
    *("0x10", "1e9", "a#b", "!tag", "@", "--- ", "? x : y"),
]
UNPRINTABLE = ["\u2060\u00a0x", "a\nreceivers: {evil: {}}", "\x00", "\x1b[31m", "\x7f", "\u2028", "\r\n\t"]


def document() -> dict[str, Any]:
    rating = {"good": "1s", "acceptable": "2s", "poor": "3s"}
    spans: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    for number, text in enumerate(NASTY + UNPRINTABLE):
        # A name is one printable line; any other text may be a value.
        name = f"{number} {text}" if text in NASTY else str(number)
        spans[name] = {"match": {text: text, "span.name": text}, **rating}
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        metrics[name] = {"increase": f'm.n{{k="{quoted}"}}', "unit": "s", "over": "5m", "warning": "5s"}
    objectives = {name: {"good": "99%", "over": "30d"} for name in list(spans)[::8]}
    handlers = {
        "ops": {"webhook": "https://x.example/a%7B%7B?b=${}".replace("${}", "c")},
        "chat": {"slack": {"file": "/run/secrets/a b"}},
        "duty": {"pagerduty": "abc"},
    }
    return {
        "version": 1,
        "spans": spans,
        "metrics": metrics,
        "objectives": objectives,
        "alerts": {"handlers": handlers},
    }


def done(*command: str) -> None:
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, (ran.stdout + ran.stderr)[-3000:]


def write(folder: Path, rules: tuple[Rule, ...]) -> None:
    for name, make in ARTEFACTS.items():
        if not name.startswith("grafana/"):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(make(rules), encoding="utf-8")


def test_every_reader_takes_it(tmp_path: Path) -> None:
    rules = read(yaml.safe_dump(document(), allow_unicode=True)).rules
    # The shipped rules are tested elsewhere; their tests take long.
    own = tuple(
        rule for rule in rules if getattr(rule, "name", "0")[:1].isdigit() or not hasattr(rule, "name")
    )
    assert len(own) > 2 * len(NASTY + UNPRINTABLE)
    write(tmp_path, own)
    for name in ("gateway", "agent"):
        program = need("otelcol", "scripts/build-collector")
        done(program, "validate", "--config", str(tmp_path / f"{name}.yaml"))
    promtool = need("promtool", "apt-get install prometheus")
    done(promtool, "check", "rules", str(tmp_path / "prometheus/rules/spanwise.yaml"))
    assert "SUCCESS" in amtool("check-config", str(tmp_path / "alertmanager.yaml"))
    # A seventh of the rules: each test evaluates all of them, time and again.
    some = tuple(
        rule for rule in own if not getattr(rule, "name", "").partition(" ")[0].isdigit() or is_seventh(rule)
    )
    write(tmp_path / "some", some)
    done(promtool, "test", "rules", str(tmp_path / "some/prometheus/tests/spanwise.yaml"))


def is_seventh(rule: Rule) -> bool:
    return int(getattr(rule, "name", "0").partition(" ")[0]) % 7 == 2
