"""The small API with wrong arguments: never an exception in the application, and its functions still run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import spanwise

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from wrong import WRONG

ODD = [
    name for name in WRONG if name not in ("function", "class", "raising")
]  # those are taken for decorated

MADE: dict[str, tuple[int, Callable[..., Any]]] = {
    "operation": (
        5,
        lambda name, kind, component, plugin, attributes: spanwise.operation(
            name, kind, component=component, plugin=plugin, attributes=attributes
        ),
    ),
    "preload": (2, lambda item, id_from: spanwise.preload(item, id_from=id_from)),
    "stream": (
        4,
        lambda item, id_from, quality, form: spanwise.stream(
            item, id_from=id_from, quality=quality, format=form
        ),
    ),
    "circuit": (1, spanwise.circuit),
    "memory_pressure": (0, spanwise.memory_pressure),
}
# What is called on them, with how many arguments.
SAID: dict[str, dict[str, tuple[int, ...]]] = {
    "operation": {"add_metric": (2, 3), "set_attribute": (2,), "fail": (1,)},
    "preload": {"loaded": (1,), "set_attribute": (2,), "fail": (1,)},
    "stream": {"sent": (1,), "set_attribute": (2,), "fail": (1,)},
    "circuit": {"trip": (1,)},
    "memory_pressure": {"disposed": (1,), "record": (2,)},
}


@pytest.mark.parametrize("wrong", ODD)
@pytest.mark.parametrize("name", MADE)
def test_a_wrong_argument_raises_nothing(name: str, wrong: str) -> None:
    count, make = MADE[name]
    for at in range(max(count, 1)):
        arguments = [WRONG[wrong]() if each == at else None for each in range(count)]
        with make(*arguments):
            pass
        if name != "memory_pressure":
            assert make(*arguments)(lambda given: given)("kept") == "kept"


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", MADE)
def test_nothing_said_of_one_raises(name: str, wrong: str) -> None:
    for method, counts in SAID[name].items():
        for count in counts:
            with MADE[name][1](*["x"] * MADE[name][0]) as made:
                say = getattr(made, method, None)
                if say is not None:
                    say(*(WRONG[wrong]() for _ in range(count)))
                    say(*["x"] * (count - 1), WRONG[wrong]())


@pytest.mark.parametrize("wrong", WRONG)
def test_hooks_are_refused_with_a_word(wrong: str) -> None:
    for arguments in ([WRONG[wrong](), None], [10**9, WRONG[wrong]()]):
        reaction: Any = spanwise.on_memory_pressure(*arguments)
        cancel = getattr(reaction, "cancel", None) if wrong != "raising" else None
        if cancel is not None:
            cancel()
    before = spanwise.on_alert(WRONG[wrong]())  # type: ignore[type-var]
    spanwise.off_alert(before)


@pytest.mark.parametrize("wrong", WRONG)
def test_a_function_without_brackets_is_given_back(wrong: str) -> None:
    value = WRONG[wrong]()
    if callable(value):
        for make in (spanwise.operation, spanwise.preload, spanwise.stream, spanwise.circuit):
            assert make(value) is value  # type: ignore[operator]
