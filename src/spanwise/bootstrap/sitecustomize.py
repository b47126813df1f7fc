"""Python imports this at start-up when ``spanwise run`` has put its folder on PYTHONPATH.

Not a package: the folder is on the path for this one module.
"""

import importlib.machinery
import importlib.util
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))


def _run_the_users() -> None:
    """Runs the sitecustomize that would have run without us (Debian has one, some images too)."""
    others = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != _HERE]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


try:
    from spanwise import configure
except Exception as error:  # another interpreter than the one spanwise is installed in
    print(f"spanwise: no telemetry from {sys.executable}: {error}", file=sys.stderr)
else:
    configure()
_run_the_users()
