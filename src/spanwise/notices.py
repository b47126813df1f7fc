"""Who speaks: our warnings name us where the application has no logging of its own."""

from __future__ import annotations

import logging
import sys

__all__ = ["speak"]

_LOGGER = "spanwise"


def speak() -> None:
    """Has our warnings begin with ``spanwise:`` where nobody but Python's last resort would print them."""
    logger = logging.getLogger(_LOGGER)
    if not any(isinstance(each, _LastResort) for each in logger.handlers):
        logger.addHandler(_LastResort())


class _LastResort(logging.Handler):
    """Python's handler of last resort prints the bare message: nobody could tell whose it is.

    As that one, it prints warnings and worse, and nothing as soon as there is any other handler.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.setFormatter(logging.Formatter("spanwise: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None:
            if any(handler is not self for handler in logger.handlers):
                return
            logger = logger.parent if logger.propagate else None
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except Exception:
            self.handleError(record)
