"""Tells when this process becomes the one that only restarts the application: werkzeug's reloader.

It loads the application itself before it starts the child that serves, so that what the application
does at import would be reported twice, as by two instances.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from spanwise.instrumentors._imports import when_imported

__all__ = ["when_supervising"]

_MODULE = "werkzeug.serving"


def when_supervising(stand_by: Callable[[], None]) -> None:
    """Has ``stand_by`` called when a development server with its reloader on starts its child.

    Args:
        stand_by: called once, in the parent, before the child is started. Must not raise.
    """

    def attach(serving: Any) -> None:
        original = serving.run_simple

        @functools.wraps(original)
        def run_simple(*args: Any, **kwargs: Any) -> Any:
            reloads = kwargs.get("use_reloader", args[3] if len(args) > 3 else False)
            if reloads and not serving.is_running_from_reloader():
                stand_by()
            return original(*args, **kwargs)

        serving.run_simple = run_simple

    when_imported(_MODULE, attach)
