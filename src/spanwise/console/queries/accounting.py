"""Did everything arrive? Spans stored against spans recorded, by service instance.

An application with spanwise counts the spans whose processing ended in ``otel.sdk.processor.span.processed``;
those it had to drop carry ``error.type``. The counter is cumulative, so of each attribute set the latest
point counts. Recorded = stored + dropped + missing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from spanwise import names

if TYPE_CHECKING:
    import duckdb

__all__ = ["InstanceAccount", "account"]


@dataclass(slots=True)
class InstanceAccount:
    """One service instance's spans.

    Attributes:
        stored: distinct spans that arrived here, those that retention has removed included.
        recorded: spans the instance says it ended, dropped ones included; None when it has not said.
        dropped: spans it says it dropped, by reason.
    """

    service: str
    instance: str
    stored: int = 0
    recorded: int | None = None
    dropped: dict[str, int] = field(default_factory=dict)

    @property
    def missing(self) -> int | None:
        """Spans neither stored nor counted as dropped; negative while the count lags behind the spans."""
        if self.recorded is None:
            return None
        return self.recorded - sum(self.dropped.values()) - self.stored


_STORED: Final = """
select service, instance, sum(spans)::BIGINT from (
  select service, instance, count(distinct trace_id || span_id) as spans from spans group by service, instance
  union all
  select service, instance, sum(spans) from evicted group by service, instance
) group by service, instance
"""
# A counter that restarted has another start time: each run of it counts for itself.
_RECORDED: Final = """
select service, instance, attributes, sum(value)::BIGINT from (
  select service, instance, attributes,
    case when temporality = 'delta' then sum(value) else arg_max(value, time_ns) end as value
  from points
  where name = ? and value is not null and isfinite(value)
  group by service, instance, scope, attributes, start_ns, temporality
) group by service, instance, attributes
"""


def account(cursor: duckdb.DuckDBPyConnection) -> list[InstanceAccount]:
    """The account of every instance that sent spans or counts, sorted by service and instance."""
    accounts: dict[tuple[str, str], InstanceAccount] = {}
    for service, instance, spans in cursor.execute(_STORED).fetchall():
        accounts[service, instance] = InstanceAccount(service, instance, spans)
    for service, instance, attributes, value in cursor.execute(
        _RECORDED, [names.SDK_SPANS_PROCESSED.name]
    ).fetchall():
        entry = accounts.setdefault((service, instance), InstanceAccount(service, instance))
        entry.recorded = (entry.recorded or 0) + value
        reason = json.loads(attributes).get(names.ERROR_TYPE)
        if reason is not None:
            entry.dropped[str(reason)] = entry.dropped.get(str(reason), 0) + value
    return [accounts[key] for key in sorted(accounts)]
