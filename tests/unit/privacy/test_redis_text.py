"""Redis commands and messages: what is exported names no key and no value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spanwise.privacy.redis import TEXT_LIMIT, describe, redact_message


@pytest.mark.parametrize(
    ("command", "arguments", "name", "text"),
    [
        ("GET", 1, "GET", "GET ?"),
        ("get", 1, "get", "get ?"),
        (b"SET", 2, "SET", "SET ? ?"),
        (bytearray(b"SET"), 2, "SET", "SET ? ?"),
        ("PING", 0, "PING", "PING"),
        ("CONFIG GET", 1, "CONFIG GET", "CONFIG GET ?"),
        ("CONFIG", 2, "CONFIG", "CONFIG ? ?"),
        ("SET key secret", 0, "SET", "SET ? ?"),
        ("CONFIG SET requirepass secret", 0, "CONFIG SET", "CONFIG SET ? ?"),
        ("FT.SEARCH", 2, "FT.SEARCH", "FT.SEARCH ? ?"),
        ("", 0, "", "?"),
        ("  ", 1, "", "? ?"),
        ("s3cret-Ünicode", 1, "", "? ?"),
        ("CONFIG 'x'", 0, "CONFIG", "CONFIG ?"),
        (b"\xff\xfe", 0, "", "?"),
        (None, 1, "", "? ?"),
        (7, 0, "", "?"),
    ],
)
def test_a_command(command: object, arguments: int, name: str, text: str) -> None:
    found = describe(command, arguments)
    assert (found.name, found.text) == (name, text)


@pytest.mark.parametrize(
    "name",
    [
        *("ACL SETUSER", "CLIENT KILL", "CLUSTER SETSLOT", "COMMAND INFO", "CONFIG SET", "DEBUG OBJECT"),
        *("FUNCTION DELETE", "FUNCTION LOAD", "FUNCTION RESTORE", "LATENCY GRAPH", "MEMORY USAGE"),
        *("MODULE LOAD", "OBJECT ENCODING", "PUBSUB NUMSUB", "SCRIPT EXISTS", "SENTINEL MASTER"),
        *("SLOWLOG GET", "XGROUP CREATE", "XINFO STREAM"),
    ],
)
def test_a_subcommand_belongs_to_the_name(name: str) -> None:
    """Those that take arguments, of each container in Redis' list of commands."""
    for written in (name, name.lower(), name.encode()):
        found = describe(written, 2)
        assert found.text == f"{found.name} ? ?"
        assert found.name.upper() == name


def test_a_long_command_is_cut() -> None:
    assert describe("MSET", 5).text == "MSET ? ? ? ? ?"
    cut = describe("MSET", 1_000_000).text
    assert len(cut) == TEXT_LIMIT
    assert cut.endswith("? ...")


WORD = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz0123456789'\"` ()"), min_size=1)


@given(
    st.sampled_from(["SET", "GET", "CONFIG", "HSET"]), st.lists(st.uuids().map(str), min_size=1, max_size=4)
)
def test_no_argument_is_in_the_text(command: str, arguments: list[str]) -> None:
    found = describe(" ".join([command, *arguments]), 0)
    # A name may follow CONFIG, and a UUID may look like one.
    told = found.text if command != "CONFIG" else found.text.partition(" ")[2].partition(" ")[2]
    assert not any(argument in told for argument in arguments)


@pytest.mark.parametrize(
    ("message", "redacted"),
    [
        (
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "WRONGTYPE Operation against a key holding the wrong kind of value",
        ),
        ("unknown command 'GETT', with args beginning with: 'a' 'b' ", "unknown command ?"),
        ("unknown command `GETT`, with args beginning with: `it's`, ", "unknown command ?"),
        (
            "Unknown subcommand or wrong number of arguments for 'a secret'. Try CONFIG HELP.",
            "Unknown subcommand ?",
        ),
        ("wrong number of arguments for 'get' command", "wrong number of arguments for ? command"),
        (
            "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to.",
            "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to.",
        ),
        (
            "Command # 2 (SET k ) of pipeline caused error: v) of pipeline caused error: WRONGTYPE Operation",
            "Command # 2 of pipeline caused error: WRONGTYPE Operation",
        ),
        (
            "Command # 1 (EVALSHA abc 0) of pipeline caused error: OOPS my secret",
            "Command # 1 of pipeline caused error: ?",
        ),
        (
            "Error 111 connecting to redis:6379. Connection refused.",
            "Error 111 connecting to redis:6379. Connection refused.",
        ),
        ("invalid literal for int() with base 10: 'secret'", "invalid literal for int() with base 10: ?"),
        ("", ""),
        # RediSearch and RedisJSON tell of a query's words without quotes.
        ("Syntax error at offset 5 near secretword", "Syntax error at offset 5 near ?"),
        ("SEARCH_SYNTAX Syntax error at offset 5 near it's", "SEARCH_SYNTAX Syntax error at offset 5 near ?"),
        ("Unknown argument `secret` at position 3", "Unknown argument ?"),
        ("Invalid JSON: expected value at column 2: secret", "Invalid JSON: ?"),
        ("No such field secret", "No such field ?"),
        ("Invalid geo filter: secret", "Invalid geo filter: ?"),
        ("invalid password: it's secret", "invalid password: ?"),
        ("Could not parse value secret", "Could not parse value ?"),
        ("Property `secret` not loaded", "Property ? not loaded"),
        ("Bad number 4111111111111111", "Bad number ?"),
        # A script's message is the application's own text.
        ("my secret script: " + "0f" * 20 + ", on @user_script:1.", "?"),
        ("Error running script (call to f_" + "0f" * 20 + "): @user_script:1: my secret", "?"),
        # These stay: they tell of no data.
        ("no such key", "no such key"),
        ("MOVED 3999 127.0.0.1:6381", "MOVED 3999 127.0.0.1:6381"),
        (
            "Error 1 connecting to redis:6379. [SSL: CERTIFICATE_VERIFY_FAILED] certificate has expired",
            "Error 1 connecting to redis:6379. [SSL: CERTIFICATE_VERIFY_FAILED] certificate has expired",
        ),
    ],
)
def test_a_message(message: str, redacted: str) -> None:
    assert redact_message(message) == redacted


@given(WORD)
def test_what_redis_quotes_is_left_out(value: str) -> None:
    secret = f"<{value}>"
    for message in (
        f"unknown command '{secret}', with args beginning with: '{secret}' ",
        f"Command # 1 (SET {secret} {secret}) of pipeline caused error: value is not an integer",
        f"could not convert string to float: '{secret}'",
    ):
        assert secret not in redact_message(message)
