"""An attribute's name as Prometheus has it: for what makes selectors, and for what refuses them."""

from __future__ import annotations

import re

__all__ = ["label"]


def label(key: str) -> str:
    """An attribute's name as a label."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", key)
    return f"key_{name}" if name[:1].isdigit() else name
