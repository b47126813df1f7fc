"""What all spans of one tracer have in common, worked out once and held by reference."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler

from spanwise.spans.limits import AttributeRules
from spanwise.spans.processors import GuardedProcessors
from spanwise.spans.sdk_shape import SHAPE_HOLDS
from spanwise.spans.verdict import VerdictFunction

if TYPE_CHECKING:
    from opentelemetry.sdk.util.instrumentation import InstrumentationInfo, InstrumentationScope

__all__ = ["Shared"]

_OF_SAMPLED = 3  # a local, sampled parent, among the decisions


@dataclass(frozen=True, slots=True)
class Shared:
    """A tracer's configuration at one moment; a change makes a new one, started spans keep theirs.

    Attributes:
        token: stands for the tracer's configuration it was made from.
        metrics: the SDK's internal span metrics, or None when they are off.
        decisions: what the sampler says by kind of parent, see `sdk_shape.known_decisions`.
        verdict: rates spans that end, or None; ``floor`` is the duration up to which it need not be asked.
        rules, event_rules, link_rules: the limits on attributes.
        enabled: whether the tracer makes spans at all.
        leaves: whether all children of local, sampled spans are sampled, and nobody counts them.
        random_ids: whether the ids are the SDK's random ones: valid, and with the random flag.
    """

    token: object
    sampler: Sampler | None
    resource: Resource
    info: InstrumentationInfo | None
    scope: InstrumentationScope | None
    limits: SpanLimits
    processor: SpanProcessor
    id_generator: IdGenerator | None = None
    decisions: tuple[Decision | None, ...] = (None,) * 5
    random_ids: bool = False
    metrics: Any = None
    verdict: VerdictFunction | None = None
    floor: int = -1
    enabled: bool = True
    rules: AttributeRules = field(init=False)
    event_rules: AttributeRules = field(init=False)
    link_rules: AttributeRules = field(init=False)
    # Of the rules, without a step in between: every attribute that is set asks for both.
    plain: frozenset[type] = field(init=False)
    room: float = field(init=False)
    leaves: bool = field(init=False)

    def __post_init__(self) -> None:
        sampled = SHAPE_HOLDS and self.decisions[_OF_SAMPLED] is Decision.RECORD_AND_SAMPLE
        plain = self.enabled and self.random_ids and self.metrics is None
        object.__setattr__(self, "leaves", sampled and plain and type(self.processor) is GuardedProcessors)
        limits = self.limits
        longest = limits.max_attribute_length
        rules = AttributeRules(limits.max_span_attributes, limits.max_span_attribute_length)
        object.__setattr__(self, "rules", rules)
        object.__setattr__(self, "event_rules", AttributeRules(limits.max_event_attributes, longest))
        object.__setattr__(self, "link_rules", AttributeRules(limits.max_link_attributes, longest))
        object.__setattr__(self, "plain", rules.plain)
        object.__setattr__(self, "room", rules.room)
