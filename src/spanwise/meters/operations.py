"""What operations that the application marks itself cost: CPU time, memory, and figures of the user's.

Their duration is recorded with their span, by the same clock.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.metrics import Meter
from opentelemetry.util.types import AttributeValue

from spanwise import names
from spanwise.instruments import make
from spanwise.names import Metric

__all__ = ["OperationMeter"]

# The specification's syntax: https://opentelemetry.io/docs/specs/otel/metrics/api/#instrument-name-syntax
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./-]{0,254}", re.ASCII)
_UNIT: Final = re.compile(r"[!-~]{0,63}", re.ASCII)

# An instrument lives as long as the process: names made of data must not fill its memory.
_MOST_NAMES: Final = 100


class OperationMeter:
    """The instruments of operations.

    Args:
        meter: makes them.

    Attributes:
        duration: for whoever times the operation.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.duration = make(meter, names.OPERATION_DURATION)
        self._cpu = make(meter, names.OPERATION_CPU_TIME)
        self._memory = make(meter, names.OPERATION_MEMORY_DELTA)
        self._added: dict[tuple[str, str], Any] = {}

    def record(self, cpu: float | None, memory: int | None, attributes: Mapping[str, AttributeValue]) -> None:
        """Records one operation that ended.

        Args:
            cpu: CPU seconds; None where they are not known.
            memory: bytes by which the process grew, negative where it shrank; None where not known.
            attributes: of the operation's metrics.
        """
        if cpu is not None:
            self._cpu.add(cpu, attributes)
        if memory is not None:
            self._memory.add(memory, attributes)

    def add(self, name: str, value: float, unit: str, attributes: Mapping[str, AttributeValue]) -> None:
        """Records a figure of the user's in a histogram of its name.

        Args:
            name: of the metric, as OpenTelemetry allows it.
            value: finite and not negative.
            unit: UCUM, may be empty.
            attributes: of the operation's metrics.

        Raises:
            ValueError: one of them cannot be used. The text says which and what to do.
        """
        histogram = self._added.get((name, unit))
        if histogram is None:
            histogram = self._new(name, unit)
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{value!r} is no value of the metric {name}, which takes finite ones from 0 on")
        histogram.record(value, attributes)

    def _new(self, name: str, unit: str) -> Any:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{name[:80]!r} is no metric's name: use a letter, then letters, digits and _ . / -"
            )
        if not _UNIT.fullmatch(unit):
            raise ValueError(
                f"{unit[:80]!r} is no unit of {name}: use a UCUM one, such as By, s or {{frame}}"
            )
        if len(self._added) >= _MOST_NAMES:
            raise ValueError(
                f"{name} would be metric {_MOST_NAMES + 1} that operations add: use a name for a kind of "
                "figure, and put what differs into attributes of the span"
            )
        metric = Metric(name, unit, f"{name} of operations.", "application", "histogram")
        return self._added.setdefault((name, unit), make(self._meter, metric))
