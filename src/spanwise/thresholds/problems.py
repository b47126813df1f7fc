"""Mistakes in a file, gathered: a reader is told of all of them at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from spanwise.errors import ThresholdsError, ThresholdsErrors

__all__ = ["Problems"]


class Problems:
    """What was wrong so far.

    Attributes:
        found: the errors, in the order of their finding.
    """

    def __init__(self) -> None:
        self.found: list[ThresholdsError] = []

    @contextmanager
    def noted(self) -> Iterator[None]:
        """What is raised within is noted, and the rest of the block left out."""
        try:
            yield
        except ThresholdsErrors as several:
            for error in several.problems:
                self.note(error)
        except ThresholdsError as error:
            self.note(error)

    def note(self, error: ThresholdsError) -> None:
        """Notes an error once: a profile is read by itself, and again when it is chosen."""
        if str(error) not in map(str, self.found):
            self.found.append(error)

    def settle(self) -> None:
        """Raises what was noted: the error itself where there is one, ThresholdsErrors for several."""
        if len(self.found) == 1:
            raise self.found[0]
        if self.found:
            raise ThresholdsErrors(sorted(self.found, key=_order))


def _order(error: ThresholdsError) -> tuple[str, list[int]]:
    """A file's mistakes from top to bottom."""
    file, *numbers = error.where.split(":")
    return file, [int(each) for each in numbers if each.isdigit()]
