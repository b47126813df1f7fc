"""The one way to log: the application's handlers, filters and formatters may do what they like."""

from __future__ import annotations

import ast
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spanwise import log
from spanwise.errors import ThresholdsError, ThresholdsErrors
from spanwise.log import LONGEST, Log
from spanwise.threads import started

SOURCE = Path(log.__file__).parent
NAME = "spanwise.tested"


class Raising(logging.Handler):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    def handle(self, record: logging.LogRecord) -> bool:
        raise self._error

    def format(self, record: logging.LogRecord) -> str:
        raise self._error


@pytest.fixture
def logger(monkeypatch: pytest.MonkeyPatch) -> Iterator[logging.Logger]:
    monkeypatch.setattr(log, "_handler_failed", False)
    logger = logging.getLogger(NAME)
    handlers, filters = logger.handlers[:], logger.filters[:]
    yield logger
    logger.handlers[:], logger.filters[:] = handlers, filters


def _raise(error: BaseException) -> Callable[..., bool]:
    def raising(*_: object) -> bool:
        raise error

    return raising


@pytest.mark.parametrize("place", ["handler", "filter", "factory"])
def test_what_the_applications_logging_raises_reaches_nobody(
    place: str, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    error = RuntimeError("Working outside of request context")
    before = logging.getLogRecordFactory()
    if place == "handler":
        logger.addHandler(Raising(error))
    elif place == "filter":
        logger.addFilter(_raise(error))
    else:
        logging.setLogRecordFactory(_raise(error))  # type: ignore[arg-type]
    try:
        Log(NAME).warning("%d spans wait", 3)
        Log(NAME).warning("%d spans wait", 4)
    finally:
        logging.setLogRecordFactory(before)
    told = capsys.readouterr().err
    assert "spanwise: 3 spans wait\n" in told
    assert "spanwise: 4 spans wait\n" in told
    assert told.count("Working outside of request context") == 1


def test_what_ends_a_process_ends_no_thread_of_ours(logger: logging.Logger) -> None:
    logger.addHandler(Raising(SystemExit(3)))
    with pytest.raises(SystemExit):
        Log(NAME).warning("on a thread of the application's")
    went_on = threading.Event()

    def work() -> None:
        Log(NAME).warning("on a thread of ours")
        went_on.set()

    thread = started(work, "spanwise-tested")
    assert thread is not None
    thread.join()
    assert went_on.is_set()


def test_foreign_text_is_one_bounded_line(caplog: pytest.LogCaptureFixture) -> None:
    Log(NAME).warning("server said: %s", "no\n\x1b[31mCRITICAL forged\n" + "m" * 50_000)
    (message,) = caplog.messages
    assert "\n" not in message
    assert "\x1b" not in message
    assert len(message) < LONGEST + 200
    assert "more characters" in message


def test_values_that_cannot_be_shown_have_a_placeholder(caplog: pytest.LogCaptureFixture) -> None:
    class Hostile:
        def __str__(self) -> str:
            raise ValueError

        __repr__ = __str__

    Log(NAME).warning("%s and %r of %d", Hostile(), Hostile(), 7)
    assert caplog.messages == ["<Hostile that cannot be shown> and <Hostile that cannot be shown> of 7"]


def test_an_exception_keeps_its_own_repr(caplog: pytest.LogCaptureFixture) -> None:
    Log(NAME).warning("failed: %r", KeyError("x"))
    assert caplog.messages == ["failed: KeyError('x')"]


def test_several_problems_keep_their_lines(caplog: pytest.LogCaptureFixture) -> None:
    Log(NAME).error("no: %s", ThresholdsErrors([ThresholdsError("a", where="f:1"), ThresholdsError("b")]))
    assert caplog.messages[0].count("\n") == 2


def test_the_line_is_that_of_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    for tell in (Log(NAME).warning, Log(NAME).error, Log(NAME).exception, Log(NAME).seldom):
        tell("here")
    Log(NAME).log(log.WARNING, "here")
    assert {record.filename for record in caplog.records} == {Path(__file__).name}


def test_seldom_is_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    logged = Log(NAME, lambda: now[0])
    for _ in range(1_000):
        logged.seldom("span %s is lost", "x")
    now[0] = 61.0
    logged.seldom("span %s is lost", "y")
    assert caplog.messages == ["span x is lost", "span y is lost [999 more since the last such line]"]


def test_texts_made_of_data_fill_neither_memory_nor_log(caplog: pytest.LogCaptureFixture) -> None:
    logged = Log(NAME)
    for number in range(1_000):
        logged.seldom(f"text {number}")
    assert len(caplog.messages) == 200


def test_nobody_logs_in_another_way() -> None:
    # Where the application's own logging is instrumented, and where ours is made known by a handler.
    allowed = {SOURCE / name for name in ("log.py", "notices.py")}
    allowed |= {SOURCE / "instrumentors" / name for name in ("logging.py", "_first_record.py")}
    found = [
        str(file.relative_to(SOURCE))
        for file in sorted(SOURCE.rglob("*.py"))
        if file not in allowed
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if (isinstance(node, ast.Import) and any(alias.name == "logging" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and node.module == "logging")
    ]
    assert found == []
