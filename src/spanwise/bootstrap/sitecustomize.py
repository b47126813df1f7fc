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


def _run_the_users() -> None:
    """Runs the sitecustomize that would have run without us (Debian has one, some images too)."""
    others = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != _HERE]
    # importlib.machinery's, without its import.
    finders = [each for each in sys.meta_path if getattr(each, "__name__", "") == "PathFinder"]
    spec = finders[0].find_spec("sitecustomize", others) if finders else None
    if spec is not None and spec.loader is not None:
        import importlib.util  # not above: 3 ms, and most have no other

        module = importlib.util.module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


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
