"""Arms that work in turn: real processes, a script made up here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from benchmarks import collect
from benchmarks.arms import PLAIN, Arm
from benchmarks.collect import Measurement
from benchmarks.figures import Results
from benchmarks.plan import WORKLOADS, Figure, Workload
from benchmarks.together import added, measure_together

# What a chunk takes: plain's grows, as on a machine that becomes slower; an arm adds a tenth and 50.
SCRIPT = """
import json, sys
arm, limit = sys.argv[1], int(sys.argv[2])
for number, _ in enumerate(sys.stdin):
    if number == limit:
        print("out of order", file=sys.stderr)
        sys.exit(3)
    plain = 100.0 * (number + 1)
    if arm == "other" and limit == 3 and number == 1:
        print("a warning of the arm's", flush=True)
    else:
        print(plain if arm == "plain" else plain * 1.1 + 50, flush=True)
print(json.dumps({"values": {"once": 0 if arm == "plain" else 7}, "any_spans": 0, "requests": 1}), flush=True)
"""

WORK = Workload("made_up", "Made up", "µs", (Figure("process", "a chunk"),), over_plain=True, chunks=(3, 5))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "made_up.py").write_text(SCRIPT, "utf-8")
    monkeypatch.setattr(collect, "SCRIPTS", tmp_path)
    return tmp_path


def measured(folder: Path, limit: int) -> dict[str, Measurement]:
    arms = [Arm(PLAIN, "flask", PLAIN), Arm("other", "flask", "other")]
    found = measure_together(WORK, arms, 2, {arm.name: folder for arm in arms}, [str(limit)], WORK.chunks[1])
    assert [one.round for one in found] == [2, 2]
    return {one.arm: one for one in found}


def test_what_an_arm_adds_is_told_chunk_by_chunk(folder: Path) -> None:
    found = measured(folder, 9)
    assert {name: one.error for name, one in found.items()} == {PLAIN: "", "other": ""}
    # Of 200 to 600: the median, and what is done once.
    assert found[PLAIN].values == {"process": 400.0}
    assert found["other"].values == {"process": pytest.approx(400 + 90 + 7)}


def test_one_that_ends_early_is_told_of(folder: Path) -> None:
    found = measured(folder, 2)
    assert {one.error for one in found.values()} == {"exit status 3: out of order"}
    assert all(not one.values for one in found.values())


def test_one_that_says_something_else_is_told_of(folder: Path) -> None:
    found = measured(folder, 3)
    assert found["other"].error == 'it answered "a warning of the arm\'s"'


def test_the_median_of_differences() -> None:
    assert added([110, 220, 990], [100, 200, 300]) == 20
    with pytest.raises(ValueError, match="zip"):
        added([1], [1, 2])


def test_a_round_s_arms_are_compared_with_its_own_plain() -> None:
    def one(arm: str, turn: int, value: float) -> Measurement:
        return Measurement("flask_request", arm, turn, {"process": value})

    slow_and_quick = [one(PLAIN, 0, 300), one("stock", 0, 1000), one(PLAIN, 1, 600), one("stock", 1, 1500)]
    spread = Results(slow_and_quick).spread("flask_request", "process", "stock")
    assert spread is not None
    assert (spread.low, spread.median, spread.high) == (700, 800, 900)
    alone = Results([*slow_and_quick, one("stock", 2, 9)]).spread("flask_request", "process", "stock")
    assert alone == spread


def test_the_workload_that_is_measured_so() -> None:
    assert [name for name, each in WORKLOADS.items() if any(each.chunks)] == ["flask_request"]
