"""Takes our functions out of an application's tracebacks, and out of the counting of stack levels.

Exceptions and warnings look as they would without us.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import CodeType, FunctionType
from typing import Final, TypeVar

__all__ = ["passed_over", "unseen"]

T = TypeVar("T")

# Warnings, and from Python 3.11 on logging, pass over the frames of files that have both words in their name
# when they count to a `stacklevel`: the import system's own. There is no other way of being passed over.
_MARK: Final = " (passed over, as importlib._bootstrap is)"
_HERE: Final = str(Path(__file__).parent)


def unseen(error: BaseException) -> None:
    """Removes the calling function from the traceback of the exception that it has caught.

    To be followed by a bare ``raise``, which from Python 3.11 on goes by the exception's own traceback and
    adds no entry. On 3.10 a bare ``raise`` brings back the traceback as it was caught: one entry of ours
    stays for the outermost call, and those below it are taken out.

    Args:
        error: what the calling function's ``except`` caught.
    """
    trace = error.__traceback__
    if trace is None:
        return
    if sys.version_info >= (3, 11):
        # The method, not the attribute: a frozen dataclass lets nobody set attributes.
        error.with_traceback(trace.tb_next)
        return
    while trace.tb_next is not None:
        if trace.tb_next.tb_frame.f_code.co_filename.startswith(_HERE):
            trace.tb_next = trace.tb_next.tb_next
        else:
            trace = trace.tb_next


def passed_over(thing: T) -> T:
    """A function, or a class's methods, whose frames no ``stacklevel`` counts; those defined in it too.

    For what stands between the application's code and the code that it calls: a warning names the same line
    as without us.
    """
    for function in list(vars(thing).values()) if isinstance(thing, type) else [thing]:
        if isinstance(function, FunctionType):
            function.__code__ = _marked(function.__code__)
    return thing


def _marked(code: CodeType) -> CodeType:
    inner = tuple(_marked(each) if isinstance(each, CodeType) else each for each in code.co_consts)
    return code.replace(co_filename=code.co_filename + _MARK, co_consts=inner)
