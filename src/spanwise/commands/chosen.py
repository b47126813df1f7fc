"""Which thresholds a command works by: those that the process rates by, unless its options say others."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from spanwise import sources

__all__ = ["PROFILE_HELP", "THRESHOLDS_HELP", "chosen"]

THRESHOLDS_HELP: Final = (
    "The thresholds file; else that of SPANWISE_THRESHOLDS, ./thresholds.yaml or the shipped defaults."
)
PROFILE_HELP: Final = "A profile, over SPANWISE_PROFILE and the file's own."


def chosen(file: Path | None, profile: str | None) -> tuple[Path | None, str | None]:
    """The file and the profile that hold.

    Args:
        file: the option's; None where it was not given.
        profile: the option's; None where it was not given.

    Returns:
        the file, None for the shipped defaults alone; the profile, None for what the file says.
    """
    settings = sources.load()
    return file or sources.thresholds_file(settings), profile or settings.profile
