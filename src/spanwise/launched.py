"""What was started in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spanwise.alerts.slow import SlowOperations
    from spanwise.instrumentors.load import Outcome
    from spanwise.meters.sampler import Sampler
    from spanwise.rating.verdict import VerdictFunction
    from spanwise.settings import Settings

__all__ = ["Launch"]


@dataclass
class Launch:
    """What was started in this process, and what came of it.

    Attributes:
        settings: the settings that hold.
        verdict: rates spans by the thresholds.
        describe: makes the report's lines about the thresholds.
        service: the service as telemetry names it, for the report.
        service_name: its name alone.
        destinations: a line a signal: where it goes.
        options: keyword arguments of ``instrument()`` by instrumentation.
        outcomes: what became of each instrumentation.
        edges: of histograms that the thresholds add some to, by the metric's name.
        history: how the metrics' past is kept: ``interval`` in nanoseconds and ``samples``. Not a rule:
            importing their classes takes a start-up 5 ms.
        sampler: takes the samples; None where none are taken.
        firing: which alerts fire, for the health; None where they did not begin.
        rules: reads the thresholds as neutral rules, for what is not needed at the start.
        slow: the operations that the thresholds call slow; None where nothing is rated.
    """

    settings: Settings
    verdict: VerdictFunction | None = None
    describe: Callable[[], list[str]] = list
    service: str = "telemetry is off"
    service_name: str = ""
    destinations: list[str] = field(default_factory=list)
    options: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    instrumented: bool = False
    edges: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    history: Mapping[str, int] = field(default_factory=dict)
    sampler: Sampler | None = None
    firing: Callable[[], Iterable[Any] | None] = tuple
    rules: Callable[[], tuple[Any, ...]] = tuple
    slow: SlowOperations | None = None
