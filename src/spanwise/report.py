"""The start-up report: what is instrumented, where data goes, which thresholds hold."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from spanwise import installed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from spanwise.instrumentors.load import Outcome

__all__ = ["lines", "show"]

# Set for the children of this process, so that the workers and the reloader's child of one launch
# do not print the report again.
SHOWN = "_SPANWISE_REPORT_SHOWN"


def show(
    service: str, destinations: Sequence[str], outcomes: Sequence[Outcome], thresholds: Sequence[str]
) -> None:
    """Prints the report on standard error, once for a process and its children."""
    if os.environ.get(SHOWN):
        return
    os.environ[SHOWN] = "1"
    print("\n".join(lines(service, destinations, outcomes, thresholds)), file=sys.stderr, flush=True)


def lines(
    service: str, destinations: Sequence[str], outcomes: Sequence[Outcome], thresholds: Sequence[str]
) -> list[str]:
    """The report's lines.

    Args:
        service: the service as telemetry names it.
        destinations: where each signal goes.
        outcomes: what became of each instrumentation.
        thresholds: where they come from, and one line a rule that holds. Empty where telemetry is off.
    """
    width = max((len(outcome.name) for outcome in outcomes), default=0)
    report = [f"spanwise {installed.version('spanwise')}: {service}"]
    for title, entries in (
        ("data goes to", list(destinations) or ["nowhere: no exporter"]),
        *(
            (
                title,
                [
                    f"{outcome.name:<{width}}  {outcome.detail}"
                    for outcome in outcomes
                    if outcome.state == state
                ],
            )
            for state, title in (
                ("instrumented", "instrumented"),
                ("waiting", "to be instrumented when the application imports it"),
                ("skipped", "skipped"),
                ("failed", "FAILED"),
            )
        ),
        ("not installed, so not instrumented", _absent(outcomes)),
        ("thresholds", list(thresholds)),
    ):
        if entries:
            report += [f"  {title}:", *(f"    {entry}" for entry in entries)]
    return report


def _absent(outcomes: Sequence[Outcome]) -> list[str]:
    names = ", ".join(outcome.name for outcome in outcomes if outcome.state == "absent")
    return [names] if names else []
