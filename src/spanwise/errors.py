"""The errors spanwise raises.

Each message names the thing, then the place in brackets, then what to do about it.
"""

from __future__ import annotations

TYPE_CHECKING = False  # the launcher imports this module before it becomes the program
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ConfigurationError",
    "MissingExtraError",
    "SpanwiseError",
    "ThresholdsError",
    "ThresholdsErrors",
]

# More are not read by anybody at once, and an application's log gets them too.
_MOST_SHOWN = 20


class SpanwiseError(Exception):
    """Base class of every error raised by spanwise.

    Args:
        what: what is wrong, naming the thing.
        where: the place: a setting's name, or file, line and column. Empty where there is none.
        fix: what the reader can do about it, as a sentence. Empty where the message says it.
    """

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what = what
        self.where = where
        self.fix = fix
        super().__init__(what, where, fix)

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        advice = f". {self.fix}" if self.fix else ""
        return f"{self.what}{place}{advice}"


class ConfigurationError(SpanwiseError):
    """A setting, an environment variable or a configuration file cannot be used."""


class ThresholdsError(ConfigurationError):
    """The thresholds file cannot be used; ``where`` holds file, line and column."""


class ThresholdsErrors(ThresholdsError):
    """Several things in the thresholds file cannot be used.

    Args:
        problems: what is wrong, two at least; ``what``, ``where`` and ``fix`` are those of the first.
    """

    def __init__(self, problems: Sequence[ThresholdsError]) -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        super().__init__(first.what, where=first.where, fix=first.fix)

    def __str__(self) -> str:
        shown = [f"  {problem}" for problem in self.problems[:_MOST_SHOWN]]
        more = len(self.problems) - len(shown)
        rest = [f"  and {more} more"] if more else []
        return "\n".join([f"{len(self.problems)} things in the thresholds cannot be used:", *shown, *rest])


class MissingExtraError(SpanwiseError):
    """A command needs an optional part that is not installed.

    Args:
        extra: the extra's name, as in ``pip install 'spanwise[extra]'``.
        needed_for: what needs it.
    """

    def __init__(self, extra: str, needed_for: str) -> None:
        super().__init__(f"{needed_for} needs an optional part", fix=f"Run: pip install 'spanwise[{extra}]'")
