"""Exceptions: what holds data of others is redacted, an application's own messages are told in full."""

from __future__ import annotations

import sqlite3

import pytest
import redis
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import PendingRollbackError, StatementError

from spanwise.privacy.described import message_of, type_name
from spanwise.privacy.exceptions import redacted

SECRET = "4111111111111111"


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    """The exception with a stack trace, and what led to it."""
    try:
        try:
            if cause is not None:
                raise cause
        except BaseException as below:
            raise error from below
        raise error
    except BaseException as caught:
        return caught


def statement_error() -> BaseException:
    engine = sa.create_engine("sqlite://")
    try:
        with engine.begin() as connection:
            connection.execute(sa.text("insert into nope values (:card)"), {"card": SECRET})
    except sa.exc.OperationalError as caught:
        return caught
    raise AssertionError


@pytest.mark.parametrize(
    "error",
    [
        ValueError(f"no such card: '{SECRET}'"),
        KeyError(SECRET),
        RuntimeError("a=b; [not SQL]"),
        sa.exc.NoResultFound("No row was found when one was required"),
        redis.ConnectionError("Connection refused."),
        sqlite3.OperationalError("no such table: x"),
    ],
)
def test_what_holds_no_data_of_others_is_told_as_it_is(error: Exception) -> None:
    assert redacted(raised(error)) is None
    assert redacted(raised(error, ValueError("why"))) is None


def test_a_statement_and_its_parameters_are_left_out() -> None:
    found = redacted(statement_error())
    assert found is not None
    assert found.message == "(sqlite3.OperationalError) no such table: nope"
    assert SECRET not in found.stacktrace
    assert "in statement_error\n" in found.stacktrace
    cause, joint, effect = found.stacktrace.partition(
        "\n\nThe above exception was the direct cause of the following exception:\n\n"
    )
    assert joint
    assert cause.endswith("\nsqlite3.OperationalError: no such table: nope")
    assert effect.endswith(
        "\nsqlalchemy.exc.OperationalError: (sqlite3.OperationalError) no such table: nope\n"
    )


class PaymentError(Exception):
    """An application's."""


class Refused(redis.ResponseError):
    """An application's, of a library's."""


def test_a_message_that_repeats_a_known_one_loses_the_same() -> None:
    inner = statement_error()
    found = redacted(raised(PaymentError(f"cannot pay: {inner}"), inner))
    assert found is not None
    assert found.message == "cannot pay: (sqlite3.OperationalError) no such table: nope"
    assert SECRET not in found.stacktrace
    # Where the exception itself is gone, and only its text is left.
    found = redacted(PaymentError(f"cannot pay: {inner}"))
    assert found is not None
    assert found.message == "cannot pay: (sqlite3.OperationalError) no such table: nope"


def test_a_stack_trace_is_redacted_where_only_a_cause_holds_data() -> None:
    error = raised(PaymentError("cannot pay"), redis.ResponseError(f"wrong value '{SECRET}'"))
    found = redacted(error)
    assert found is not None
    assert found.message == "cannot pay"
    assert SECRET not in found.stacktrace
    assert "redis.exceptions.ResponseError: wrong value ?\n" in found.stacktrace
    assert found.stacktrace.count("Traceback (most recent call last):") == 2


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (Refused(f"unknown command '{SECRET}'"), "unknown command ?"),
        (sqlite3.IntegrityError(f"near '{SECRET}'"), "near ?"),
        (StatementError(f"(builtins.ValueError) time '{SECRET}'", "s", {}, ValueError(SECRET)), None),
        (PendingRollbackError(f"Original exception was: x\n[SQL: x]\n[parameters: ('{SECRET}',)]"), None),
        (ValueError(f"http://shop/ok?token={SECRET}"), "http://shop/ok?token=REDACTED"),
    ],
)
def test_a_known_library(error: Exception, message: str | None) -> None:
    for each in (error, raised(error), raised(error, ValueError("why"))):
        found = redacted(each)
        assert found is not None
        assert SECRET not in found.message + found.stacktrace
        assert message in (found.message, None)


def test_the_value_that_could_not_be_converted_is_left_out_of_the_stack_trace() -> None:
    below = ValueError(f"time data '{SECRET}' does not match")
    error = raised(StatementError(f"(builtins.ValueError) {below}", "select", {}, below), below)
    found = redacted(error)
    assert found is not None
    assert SECRET not in found.message + found.stacktrace


@pytest.mark.parametrize(
    ("module", "name", "message", "redacted_message"),
    [
        ("psycopg.errors", "UniqueViolation", f"duplicate\nDETAIL:  Key (a)=({SECRET})", "duplicate"),
        ("pymysql.err", "IntegrityError", f"(1062, \"Duplicate entry '{SECRET}' for key 'a'\")", None),
        ("django.db.utils", "IntegrityError", f"duplicate\nDETAIL:  Key (a)=({SECRET})", "duplicate"),
        ("pymongo.errors", "DuplicateKeyError", f'E11000 dup key: {{ a: "{SECRET}" }}', "E11000 dup key: ?"),
        ("pymemcache.exceptions", "MemcacheIllegalInputError", f"Key is too long: b'{SECRET}'", ""),
    ],
)
def test_libraries_are_known_by_name(module: str, name: str, message: str, redacted_message: str) -> None:
    kind = type(name, (Exception,), {"__module__": module})
    found = redacted(raised(type("Own", (kind,), {})(message)))
    assert found is not None
    assert SECRET not in found.message + found.stacktrace
    assert redacted_message in (found.message, None)


def test_chains_that_never_end_are_looked_through_once() -> None:
    first, second = ValueError("a"), redis.ResponseError(f"'{SECRET}'")
    first.__cause__, second.__cause__ = second, first
    found = redacted(first)
    assert found is not None
    assert (found.message, SECRET in found.stacktrace) == ("a", False)


def test_a_chain_too_long_to_be_looked_through_tells_nothing() -> None:
    error: BaseException = redis.ResponseError(f"unknown command '{SECRET}'")
    for _ in range(150):
        error = raised(PaymentError(f"could not: {error}"), error)
    found = redacted(error)
    assert found is not None
    assert (found.message, found.stacktrace) == ("", "")


def test_members_of_a_group_are_looked_through() -> None:
    class Group(Exception):
        exceptions = (ValueError("a"), redis.ResponseError(f"'{SECRET}'"))

    found = redacted(raised(Group("two failed")))
    assert found is not None
    assert SECRET not in found.message + found.stacktrace


def test_what_cannot_be_read_is_no_failure() -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert redacted(Unprintable()) is None
    assert message_of(Unprintable()) == "<Unprintable whose message cannot be read>"
    assert (message_of(None), type_name(ValueError())) == ("", "ValueError")


@given(
    st.lists(st.sampled_from(["app", "redis", "sqlite", "url"]), min_size=1, max_size=30), st.integers(0, 9)
)
def test_no_link_of_a_chain_tells_its_data(kinds: list[str], seed: int) -> None:
    secret = f"5ecret{seed}value"
    error: BaseException | None = None
    for kind in kinds:
        made = {
            "app": PaymentError(f"could not: {error}"),
            "redis": redis.ResponseError(f"unknown command '{secret}'"),
            "sqlite": sqlite3.IntegrityError(f"near '{secret}'"),
            "url": ValueError(f"for /ok?token={secret}"),
        }[kind]
        error = raised(made, error)
    assert error is not None
    found = redacted(error)
    if found is None:
        assert set(kinds) == {"app"}
    else:
        assert secret not in found.message + found.stacktrace
