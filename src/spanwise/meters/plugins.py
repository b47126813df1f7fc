"""What is measured of plugins: each one's part of hook calls, its loading and its memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.metrics import Meter
from opentelemetry.util.types import AttributeValue

from spanwise import names
from spanwise.instruments import make

__all__ = ["PluginMeters", "labels_of", "plugin_name"]

_LONGEST_NAME: Final = 128


class PluginMeters:
    """The instruments.

    Args:
        meter: makes them.

    Attributes:
        calls: seconds of one plugin's part of a hook call; its count is calls, with ``error.type`` errors.
        loads: seconds of importing and registering a plugin.
    """

    def __init__(self, meter: Meter) -> None:
        self.calls = make(meter, names.PLUGIN_CALL_DURATION)
        self.loads = make(meter, names.PLUGIN_LOAD_DURATION)
        self._memory = make(meter, names.PLUGIN_MEMORY)

    def grown(self, amount: int, labels: Mapping[str, AttributeValue]) -> None:
        """Records by how many bytes loading a plugin made the process grow; what shrank counts as 0."""
        self._memory.set(max(0, amount), labels)


def plugin_name(name: object, plugin: object) -> str:
    """A plugin's name of low cardinality.

    Args:
        name: the one it is registered under. pluggy makes one of an object's address where the object has no
            ``__name__``: then its class tells more, and is the same in every process.
        plugin: the plugin.
    """
    text = str(name)
    if text.isdigit():
        kind = type(plugin)
        text = f"{kind.__module__}.{kind.__qualname__}"
    return text[:_LONGEST_NAME]


def labels_of(project: Any, name: str) -> dict[str, AttributeValue]:
    """The labels that tell plugins apart."""
    return {names.PLUGIN_PROJECT: str(project)[:_LONGEST_NAME], names.PLUGIN_NAME: name}
