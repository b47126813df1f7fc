"""The memo: what enters it, what bounds it, what it keeps apart."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from spanwise.encode import memo as memo_module
from spanwise.encode.attributes import any_value
from spanwise.encode.memo import MARKS, MAX_INSERTIONS, Memo, Texts
from spanwise.encode.memo_values import MAX_TEXT, MAX_VALUES, TextValues
from spanwise.encode.pairs import key_field, pair


@pytest.fixture
def memo() -> Memo:
    return Memo(any_value)


def encode(memo: Memo, key: str, value: Any) -> bytes:
    encoded: bytes = memo.kinds[type(value)][key][value]
    return encoded


def read(encoded: bytes) -> KeyValue:
    # Every pair here is shorter than 128 bytes: one byte of length.
    assert encoded[0] == len(encoded) - 1
    return KeyValue.FromString(encoded[1:])


def test_a_value_met_once_is_not_kept(memo: Memo) -> None:
    encode(memo, "k", "known")
    encode(memo, "k", "known")
    before = len(memo)
    for number in range(10_000):
        encode(memo, "k", f"id-{number}")
    assert len(memo) <= before


@pytest.mark.parametrize(
    ("new", "odd"),
    [
        (lambda number: f"id-{number:06}", ["", "\ud800", "x" * 40, "ü", "y" * (MAX_TEXT - 180)]),
        (lambda number: 20_000 + number, [0, 1, 127, 128, 16383, 16384, 65535, 65536, -1, 1 << 40]),
    ],
)
def test_a_key_whose_values_never_come_again_is_encoded_as_any_other(
    new: Callable[[int], Any], odd: list[Any], memo: Memo
) -> None:
    for number in range(500):
        for value in (new(number), *(odd if number % 50 == 49 else ())):
            expected = pair(key_field("k"), any_value(value))
            assert encode(memo, "k", value) == expected
    assert len(memo) <= 3, "the key, and no more than a value or two"


def test_values_that_do_come_again_after_all_are_kept_again(memo: Memo) -> None:
    for number in range(500):
        encode(memo, "k", f"id-{number}")
    for _ in range(200):
        last = encode(memo, "k", "GET")
    assert encode(memo, "k", "GET") is last


def test_a_value_met_again_is_kept_and_the_same(memo: Memo) -> None:
    first, second, third, fourth = (encode(memo, "k", "GET") for _ in range(4))
    assert first == second == third == fourth
    # The key is kept at its second meeting, so the value is at its third at the latest.
    assert third is fourth
    assert read(fourth).value.string_value == "GET"


def test_unique_values_do_not_push_out_what_is_hot(memo: Memo) -> None:
    for _ in range(3):
        encode(memo, "method", "GET")
    hot = encode(memo, "method", "GET")
    for number in range(3 * MAX_INSERTIONS):
        encode(memo, "user", f"user-{number}")
        encode(memo, "rows", number)
    assert encode(memo, "method", "GET") is hot


def test_equal_values_of_different_types_stay_apart(memo: Memo) -> None:
    for _ in range(4):
        assert read(encode(memo, "k", True)).value.WhichOneof("value") == "bool_value"
        assert read(encode(memo, "k", 1)).value.WhichOneof("value") == "int_value"
        assert read(encode(memo, "k", 1.0)).value.WhichOneof("value") == "double_value"
        assert read(encode(memo, "k", False)).value.WhichOneof("value") == "bool_value"
        assert read(encode(memo, "k", 0)).value.WhichOneof("value") == "int_value"
        assert str(read(encode(memo, "k", 0.0)).value.double_value) == "0.0"
        assert str(read(encode(memo, "k", -0.0)).value.double_value) == "-0.0"
        assert read(encode(memo, "k", None)).value.WhichOneof("value") is None


def test_equal_containers_of_different_types_stay_apart(memo: Memo) -> None:
    for _ in range(4):
        assert read(encode(memo, "k", (1,))).value.array_value.values[0].int_value == 1
        assert read(encode(memo, "k", (True,))).value.array_value.values[0].bool_value is True
        assert read(encode(memo, "k", (1.0,))).value.array_value.values[0].double_value == 1.0


def test_keys_that_are_equal_but_no_text_stay_apart(memo: Memo) -> None:
    for _ in range(4):
        assert read(memo.kinds[str][1]["v"]).key == "1"
        assert read(memo.kinds[str][True]["v"]).key == "True"


def test_a_key_with_many_repeated_values_empties_only_itself(memo: Memo) -> None:
    for _ in range(3):
        encode(memo, "method", "GET")
    hot = encode(memo, "method", "GET")
    for number in range(MAX_VALUES + 10):
        for _ in range(3):
            encode(memo, "path", f"/{number}")
    assert encode(memo, "method", "GET") is hot
    assert len(memo) < MAX_VALUES + 10


def test_whatever_comes_it_stays_bounded(memo: Memo) -> None:
    texts = Texts(memo, b"\x2a")
    most = 0
    for number in range(2 * MAX_INSERTIONS):
        for _ in range(3):
            encode(memo, f"key-{number}", f"value-{number}")
            _ = texts[f"name-{number}"]
        most = max(most, len(memo))
    assert 0 < most <= MAX_INSERTIONS


def test_after_being_emptied_it_fills_again(memo: Memo) -> None:
    for _ in range(4):
        encode(memo, "method", "GET")
    memo.clear()
    assert len(memo) == 0
    encode(memo, "method", "GET")
    encode(memo, "method", "GET")
    encode(memo, "method", "GET")
    assert encode(memo, "method", "GET") is encode(memo, "method", "GET")


@pytest.mark.parametrize(("between", "kept"), [(MARKS - 2, True), (MARKS, False)])
def test_a_value_that_comes_again_after_too_many_new_ones_is_new(
    memo: Memo, between: int, kept: bool
) -> None:
    """Marks of what was met once are bounded: without a limit each user's id would leave one for ever."""
    texts = Texts(memo, b"\x2a")
    _ = texts["again"]
    for number in range(between):
        _ = texts[f"user-{number}"]
    assert len(memo) == 0
    _ = texts["again"]
    assert len(memo) == (1 if kept else 0)


def test_long_text_and_large_integers_are_not_kept(memo: Memo) -> None:
    long = "x" * (MAX_TEXT + 1)
    for _ in range(4):
        encode(memo, "k", "y")
        encode(memo, "n", 1)
    before = len(memo)
    for _ in range(4):
        encode(memo, "k", long)
        encode(memo, "n", 1 << 40)
        encode(memo, long, "y")
    assert len(memo) == before


def test_types_made_at_run_time_are_not_kept(memo: Memo) -> None:
    before = len(memo.kinds)
    for number in range(10):
        kind = type(f"Text{number}", (str,), {})
        assert read(encode(memo, "k", kind("v"))).value.string_value == "v"
    assert len(memo.kinds) == before


@pytest.mark.parametrize("key_size", [1, 100, 120, 130, 900, 1015, 1030])
@pytest.mark.parametrize("size", [0, 1, 100, 117, 118, 119, 124, 125, 126, 127, 128, 129, 1000, 16_500])
def test_every_length_of_key_and_text(memo: Memo, key_size: int, size: int) -> None:
    expected = KeyValue(key="k" * key_size)
    expected.value.string_value = "v" * size
    encoded = encode(memo, "k" * key_size, "v" * size)
    length_size = len(encoded) - expected.ByteSize()
    assert KeyValue.FromString(encoded[length_size:]) == expected
    length = sum((byte & 0x7F) << (7 * index) for index, byte in enumerate(encoded[:length_size]))
    assert length == expected.ByteSize()


def test_beginnings_of_few_sizes_are_kept(memo: Memo) -> None:
    texts = TextValues(memo, "k")
    for size in range(1, 120):
        assert texts["x" * size].endswith(b"x" * size)
    assert len(texts.heads) == 64


def test_texts_refuse_what_is_no_text(memo: Memo) -> None:
    texts = Texts(memo, b"\x2a")
    with pytest.raises(TypeError):
        _ = texts[1]  # type: ignore[index]
    assert texts["ab"] == b"\x2a\x02ab"


def test_threads_share_it_without_wrong_answers(memo: Memo, monkeypatch: pytest.MonkeyPatch) -> None:
    # Small bounds: every thread empties the memo under the others all the time.
    monkeypatch.setattr(memo_module, "MAX_INSERTIONS", 20)
    monkeypatch.setattr(memo_module, "MAX_VALUES", 5)
    monkeypatch.setattr(memo_module, "MARKS", 50)
    wrong: list[object] = []

    def work(seed: int) -> None:
        try:
            for number in range(3000):
                key, value = f"k{number % 7}", f"v{(number * seed) % 11}"
                pair = read(encode(memo, key, value))
                if (pair.key, pair.value.string_value) != (key, value):
                    wrong.append((key, value, pair))
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2, 3, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
