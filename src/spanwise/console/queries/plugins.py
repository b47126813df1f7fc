"""What do plugins cost? Calls, errors, time, loading and memory, by plugin, from the spans stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from spanwise import names

if TYPE_CHECKING:
    import duckdb

__all__ = ["PluginCost", "plugin_costs"]

_MOST: Final = 500


class PluginCost(NamedTuple):
    """One plugin of one service.

    Attributes:
        project: what the plugin is for: its manager's project.
        calls: how often an implementation of its ran.
        errors: those that failed, and loads that did.
        mean_ms: of a call; a wrapper's without what it wraps.
        max_ms: the longest call.
        load_ms: its longest load; None where none is stored.
        memory_bytes: by how much the process grew while it was loaded, at most; None likewise.
    """

    service: str
    project: str
    plugin: str
    calls: int
    errors: int
    mean_ms: float | None
    max_ms: float | None
    load_ms: float | None
    memory_bytes: int | None


def _attribute(name: str) -> str:
    return f"""json_extract_string(attributes, '$."{name}"')"""


# Both kinds of spans have the plugin's name; a load has no hook.
_SQL: Final = f"""
with found as (
  select service, status,
    coalesce({_attribute(names.PLUGIN_PROJECT)}, '') as project,
    {_attribute(names.PLUGIN_NAME)} as plugin,
    {_attribute(names.PLUGIN_HOOK)} is null as loads,
    (end_ns - start_ns) / 1e6 as took,
    coalesce(try_cast({_attribute(names.PLUGIN_OWN_TIME)} as double) * 1e3, (end_ns - start_ns) / 1e6) as own,
    try_cast({_attribute(names.PLUGIN_LOAD_MEMORY)} as bigint) as grown
  from spans where {_attribute(names.PLUGIN_NAME)} is not null
)
select service, project, plugin,
  count(*) filter (where not loads),
  count(*) filter (where status = 'error'),
  avg(own) filter (where not loads and isfinite(own)),
  max(own) filter (where not loads and isfinite(own)),
  max(took) filter (where loads),
  max(grown) filter (where loads)
from found group by service, project, plugin
order by sum(own) filter (where isfinite(own)) desc nulls last, service, project, plugin
limit {_MOST}
"""


def plugin_costs(cursor: duckdb.DuckDBPyConnection) -> list[PluginCost]:
    """Every plugin, the one that took the most time first; 500 at most."""
    return [PluginCost(*row) for row in cursor.execute(_SQL).fetchall()]
