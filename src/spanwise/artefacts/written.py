"""A tree of plain values as YAML text, the same text each time."""

from __future__ import annotations

from typing import Any

import yaml

__all__ = ["as_yaml"]


class _Dumper(yaml.SafeDumper):
    """Writes each value out, also one that stands in two places: anchors are hard to read."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def as_yaml(tree: Any) -> str:
    """The text. Keys stay in their order; what could be read as another type than text is quoted."""
    text: str = yaml.dump(tree, Dumper=_Dumper, sort_keys=False, width=1_000_000)
    return text
