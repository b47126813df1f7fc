"""Exemplars of collections that are looked at and not delivered.

A collection empties the SDK's reservoirs. What a sample of the history takes out of them goes out with the
next delivery instead.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from opentelemetry.sdk.metrics.export import MetricsData

__all__ = ["Exemplars"]

_Key: TypeAlias = tuple[Any, str, str]


class Exemplars:
    """Those that wait for a delivery: as many for each point as one collection may have of it.

    From any thread, and without a lock that a fork could leave closed.
    """

    def __init__(self) -> None:
        self._waiting: dict[_Key, Sequence[Any]] = {}

    def keep(self, data: MetricsData) -> None:
        """Takes those of a collection that is not delivered."""
        for resource in data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in _with_exemplars(metric):
                        key = _key(scope, metric, point)
                        self._waiting[key] = _merged(self._waiting.get(key, ()), point)

    def given_to(self, data: MetricsData) -> MetricsData:
        """A collection that is delivered, with those that wait, which wait no longer."""
        waiting, self._waiting = self._waiting, {}
        if not waiting:
            return data
        resources = [
            replace(
                resource,
                scope_metrics=[
                    replace(scope, metrics=[_given(waiting, scope, metric) for metric in scope.metrics])
                    for scope in resource.scope_metrics
                ],
            )
            for resource in data.resource_metrics
        ]
        return replace(data, resource_metrics=resources)


def _given(waiting: dict[_Key, Sequence[Any]], scope: Any, metric: Any) -> Any:
    points = []
    for point in metric.data.data_points:
        kept = waiting.get(_key(scope, metric, point))
        points.append(point if kept is None else replace(point, exemplars=_merged(kept, point)))
    return replace(metric, data=replace(metric.data, data_points=points))


def _with_exemplars(metric: Any) -> Iterator[Any]:
    return (point for point in metric.data.data_points if point.exemplars)


def _key(scope: Any, metric: Any, point: Any) -> _Key:
    # As text: values may be lists, and 1, 1.0 and True are different ones.
    return scope.scope, metric.name, repr(sorted((point.attributes or {}).items()))


def _merged(kept: Sequence[Any], point: Any) -> Sequence[Any]:
    """What one reservoir would have kept of both: the last of each bucket, or as many of the newest."""
    new = point.exemplars or ()
    if not kept or not new:
        return kept or new
    both = [*kept, *new]
    bounds = getattr(point, "explicit_bounds", None)
    if bounds is not None:
        return list({bisect_left(bounds, each.value): each for each in both}.values())
    return both[-max(len(kept), len(new)) :]
