"""Where something was made, and by what name the application knows it.

A cache has no name. The variable that holds it is the best one: stable from release to release, and few. So
a cache is called ``shop.views.tracks`` if it is a module's variable, ``shop.Catalogue`` if that class's
``__init__`` made it, else after its module. There is no line number in a name, since each edit changes it.
"""

from __future__ import annotations

import sys
from types import CodeType
from typing import Any, Final, NamedTuple

__all__ = ["Place", "place_of"]

_DEEPEST: Final = 12  # frames looked at: a library's own few, then the application's


class Place(NamedTuple):
    """A line of the application's.

    Attributes:
        module: its name.
        function: qualified; empty at a module's top.
        line: number; tells apart, and is in no name.
    """

    module: str
    function: str
    line: int

    def name(self, made: Any = None) -> str:
        """What the application calls it.

        Args:
            made: what was made here, for its module may hold it in a variable; None where it is gone.
        """
        if made is not None:
            variables = getattr(sys.modules.get(self.module), "__dict__", None) or {}
            for variable, value in list(variables.items()):
                if value is made:
                    return f"{self.module}.{variable}"
        return f"{self.module}.{self.function}" if self.function else self.module


def place_of(library: str, made: Any) -> Place | None:
    """The innermost caller that is neither of the library nor a constructor of a subclass's.

    Args:
        library: its top module.
        made: the object under construction.
    """
    frame = sys._getframe(1)
    for _ in range(_DEEPEST):
        if frame.f_back is None:
            return None
        frame = frame.f_back
        module = frame.f_globals.get("__name__", "")
        if module.partition(".")[0] in (library, "spanwise") or _constructs(frame, made):
            continue
        return Place(module, _function(frame.f_code), frame.f_lineno)
    return None


def _constructs(frame: Any, made: Any) -> bool:
    # By its code. A frame's locals would name the object, but asking for them keeps what the function has
    # dropped alive until it returns (before Python 3.13), and costs ten times as much.
    code = frame.f_code
    if code.co_name != "__init__":
        return False
    return any(getattr(vars(kind).get("__init__"), "__code__", None) is code for kind in type(made).__mro__)


def _function(code: CodeType) -> str:
    # The qualified name is there since Python 3.11. A class's body goes by the class's name.
    name: str = getattr(code, "co_qualname", code.co_name)
    return "" if name == "<module>" else name.removesuffix("__init__").removesuffix(".")
