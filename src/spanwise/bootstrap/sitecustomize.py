"""Python imports this at start-up when ``spanwise run`` has put its folder on PYTHONPATH.

Not a package: the folder is on the path for this one module.
"""

import _signal  # type: ignore[import-not-found]  # not `signal`, which takes 2 ms: this one is loaded already
import os
import sys

# What the site module runs must not be interrupted by an exception: Python would end with "Fatal Python
# error" and status 1. As long as we are at work Ctrl-C ends the process by the signal, which is how it ends
# a program of Python.
_interruptible = _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler
if _interruptible:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

_HERE = os.path.dirname(os.path.abspath(__file__))


def _is_ours(entry: str) -> bool:
    try:
        return os.path.abspath(entry or os.curdir) == _HERE
    except (OSError, TypeError):  # the working folder is gone; anything may be on the path
        return False


def _run_the_users() -> None:
    """Runs the sitecustomize that would have run without us (Debian has one, some images too)."""
    # By an ordinary import: `importlib.util` would take 3 ms.
    ours = sys.modules.pop("sitecustomize")
    sys.path[:] = [entry for entry in sys.path if not _is_ours(entry)]
    try:
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
        sys.modules["sitecustomize"] = ours
    finally:
        sys.path.insert(0, _HERE)


try:
    from spanwise import configure
except Exception as error:  # another interpreter than the one spanwise is installed in
    print(f"spanwise: no telemetry from {sys.executable}: {error}", file=sys.stderr)
else:
    configure()
finally:
    if _interruptible and _signal.getsignal(_signal.SIGINT) == _signal.SIG_DFL:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)
_run_the_users()
