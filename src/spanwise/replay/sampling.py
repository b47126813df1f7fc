"""What the Collector's tail sampling would have kept.

A trace is kept by its first policy that wants it: a failed span, a rating, else the baseline, which the
Collector decides by a hash of the trace's id and nothing else; so it is decided here in the same way.
https://github.com/open-telemetry/opentelemetry-collector-contrib/blob/v0.145.0/processor/tailsamplingprocessor/internal/sampling/probabilistic.go

A trace is a few numbers until it is decided: some 350 bytes. Two generations of traces are held, of 100,000
each (70 MB): a trace moves to the younger one with each of its spans, and when that is full the older ones
are decided. So a trace's spans may lie any way in the source, up to 100,000 other traces apart; further
apart, it is counted as two traces.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final, NamedTuple

from spanwise.replay.spans import ERROR, Span
from spanwise.rules.model import Sampling

__all__ = ["POLICIES", "TRACES_HELD", "Kept", "TailSampling", "baseline_keeps"]

POLICIES: Final = ("error", "rated", "baseline")
"""In the order of the generated configuration."""

TRACES_HELD: Final = 100_000

# FNV-1a, 64 bits, over the processor's default salt and then the id.
_PRIME: Final = 0x100000001B3
_MASK: Final = (1 << 64) - 1


def _fnv(state: int, data: bytes) -> int:
    for byte in data:
        state = (state ^ byte) * _PRIME & _MASK
    return state


_SALTED: Final = _fnv(0xCBF29CE484222325, b"default-hash-seed")


def baseline_keeps(trace_id: bytes, threshold: int) -> bool:
    """Whether the probabilistic policy keeps a trace.

    Args:
        trace_id: its 16 bytes.
        threshold: as :func:`baseline_threshold` gives it.
    """
    return _fnv(_SALTED, trace_id) <= threshold


def baseline_threshold(percentage: float) -> int:
    """The greatest hash that is kept.

    Args:
        percentage: of traces, 0 to 100.
    """
    # As Go's big.Float has it: the product is rounded to 64 bits of mantissa, half to even, then cut.
    product = Fraction(percentage / 100) * _MASK
    scale = max(0, 64 - int(product).bit_length())
    return min(_MASK, round(product * (1 << scale)) >> scale)


class Kept(NamedTuple):
    """Traces, their spans, and the bytes of these."""

    traces: int
    spans: int
    size: int


# One trace: spans, bytes, wanted (bits), first and last end.
_SPANS, _SIZE, _WANTED, _FIRST, _LAST = range(5)
_ERROR_BIT, _RATED_BIT = 1, 2


class TailSampling:
    """Counts what is kept, span by span.

    Args:
        rule: what is to be kept.
        held: traces in a generation.

    Attributes:
        total: all of it.
        policies: what each policy keeps, the first one that wants a trace.
        long: traces whose spans end further apart than ``decision_wait``: the Collector decides these before
            it has seen them whole, here they are decided whole.
    """

    def __init__(self, rule: Sampling, held: int = TRACES_HELD) -> None:
        self._held = held
        self._errors = "error" in rule.keep
        self._ratings = frozenset(rule.keep) - {"error"}
        self._threshold = baseline_threshold(rule.baseline)
        self._wait = rule.decision_wait
        self._young: dict[bytes, list[int]] = {}
        self._old: dict[bytes, list[int]] = {}
        self._counts = {policy: [0, 0, 0] for policy in ("", *POLICIES)}
        self.long = 0

    def add(self, span: Span, rating: str | None) -> None:
        """Counts a span.

        Args:
            span: the span.
            rating: how it is rated; None where no rule is about it.
        """
        trace = self._young.get(span.trace_id)
        if trace is None:
            trace = self._old.pop(span.trace_id, None)
            if trace is None:
                trace = [0, 0, 0, span.end, span.end]
            self._young[span.trace_id] = trace
        trace[_SPANS] += 1
        trace[_SIZE] += span.size
        if span.end > trace[_LAST]:
            trace[_LAST] = span.end
        elif span.end < trace[_FIRST]:
            trace[_FIRST] = span.end
        if span.status == ERROR and self._errors:
            trace[_WANTED] |= _ERROR_BIT
        if rating in self._ratings:
            trace[_WANTED] |= _RATED_BIT
        if len(self._young) >= self._held:
            self._decide(self._old)
            self._old, self._young = self._young, {}

    def finish(self) -> None:
        """Decides what is still held."""
        self._decide(self._old)
        self._decide(self._young)
        self._old, self._young = {}, {}

    @property
    def total(self) -> Kept:
        return Kept(*self._counts[""])

    @property
    def policies(self) -> dict[str, Kept]:
        return {policy: Kept(*self._counts[policy]) for policy in POLICIES}

    def _decide(self, traces: dict[bytes, list[int]]) -> None:
        for trace_id, trace in traces.items():
            self._count("", trace)
            if trace[_LAST] - trace[_FIRST] > self._wait:
                self.long += 1
            if trace[_WANTED] & _ERROR_BIT:
                self._count("error", trace)
            elif trace[_WANTED]:
                self._count("rated", trace)
            elif baseline_keeps(trace_id, self._threshold):
                self._count("baseline", trace)

    def _count(self, policy: str, trace: list[int]) -> None:
        counts = self._counts[policy]
        counts[0] += 1
        counts[1] += trace[_SPANS]
        counts[2] += trace[_SIZE]
