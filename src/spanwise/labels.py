"""An attribute's value as a label has it, for whatever compares the two. Imports next to nothing."""

from __future__ import annotations

import math

__all__ = ["label_text"]


def label_text(value: object) -> str:
    """A value as the Collector writes it into a label.

    Args:
        value: an attribute's; None where there is none, since to Prometheus an empty label is none.

    Returns:
        Its text. Numbers are as in ECMAScript: 1.0 is ``1``.
    """
    if value.__class__ is str:
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return _number(value) if isinstance(value, float) else str(value)


def _number(value: float) -> str:
    # As pcommon.Value.AsString of the Collector does it.
    if not math.isfinite(value):
        return f"json: unsupported value: {'NaN' if math.isnan(value) else '+Inf' if value > 0 else '-Inf'}"
    if value and not 1e-6 <= abs(value) < 1e21:
        return repr(float(value)).replace("e-0", "e-")
    from decimal import Decimal  # such labels are rare, and every start would pay

    return format(Decimal(repr(float(value))), "f").removesuffix(".0")
