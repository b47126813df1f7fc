"""What lives as long as the delivery, and the reader whose metrics it may look at."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spanwise.deliver.pipeline import Pipeline
from spanwise.settings import Exporter, Settings

SETTINGS = Settings(metrics=Exporter(endpoint="http://127.0.0.1:9"), exit_timeout=0)


class Noted:
    """Notes what happens, and whether the delivery had ended."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.told: list[tuple[str, bool]] = []

    def begin(self) -> None:
        self.told.append(("begin", self.pipeline._workers.closed))

    def after_fork(self) -> None:
        self.told.append(("after_fork", self.pipeline._workers.closed))

    def end(self) -> None:
        self.told.append(("end", self.pipeline._workers.closed))


@pytest.mark.parametrize("signals", [[], ["metrics"]])
def test_companions_hear_of_start_fork_and_end(signals: list[str]) -> None:
    pipeline = Pipeline(SETTINGS, signals)
    noted = Noted(pipeline)
    pipeline.companions.append(noted)
    pipeline.start()
    pipeline.after_fork()
    pipeline.shutdown()
    # A fork is no start, and the end comes while there is something to make of it.
    assert noted.told == [("begin", False), ("after_fork", False), ("end", False)]
    assert pipeline._workers.closed


@pytest.mark.parametrize(
    ("signals", "temporality", "own"),
    [(["metrics"], "cumulative", True), (["metrics"], "delta", False), (["traces"], "cumulative", False)],
)
def test_the_delivery_s_own_reader_is_looked_at_where_that_takes_nothing_from_it(
    signals: list[str], temporality: str, own: bool
) -> None:
    pipeline = Pipeline(replace(SETTINGS, metric_temporality=temporality), signals)
    try:
        sampling = pipeline.sampling()
        assert (sampling is pipeline.metric_reader) is own
        assert sampling.cumulative
    finally:
        pipeline.shutdown()
