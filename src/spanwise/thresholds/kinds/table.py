"""Every kind of entry. A new one is a file here and a line in KINDS."""

from __future__ import annotations

from typing import Final

from spanwise.thresholds.kinds import increase, level, objective, quantile, ratio, span_rating, trigger
from spanwise.thresholds.model import Kind

__all__ = ["KINDS"]

KINDS: Final[dict[str, Kind]] = {
    each.name: each
    for each in (
        span_rating.KIND,
        level.KIND,
        ratio.KIND,
        increase.KIND,
        quantile.KIND,
        objective.KIND,
        trigger.KIND,
    )
}
