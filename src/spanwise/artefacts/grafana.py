"""Grafana dashboards, built with Grafana's own model (the extra ``grafana``).

Its types are imported when a dashboard is made: no other artefact needs them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from spanwise.artefacts.panels import Board, Panel, Query, boards
from spanwise.artefacts.stamp import stamp
from spanwise.errors import MissingExtraError
from spanwise.rules.model import Rule

__all__ = ["application", "overview"]

# The data sources' identifiers, as compose/grafana/provisioning has them.
_PROMETHEUS: Final = "prometheus"
_JAEGER_URL: Final = "http://127.0.0.1:16686"
_SERVICES: Final = "label_values(traces_span_metrics_calls_total, service_name)"
_COLORS: Final = {"good": "green", "acceptable": "blue", "poor": "orange", "critical": "red"}


def overview(rules: tuple[Rule, ...]) -> str:
    """The first dashboard as JSON: requests, ratings, objectives, database, calls, the Collector.

    Raises:
        MissingExtraError: Grafana's model is not installed.
    """
    return _json(rules, 0)


def application(rules: tuple[Rule, ...]) -> str:
    """The second dashboard as JSON: what goes on inside the application, and every other threshold.

    Raises:
        MissingExtraError: Grafana's model is not installed.
    """
    return _json(rules, 1)


def _json(rules: tuple[Rule, ...], number: int) -> str:
    try:
        from grafana_foundation_sdk.cog.encoder import JSONEncoder
    except ImportError:
        raise MissingExtraError("grafana", "a Grafana dashboard") from None
    model = _dashboard(boards(rules)[number], stamp(rules))
    text: str = JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False).encode(model)
    return text + "\n"


def _dashboard(board: Board, stamped: str) -> Any:
    from grafana_foundation_sdk.builders import dashboard as build
    from grafana_foundation_sdk.models import dashboard as model

    made = (
        build.Dashboard(board.title)
        .uid(board.uid)
        .description(" ".join(line.removeprefix("# ") for line in stamped.splitlines()))
        .tags(["spanwise"])
        .readonly()
        .refresh("30s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .annotations([])
        .with_variable(
            build.QueryVariable("service")
            .label("Service")
            .datasource(_source())
            .query({"query": _SERVICES, "refId": "service"})
            .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(model.VariableSort.ALPHABETICAL_ASC)
            .multi(True)
            .include_all(True)
            .all_value(".+")
            .current(model.VariableOption(text="All", value="$__all", selected=True))
        )
        .link(
            build.DashboardLink("Traces in Jaeger")
            .type(model.DashboardLinkType.LINK)
            .url(_JAEGER_URL)
            .target_blank(True)
        )
        .link(
            build.DashboardLink("spanwise")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags(["spanwise"])
            .keep_time(True)
        )
    )
    place = _Place()
    for row in board.rows:
        made.with_row(build.Row(row.title).id(place.id()).grid_pos(place.row()))
        for panel in row.panels:
            made.with_panel(_BUILDERS[panel.type](panel).id(place.id()).grid_pos(place.panel(panel)))
    return made.build()


class _Place:
    """Ids and places of panels, one after the other: the builder's own ids depend on the order of calls."""

    def __init__(self) -> None:
        self._id = self._x = self._y = self._next = 0

    def id(self) -> int:
        self._id += 1
        return self._id

    def row(self) -> Any:
        self._x, self._y = 0, self._next
        self._next += 1
        pos = _pos(0, self._y, 24, 1)
        self._y = self._next
        return pos

    def panel(self, panel: Panel) -> Any:
        if self._x + panel.width > 24:
            self._x, self._y = 0, self._next
        pos = _pos(self._x, self._y, panel.width, panel.height)
        self._x += panel.width
        self._next = max(self._next, self._y + panel.height)
        return pos


def _pos(x: int, y: int, width: int, height: int) -> Any:
    from grafana_foundation_sdk.models.dashboard import GridPos

    return GridPos(h=height, w=width, x=x, y=y)


def _source() -> Any:
    from grafana_foundation_sdk.models.dashboard import DataSourceRef

    return DataSourceRef(type_val="prometheus", uid=_PROMETHEUS)


def _query(query: Query, name: str, panel: Panel) -> Any:
    from grafana_foundation_sdk.builders import prometheus as build
    from grafana_foundation_sdk.models.prometheus import PromQueryFormat

    made = build.Dataquery().expr(query.expr).ref_id(name).datasource(_source())
    if panel.type in ("graph", "table"):
        return made.instant().format(PromQueryFormat.TABLE)
    # The first quantile of a panel carries the points: one for each would draw each trace three times.
    return made.range().legend_format(query.legend).exemplar(panel.exemplars and name == "A")


def _described(made: Any, panel: Panel) -> Any:
    from grafana_foundation_sdk.builders import dashboard as build
    from grafana_foundation_sdk.models import dashboard as model

    made.title(panel.title).description(panel.description).datasource(_source()).unit(panel.unit)
    for number, query in enumerate(panel.queries):
        name = query.legend if panel.type == "graph" else chr(ord("A") + number)
        made.with_target(_query(query, name, panel))
    if panel.lines:
        base = "transparent" if panel.type == "timeseries" else "green"
        steps = [model.Threshold(color=base)]
        steps += [model.Threshold(value=line.value, color=line.color) for line in panel.lines]
        made.thresholds(build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps))
    return made


def _timeseries(panel: Panel) -> Any:
    from grafana_foundation_sdk.builders import common, timeseries
    from grafana_foundation_sdk.models import common as options
    from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

    made = _described(timeseries.Panel(), panel)
    made.legend(
        common.VizLegendOptions()
        .display_mode(options.LegendDisplayMode.LIST)
        .placement(options.LegendPlacement.BOTTOM)
        .show_legend(True)
    )
    made.tooltip(
        common.VizTooltipOptions().mode(options.TooltipDisplayMode.MULTI).sort(options.SortOrder.DESCENDING)
    )
    if panel.lines:
        style = common.GraphThresholdsStyleConfig().mode(options.GraphThresholdsStyleMode.LINE)
        made.thresholds_style(style)
    if panel.stacked:
        made.stacking(common.StackingConfig().mode(options.StackingMode.NORMAL)).fill_opacity(40)
        for name, color in _COLORS.items():
            fixed = {"mode": "fixed", "fixedColor": color}
            made.override_by_name(name, [DynamicConfigValue(id_val="color", value=fixed)])
    return made


def _stat(panel: Panel) -> Any:
    from grafana_foundation_sdk.builders import common, stat
    from grafana_foundation_sdk.models import common as options

    made = _described(stat.Panel(), panel)
    made.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    return made.graph_mode(options.BigValueGraphMode.AREA).color_mode(options.BigValueColorMode.VALUE)


def _graph(panel: Panel) -> Any:
    from grafana_foundation_sdk.builders import nodegraph
    from grafana_foundation_sdk.models.dashboard import DataTransformerConfig

    made = _described(nodegraph.Panel(), panel)
    named = {f"Value #{query.legend}": "mainstat" for query in panel.queries}
    tidy = {"renameByName": named, "excludeByName": {"Time": True}}
    return made.with_transformation(DataTransformerConfig(id_val="organize", options=tidy))


def _table(panel: Panel) -> Any:
    from grafana_foundation_sdk.builders import table
    from grafana_foundation_sdk.models.dashboard import DataTransformerConfig

    made = _described(table.Panel(), panel)
    named = {f"Value #{chr(ord('A') + number)}": each.legend for number, each in enumerate(panel.queries)}
    tidy = {"renameByName": named, "excludeByName": {"Time": True}}
    made.with_transformation(DataTransformerConfig(id_val="merge", options={}))
    return made.with_transformation(DataTransformerConfig(id_val="organize", options=tidy))


_BUILDERS: Final[dict[str, Callable[[Panel], Any]]] = {
    "timeseries": _timeseries,
    "stat": _stat,
    "graph": _graph,
    "table": _table,
}
