"""The provider's list of processors, in which one that raises harms only itself."""

from __future__ import annotations

from time import monotonic

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, SynchronousMultiSpanProcessor
from opentelemetry.sdk.trace import Span as SdkSpan

from spanwise.spans.arguments import seconds
from spanwise.spans.faults import failed

__all__ = ["GuardedProcessors"]


class GuardedProcessors(SynchronousMultiSpanProcessor):
    """Calls the processors one after another, as the SDK's class does, each on its own account.

    What a processor raises is logged once and counts as its own failure: the next one is still called.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._looked_at: tuple[SpanProcessor, ...] = ()
        # Those that do something there: most processors only wait for the end.
        self._starting: tuple[SpanProcessor, ...] = ()
        self._ending: tuple[SpanProcessor, ...] = ()
        # The list in which nobody has anything to do when a span starts; None where somebody has. A tracer
        # compares it with the list there is, and makes no call at all.
        self.nobody_starts: tuple[SpanProcessor, ...] | None = ()
        # The list of which each takes leaves (`spans.leaf`); None where one does not.
        self.leafy: tuple[SpanProcessor, ...] | None = None

    def _look(self) -> None:
        # By identity of the list, not when one is added: there are programs that replace the list.
        processors = self._span_processors
        self._starting = tuple(each for each in processors if _does(each, "on_start"))
        self._ending = tuple(each for each in processors if _does(each, "_on_ending"))
        self._looked_at = processors
        self.nobody_starts = None if self._starting else processors
        busy = self._starting or self._ending or not processors
        self.leafy = None if busy or not all(map(_takes_leaves, processors)) else processors

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
        if self._looked_at is not self._span_processors:
            self._look()
        for processor in self._starting:
            try:
                processor.on_start(span, parent_context=parent_context)
            except Exception as error:
                failed("on_start", processor, error)

    def _on_ending(self, span: SdkSpan) -> None:
        if self._looked_at is not self._span_processors:
            self._look()
        for processor in self._ending:
            try:
                processor._on_ending(span)
            except Exception as error:
                failed("on_ending", processor, error)

    def on_end(self, span: ReadableSpan) -> None:
        for processor in self._span_processors:
            try:
                processor.on_end(span)
            except Exception as error:
                failed("on_end", processor, error)

    def finish(self, span: SdkSpan) -> None:
        """Both calls of a span's end, in one step where no processor cares for the first."""
        if self._ending or self._looked_at is not self._span_processors:
            self._on_ending(span)
        for processor in self._span_processors:
            try:
                on_end = processor.on_end  # through a variable: quicker where the instance holds it
                on_end(span)
            except Exception as error:
                failed("on_end", processor, error)

    def shutdown(self) -> None:
        for processor in self._span_processors:
            try:
                processor.shutdown()
            except Exception as error:
                failed("shutdown", processor, error)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flushes the processors one after another within one time limit.

        Args:
            timeout_millis: milliseconds for all of them together.

        Returns:
            False if the time ran out or a processor failed or said so.
        """
        deadline = monotonic() + seconds(timeout_millis)
        flushed = True
        for processor in self._span_processors:
            left = deadline - monotonic()
            if left <= 0:
                return False
            try:
                if processor.force_flush(int(left * 1000)) is False:
                    flushed = False
            except Exception as error:
                failed("force_flush", processor, error)
                flushed = False
        return flushed


def _takes_leaves(processor: SpanProcessor) -> bool:
    """Whether one class of it says what becomes of a span and of a leaf.

    One that wraps another, or that overrides what becomes of a span, wants to see them all.
    """
    of_spans, of_leaves = (
        next((each for each in type(processor).__mro__ if name in vars(each)), None)
        for name in ("on_end", "on_leaf")
    )
    return of_leaves is not None and of_leaves is of_spans


def _does(processor: SpanProcessor, method: str) -> bool:
    """Whether a processor has a method of its own instead of the SDK's empty one."""
    try:
        own = getattr(getattr(processor, method, None), "__func__", None)
    except Exception:
        return True  # what it raises is told where it is called
    return own is not getattr(SpanProcessor, method)
