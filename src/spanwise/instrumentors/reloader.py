"""Tells when this process becomes the one that only restarts the application: werkzeug's reloader.

It loads the application itself before it starts the child that serves, so that what the application
does at import would be reported twice, as by two instances.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wrapt import register_post_import_hook, wrap_function_wrapper

__all__ = ["when_supervising"]

_MODULE = "werkzeug.serving"


def when_supervising(stand_by: Callable[[], None]) -> None:
    """Has ``stand_by`` called when a development server with its reloader on starts its child.

    Args:
        stand_by: called once, in the parent, before the child is started. Must not raise.
    """

    def run_simple(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        reloads = kwargs.get("use_reloader", args[3] if len(args) > 3 else False)
        if reloads and not is_child():
            stand_by()
        return wrapped(*args, **kwargs)

    def is_child() -> bool:
        from werkzeug.serving import is_running_from_reloader

        return is_running_from_reloader()

    def attach(_module: Any) -> None:
        wrap_function_wrapper(_MODULE, "run_simple", run_simple)

    register_post_import_hook(attach, _MODULE)
