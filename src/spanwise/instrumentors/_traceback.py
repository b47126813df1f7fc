"""Takes our functions out of an application's tracebacks: an exception looks as it would without us."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

__all__ = ["unseen"]

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
