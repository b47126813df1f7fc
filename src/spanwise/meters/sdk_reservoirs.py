"""Every place where the meters rely on how the SDK's reservoirs of exemplars look inside.

Checked with the rest of what they rely on, in :mod:`spanwise.meters.sdk_shape`.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from opentelemetry.context import Context
from opentelemetry.sdk.metrics import (
    AlignedHistogramBucketExemplarReservoir,
    AlwaysOffExemplarFilter,
    MeterProvider,
    SimpleFixedSizeExemplarReservoir,
    TraceBasedExemplarFilter,
)
from opentelemetry.trace import NonRecordingSpan, SpanContext, set_span_in_context

__all__ = ["Candidate", "exemplar_edges", "offer", "takes_exemplars"]

Candidate: TypeAlias = tuple[float, int, SpanContext, Mapping[str, Any]]
"""A measurement that may become an exemplar: its amount, nanoseconds since 1970, the current span, and the
attributes as they were given (a view may leave fewer on the point). A plain tuple: a named one costs eight
times as much to make."""


def takes_exemplars(provider: MeterProvider) -> bool | None:
    """Whether measurements within sampled spans may become exemplars.

    Returns:
        None for a filter of somebody else's, which has to be asked about each measurement.
    """
    kind = type(provider._sdk_config.exemplar_filter)
    if kind is TraceBasedExemplarFilter:
        return True
    return False if kind is AlwaysOffExemplarFilter else None


def exemplar_edges(aggregations: Sequence[Any]) -> tuple[float, ...] | None:
    """Edges between which one candidate is enough, the last one; None where all are to be offered.

    Args:
        aggregations: of one set of attributes: each may have buckets of its own.
    """
    edges: set[float] = set()
    for each in aggregations:
        if type(each._reservoir) is not AlignedHistogramBucketExemplarReservoir:
            return None
        edges.update(each._reservoir._boundaries)
    return tuple(sorted(edges))


def offer(aggregation: Any, candidates: Sequence[Candidate]) -> None:
    """Offers candidates to the aggregation's reservoir.

    Of those that the SDK's own reservoirs would replace by one another, only one is offered: an offer costs
    ten times what keeping the candidate did. A reservoir of somebody else's gets them all.
    """
    reservoir = aggregation._reservoir
    kind = type(reservoir)
    chosen: Sequence[Candidate] = candidates
    if kind is AlignedHistogramBucketExemplarReservoir:
        # It keeps the last one of each bucket.
        bounds = reservoir._boundaries
        chosen = list({bisect_left(bounds, each[0]): each for each in candidates}.values())
    elif kind is SimpleFixedSizeExemplarReservoir:
        chosen = random.sample(candidates, min(reservoir._size, len(candidates)))
    for amount, time, span, attributes in chosen:
        reservoir.offer(amount, time, attributes, set_span_in_context(NonRecordingSpan(span), Context()))
