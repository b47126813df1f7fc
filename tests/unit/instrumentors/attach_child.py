"""Run by test_load in a process of its own: attaches one instrumentor at the import of its library.

Usage: attach_child.py NAME TRIGGER        prints whether it is attached in the end
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import resolve_name

from spanwise.instrumentors.load import load
from spanwise.instrumentors.table import INSTRUMENTORS
from spanwise.settings import Settings

name, trigger = sys.argv[1:]
outcomes = {outcome.name: outcome.state for outcome in load(Settings(enabled_instrumentations=(name,)))}
early = trigger in sys.modules
assert outcomes[name] == ("instrumented" if early else "waiting"), outcomes[name]
import_module(trigger)
(entry,) = (entry for entry in entry_points(group="opentelemetry_instrumentor") if entry.name == name)
print(resolve_name(INSTRUMENTORS.get(name, entry.value))().is_instrumented_by_opentelemetry)
