"""What the statistics need of the history. Every start needs it, and few need the statistics' classes."""

from __future__ import annotations

from spanwise import names
from spanwise.meters.history import Watch

__all__ = ["CONTROLLERS", "MEMORY", "PRELOADED", "PRELOADS", "PRELOAD_TIMES", "REQUESTS", "STATES", "WATCHED"]

MEMORY: Watch = (names.PROCESS_MEMORY_USAGE.name, ())
REQUESTS: Watch = (names.HTTP_SERVER_REQUEST_DURATION.name, ())
CONTROLLERS: Watch = (names.CONTROLLER_ACTIVE.name, ())
STATES: Watch = (names.CONTROLLER_COUNT.name, ())
PRELOADS: Watch = (names.PRELOAD_EVENTS.name, ())
PRELOADED: Watch = (names.PRELOAD_EVENTS.name, ((names.PRELOAD_OUTCOME, "success"),))
PRELOAD_TIMES: Watch = (names.PRELOAD_DURATION.name, ())

WATCHED: tuple[Watch, ...] = (
    MEMORY,
    REQUESTS,
    CONTROLLERS,
    STATES,
    PRELOADS,
    PRELOADED,
    PRELOAD_TIMES,
)
"""What a history must watch for the statistics to be whole."""
