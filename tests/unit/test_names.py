"""Every name lives once, in names.py: nobody else writes one out."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from pathlib import Path

from spanwise import names
from spanwise.catalogue import markdown
from spanwise.instrumentors.table import TRIGGERS

SOURCE = Path(names.__file__).parent


def known() -> dict[str, str]:
    """Each dotted name in names.py, with its constant."""
    found = {}
    for constant, value in vars(names).items():
        text = value.name if isinstance(value, names.Metric) else value
        if constant.isupper() and isinstance(text, str) and "." in text:
            assert text not in found, f"{constant} and {found[text]} are the same name"
            found[text] = constant
    return found


def written_out(source: str) -> list[str]:
    """The string literals of a module that are not docstrings."""
    tree = ast.parse(source)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
    ]


def test_no_name_is_written_out_elsewhere() -> None:
    constants = known()
    assert len(constants) > 50
    found = [
        f"{file.relative_to(SOURCE)}: {text!r} is names.{constants[text]}"
        for file in sorted(SOURCE.rglob("*.py"))
        if file.name != "names.py" and not file.read_text("utf-8").startswith('"""GENERATED')
        for text in written_out(file.read_text("utf-8"))
        # A scope is named after its module; loggers may be too.
        if text in constants and not constants[text].startswith("SCOPE_")
    ]
    assert found == []


# What telemetry is made in, and what in these rooms looks like a name and is none.
OLD = {"db.client.connections.usage"}  # units as contrib has them, before the stable conventions
ROOMS = ("instrumentors", "meters", "spans", "deliver", "encode")
NO_NAMES = {
    "wsgi.url_scheme",  # PEP 3333
    "werkzeug.request",
    "spanwise.request",  # where a request under way is held in its environment
    "spanwise.check",  # a meter that nobody sees
    "spanwise.instrumentors.slow_statements",  # a logger
    "spanwise.cache",  # a context variable
    "spanwise.opening",  # in a pool's record of a connection
    "spanwise.taken",
    # Options of a gRPC channel
    *("grpc.primary_user_agent", "grpc.use_local_subchannel_pool"),
    # Files of control groups
    *("memory.max", "memory.current", "memory.stat", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    *("cpu.max", "cpu.stat", "cpu.cfs_quota_us", "cpu.cfs_period_us"),
    *("cpuacct.usage_user", "cpuacct.usage_sys", "cgroup.controllers"),
    # Values of db.system.name
    "microsoft.sql_server",
    "oracle.db",
    "ibm.db2",
    "sap.hana",
    "aws.redshift",
    "gcp.spanner",
}


def not_in_the_list(source: str, constants: dict[str, str]) -> list[str]:
    """The literals of a module that look like names of telemetry and are not in names.py."""
    modules = {*TRIGGERS.values(), *sys.modules}
    return [
        text
        for text in written_out(source)
        if re.fullmatch(r"[a-z][a-z_0-9]*(\.[a-z][a-z_0-9]*)+", text)
        and text not in constants
        and text not in NO_NAMES
        and text not in modules
        and not _is_module(text)
    ]


def _is_module(name: str) -> bool:
    """Or a logger that is named after one, or after a room."""
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:
        return False


def test_no_metric_or_attribute_is_missing_from_the_list() -> None:
    constants = known()
    found = [
        f"{file.relative_to(SOURCE)}: {text!r} is not in names.py"
        for room in ROOMS
        for file in sorted((SOURCE / room).rglob("*.py"))
        for text in not_in_the_list(file.read_text("utf-8"), constants)
    ]
    assert found == []
    planted = 'span.set_attribute("shop.basket", 1)\nimport_module("urllib.request")\n"spanwise.deliver"\n'
    assert not_in_the_list(planted, constants) == ["shop.basket"]


def test_instruments_are_made_in_one_place() -> None:
    found = [
        str(file.relative_to(SOURCE))
        for file in sorted(SOURCE.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and re.match(r"create_(observable_)?(counter|gauge|histogram|up_down_counter)", node.func.attr)
    ]
    # The meter itself, and a look at the SDK's own.
    assert set(found) - {"instruments.py"} == {"meters/provider.py", "meters/sdk_shape.py"}


def test_the_list_that_users_read_is_fresh() -> None:
    document = SOURCE.parents[1] / "docs" / "telemetry.md"
    assert document.read_text("utf-8") == markdown(), "run scripts/names-table"


def test_units_and_kinds_are_such() -> None:
    metrics = [value for value in vars(names).values() if isinstance(value, names.Metric)]
    assert {metric.kind for metric in metrics} <= {"counter", "updowncounter", "gauge", "histogram"}
    assert {metric.source for metric in metrics} <= {"semconv", "spanwise", "collector"}
    for metric in metrics:
        assert re.fullmatch(r"1|s|By|By/s|\{[a-z_]+\}", metric.unit) or metric.name in OLD, metric
        assert metric.description.endswith("."), metric
        assert bool(metric.buckets) <= (metric.kind == "histogram"), metric
        assert list(metric.buckets) == sorted(metric.buckets), metric


def test_a_literal_is_seen_and_a_docstring_is_not() -> None:
    assert written_out('"""http.route"""\nx = "http.route"') == ["http.route"]


def test_the_document_tells_whose_each_name_is() -> None:
    rows = [line.strip("| ").split(" | ") for line in markdown().splitlines() if line.startswith("| `")]
    source = {row[0].strip("`"): row[-1] for row in rows}
    assert (
        source["cache.outcome"] == source["circuit_breaker.name"] == source["spanwise.rating"] == "spanwise"
    )
    assert source["otel.metric.overflow"] == "the specification of the SDK"
    assert source["db.redis.args_length"] == "redis-py and contrib"
    assert source["db.system.name"] == "semconv"


def test_every_name_is_used() -> None:
    source = Path(names.__file__)
    texts = [each.read_text("utf-8") for each in source.parent.rglob("*.py") if each != source]
    used = set(re.findall(r"\b[A-Z][A-Z0-9_]+\b", "\n".join(texts)))
    own = source.read_text("utf-8")
    constants = [each for each in vars(names) if re.fullmatch(r"[A-Z][A-Z0-9_]+", each)]
    unused = [each for each in constants if each not in used and len(re.findall(rf"\b{each}\b", own)) == 1]
    assert unused == []
