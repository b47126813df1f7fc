"""The errors spanwise raises.

Each message names the thing, then the place in brackets, then what to do about it.
"""

from __future__ import annotations

__all__ = ["ConfigurationError", "MissingExtraError", "SpanwiseError", "ThresholdsError"]


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


class MissingExtraError(SpanwiseError):
    """A command needs an optional part that is not installed.

    Args:
        extra: the extra's name, as in ``pip install 'spanwise[extra]'``.
        needed_for: what needs it.
    """

    def __init__(self, extra: str, needed_for: str) -> None:
        super().__init__(f"{needed_for} needs an optional part", fix=f"Run: pip install 'spanwise[{extra}]'")
