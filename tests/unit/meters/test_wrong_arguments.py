"""Wrong arguments for each call of the metrics API, the SDK's own beside ours.

Ours raises where the SDK raises, or not at all; gives what it gives; exports what it exports, and where the
SDK raised, all that was right before and after. And no call that goes wrong each time floods the log.
"""

from __future__ import annotations

import decimal
import fractions
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.context import Context
from opentelemetry.metrics import Observation
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

from spanwise.log import Log
from spanwise.meters import amounts, attributes, observed, recording, series
from spanwise.meters.provider import MeterProvider


@pytest.fixture(autouse=True)
def _told_again(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is told once a minute may be told in each test; the SDK's own lines take most of the time."""
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    for module in (amounts, attributes, observed, recording, series):
        monkeypatch.setattr(module, "_logger", Log(module.__name__))
    yield
    logging.getLogger("opentelemetry").setLevel(logging.NOTSET)


def raises(*_: Any, **__: Any) -> Any:
    raise RuntimeError("hostile")


class Hostile:
    """Raises whatever is asked of it."""

    __repr__ = __float__ = __index__ = __lt__ = __gt__ = __eq__ = __hash__ = __bool__ = __len__ = raises
    __add__ = __radd__ = __iter__ = __getitem__ = __str__ = raises


class Unshown:
    __repr__ = raises


class NumPyLike:
    """A scalar: counts as a float, compares as something else, keeps its class in sums."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __float__(self) -> float:
        return self.value

    def __radd__(self, other: Any) -> Any:
        return NumPyLike(float(other) + self.value)

    __add__ = __radd__

    def __lt__(self, other: Any) -> bool:
        return self.value < float(other)


class Infects(NumPyLike):
    """What it is added to stays useless."""

    def __add__(self, other: Any) -> Any:
        return self

    __radd__ = __add__


class Incomparable(float):
    __lt__ = __gt__ = __le__ = __ge__ = raises


class Unadded(float):
    __add__ = __radd__ = raises


class Indexed:
    def __index__(self) -> int:
        return 3


class Three(IntEnum):
    THREE = 3


class Colour(Enum):
    RED = "red"


class Changing(Mapping[Any, Any]):
    """Is another one each time, and fails half-way."""

    def __init__(self) -> None:
        self.asked = 0

    def __iter__(self) -> Iterator[Any]:
        self.asked += 1
        yield self.asked
        raise RuntimeError("half-way")

    def __getitem__(self, key: Any) -> Any:
        return self.asked

    def __len__(self) -> int:
        return 2


def cyclic() -> Any:
    made: list[Any] = [1]
    made.append(made)
    return made


def deep() -> Any:
    made: Any = "x"
    for _ in range(3000):
        made = [made]
    return made


AMOUNTS: dict[str, Callable[[], Any]] = {
    "text": lambda: "5",
    "bytes": lambda: b"5",
    "none": lambda: None,
    "nan": lambda: math.nan,
    "infinite": lambda: math.inf,
    "negative": lambda: -1,
    "negative infinite": lambda: -math.inf,
    "true": lambda: True,
    "decimal": lambda: decimal.Decimal("1.5"),
    "signalling": lambda: decimal.Decimal("sNaN"),
    "fraction": lambda: fractions.Fraction(1, 4),
    "complex": lambda: 1j,
    "many digits": lambda: 10**5000,
    "too large": lambda: 10**309,
    "large": lambda: 10**300,
    "65 bits": lambda: 1 << 64,
    "huge float": lambda: 1e308,
    "list": lambda: [1],
    "mapping": lambda: {"k": 1},
    "type": lambda: int,
    "object": object,
    "hostile": Hostile,
    "unshown": Unshown,
    "numpy": lambda: NumPyLike(2.5),
    "infects": lambda: Infects(2.5),
    "incomparable": lambda: Incomparable(3.0),
    "unadded": lambda: Unadded(3.0),
    "index": Indexed,
    "enumeration": lambda: Three.THREE,
}
ATTRIBUTES: dict[str, Callable[[], Any]] = {
    "number": lambda: 5,
    "zero": lambda: 0,
    "text": lambda: "ab",
    "list": lambda: ["ab"],
    "pairs": lambda: [("k", 1, 2)],
    "tuple": lambda: ("x",),
    "set": lambda: {"x"},
    "object": object,
    "hostile": Hostile,
    "generator": lambda: iter([("k", 1)]),
    "changing": Changing,
    "proxy": lambda: MappingProxyType({"k": "v"}),
    "number key": lambda: {1: "v"},
    "none key": lambda: {None: "v"},
    "empty key": lambda: {"": "v", "k": "v"},
    "tuple key": lambda: {("a", 1): "v"},
    "enumeration key": lambda: {Colour.RED: "v"},
    "object key": lambda: {Unshown(): "v"},
    "none": lambda: {"k": None},
    "nested": lambda: {"k": {"a": [1, {"b": None}]}},
    "decimal": lambda: {"k": decimal.Decimal(1)},
    "object value": lambda: {"k": object()},
    "enumeration": lambda: {"k": Colour.RED},
    "unshown value": lambda: {"k": Unshown()},
    "hostile value": lambda: {"k": Hostile()},
    "bytes": lambda: {"k": b"\xff"},
    "surrogate": lambda: {"k": "\ud800", "\ud800": 1},
    "cyclic": lambda: {"k": cyclic()},
    "deep": lambda: {"k": deep()},
    "nan": lambda: {"k": math.nan},
    "huge": lambda: {"k": 1 << 80},
}
CONTEXTS: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "context": Context,
    "text": lambda: "context",
    "number": lambda: 5,
    "empty": dict,
    "wrong span": lambda: Context({"current-span": 1}),
    "hostile": Hostile,
    "object": object,
}
METHODS = {
    "counter": ("create_counter", "add"),
    "up_down": ("create_up_down_counter", "add"),
    "histogram": ("create_histogram", "record"),
    "gauge": ("create_gauge", "set"),
}
VIEWS: dict[str, Any] = {
    "none": [],
    "dropping": [View(instrument_name="*", attribute_keys=set())],
    "exponential": [View(instrument_name="histogram", aggregation=ExponentialBucketHistogramAggregation())],
}


class Side:
    """One provider, the SDK's or ours, and what it said."""

    def __init__(self, kind: Any, views: Any = ()) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = kind([self.reader], Resource({}), shutdown_on_exit=False, views=views)
        self.meter = self.provider.get_meter("m")

    def call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[str, Any]:
        """What came of a call: "raised" and the type, or "returned" and the type."""
        try:
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                given = function(*arguments, **named)
            assert warned == []
        except Exception as error:
            return "raised", type(error)
        return "returned", type(given).__name__.lstrip("_")

    def exported(self) -> dict[Any, Any]:
        """By metric and attributes, the value, or count, sum, least and greatest, as floats."""
        data = self.reader.get_metrics_data()
        found = {}
        for metric in data.resource_metrics[0].scope_metrics[0].metrics if data is not None else ():
            for point in metric.data.data_points:
                fields = [getattr(point, name, None) for name in ("value", "count", "sum", "min", "max")]
                key = metric.name, repr(sorted(point.attributes.items(), key=str))
                found[key] = [None if each is None else float(each) for each in fields]
        return found


def alike(one: dict[Any, Any], other: dict[Any, Any]) -> None:
    assert one.keys() == other.keys()
    for key, values in one.items():
        assert values == pytest.approx(other[key], nan_ok=True)


def both(views: Any = ()) -> tuple[Side, Side]:
    return Side(sdk.MeterProvider, views), Side(MeterProvider, views)


def no_worse(stock: tuple[str, Any], ours: tuple[str, Any]) -> None:
    assert ours == stock or stock[0] == "raised"


@pytest.mark.parametrize("views", VIEWS)
@given(
    instrument=st.sampled_from([*METHODS]),
    amount=st.sampled_from([None, None, *AMOUNTS]),
    attributes=st.sampled_from([None, None, *ATTRIBUTES]),
    context=st.sampled_from([*CONTEXTS]),
    before=st.integers(0, 2),
    again=st.integers(1, 3),
)
def test_a_wrong_measurement_costs_itself_alone(
    views: str,
    instrument: str,
    amount: str | None,
    attributes: str | None,
    context: str,
    before: int,
    again: int,
) -> None:
    create, method = METHODS[instrument]
    told = []
    for side in both(VIEWS[views]):
        measure = getattr(getattr(side.meter, create)(instrument), method)
        came = []
        for _ in range(before):
            came.append(side.call(measure, 1, {"right": "x"}))
        for _ in range(again):
            came.append(
                side.call(
                    measure,
                    1 if amount is None else AMOUNTS[amount](),
                    {"right": "x"} if attributes is None else ATTRIBUTES[attributes](),
                    CONTEXTS[context](),
                )
            )
        for _ in range(2):
            came.append(side.call(measure, 2, {"right": "x"}))
        told.append((came, side.exported() if "raised" not in dict(came) else {}))
    (stock, stock_exported), (ours, exported) = told
    for one, other in zip(stock, ours, strict=True):
        no_worse(one, other)
    assert "raised" not in dict(ours)
    # The SDK's sum stays what it was made by an amount that keeps its class.
    if "raised" not in dict(stock) and attributes != "nan" and amount != "infects":
        alike(exported, stock_exported)
    else:
        right = sum((values[0] if values[0] is not None else values[2]) for values in exported.values())
        expected = before + 2 * 2 if instrument != "gauge" else 2
        assert right >= expected - (again if amount == "negative" else 0) - 1e-9


@pytest.mark.parametrize("instrument", METHODS)
@pytest.mark.parametrize("amount", AMOUNTS)
def test_amounts_that_are_numbers_count_and_others_do_not(instrument: str, amount: str) -> None:
    numbers = {
        "true": 1,
        "decimal": 1.5,
        "fraction": 0.25,
        "numpy": 2.5,
        "infects": 2.5,
        "incomparable": 3,
        "unadded": 3,
        "index": 3,
        "enumeration": 3,
        "large": 1e300,
        "65 bits": 2.0**64,
        "huge float": 1e308,
    }
    if instrument in ("up_down", "gauge"):
        numbers["negative"] = -1
    create, method = METHODS[instrument]
    side = Side(MeterProvider)
    measure = getattr(getattr(side.meter, create)(instrument), method)
    for each in (0.5, AMOUNTS[amount](), 0.5):
        measure(each, {"k": "v"})
    ((value, count, total, *_),) = side.exported().values()
    if instrument == "gauge":
        assert value == 0.5
    else:
        assert (value if count is None else total) == 1 + numbers.get(amount, 0)
        assert count is None or count == 2 + (amount in numbers)


@pytest.mark.parametrize("instrument", METHODS)
def test_a_bad_amount_as_the_first_makes_no_point(instrument: str) -> None:
    create, method = METHODS[instrument]
    side = Side(MeterProvider)
    getattr(getattr(side.meter, create)(instrument), method)(math.nan, {"k": "v"})
    assert side.exported() == {}


def test_attributes_that_change_after_the_call_do_not_change_the_point() -> None:
    side = Side(MeterProvider)
    add = side.meter.create_counter("c").add
    inner = ["a"]
    given: dict[str, Any] = {"k": "v", "list": inner}
    for _ in range(2):
        add(1, given)
    inner.append("b")
    add(1, given)
    given["k"] = "w"
    add(1, given)
    assert sorted(values[0] for values in side.exported().values()) == [1.0, 1.0, 2.0]


@pytest.mark.parametrize("instrument", METHODS)
def test_a_wrong_call_a_thousand_times_is_told_once(
    instrument: str, caplog: pytest.LogCaptureFixture
) -> None:
    create, method = METHODS[instrument]
    side = Side(MeterProvider)
    measure = getattr(getattr(side.meter, create)(instrument), method)
    for wrong in ("nan", "hostile", "text"):
        for _ in range(1000):
            measure(AMOUNTS[wrong](), {"k": "v"})
    for odd in ("number", "changing", "decimal", "number key"):
        for _ in range(300):
            measure(1, ATTRIBUTES[odd]())
    side.exported()
    assert 1 <= len(caplog.messages) <= 8
    assert max(map(len, caplog.messages)) < 300


# -- what makes meters and instruments -------------------------------------------------------------

NAMES = st.sampled_from(
    ["ok", "", "1", "a b", "x" * 300, "UPPER", None, 5, b"x", [], object(), Colour.RED, "\ud800", "a%d"]
)
TEXTS = st.sampled_from(["", "s", "x" * 100, None, 5, b"x", [], "é", "\ud800", object()])
CALLBACKS: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "empty": list,
    "number": lambda: 5,
    "numbers": lambda: [5, None],
    "text": lambda: "ab",
    "no argument": lambda: [list],
    "raises": lambda: [raises],
    "none given": lambda: [lambda _: None],
    "number given": lambda: [lambda _: 5],
    "generator": lambda: [generator()],
    "ended generator": lambda: [iter_once()],
    "failing generator": lambda: [failing()],
    "tuple": lambda: (lambda _: [Observation(1)],),
}


def generator() -> Any:
    yield
    while True:
        yield [Observation(3)]


def iter_once() -> Any:
    yield


def failing() -> Any:
    raise RuntimeError("at once")
    yield


@given(
    kind=st.sampled_from([*METHODS]),
    name=NAMES,
    unit=TEXTS,
    description=TEXTS,
    named=st.booleans(),
    advisory=st.sampled_from([None, "absent", [], [1, 2], [2, 1], "ab", 5, [math.nan], [object()]]),
)
def test_instruments_are_made_of_wrong_arguments_as_the_sdk_makes_them(
    kind: str, name: Any, unit: Any, description: Any, named: bool, advisory: Any
) -> None:
    create, method = METHODS[kind]
    told = []
    for side in both():
        arguments: dict[str, Any] = {"name": name, "unit": unit, "description": description}
        if kind == "histogram" and advisory != "absent":
            arguments["explicit_bucket_boundaries_advisory"] = advisory
        make = getattr(side.meter, create)
        came = side.call(make, **arguments) if named else side.call(make, name, unit, description)
        again = side.call(make, **arguments) if named else side.call(make, name, unit, description)
        if came[0] == "returned":
            made = make(**arguments) if named else make(name, unit, description)
            again = side.call(getattr(made, method), 1, {"k": "v"})
        told.append((came, again, side.exported()))
    assert told[0] == told[1]


@given(
    kind=st.sampled_from(["counter", "up_down_counter", "gauge"]),
    name=NAMES,
    callbacks=st.sampled_from([*CALLBACKS]),
    named=st.booleans(),
)
def test_observable_instruments_are_made_of_wrong_arguments_as_the_sdk_makes_them(
    kind: str, name: Any, callbacks: str, named: bool
) -> None:
    told = []
    for side in both():
        make = getattr(side.meter, f"create_observable_{kind}")
        given = CALLBACKS[callbacks]()
        came = side.call(make, name=name, callbacks=given) if named else side.call(make, name, given)
        told.append((came, side.exported(), side.exported()))
    no_worse(told[0][0], told[1][0])
    if told[0][0][0] == "returned":
        assert told[0] == told[1]


def test_callbacks_that_cannot_be_gone_through_do_not_matter_where_the_instrument_is_there() -> None:
    came = []
    for side in both():
        side.meter.create_observable_gauge("o", [lambda _: [Observation(1)]])
        came.append(side.call(side.meter.create_observable_gauge, "o", Hostile())[0])
    assert came == ["returned", "returned"]


OBSERVED: dict[str, Callable[[], Any]] = {
    "number": lambda: 5,
    "none": lambda: None,
    "hostile": Hostile,
    **{f"value {name}": lambda made=made: Observation(made()) for name, made in AMOUNTS.items()},
    **{f"attributes {name}": lambda made=made: Observation(1, made()) for name, made in ATTRIBUTES.items()},
    **{f"context {name}": lambda made=made: Observation(1, {}, made()) for name, made in CONTEXTS.items()},
}


@pytest.mark.parametrize("kind", ["counter", "up_down_counter", "gauge"])
@pytest.mark.parametrize("wrong", OBSERVED)
def test_a_wrong_observation_costs_itself_alone(kind: str, wrong: str) -> None:
    side = Side(MeterProvider)
    side.meter.create_counter("before").add(1)
    create = getattr(side.meter, f"create_observable_{kind}")
    create("o", [lambda _: [Observation(2, {"first": 1}), OBSERVED[wrong](), Observation(3, {"last": 1})]])
    create("after", [lambda _: [Observation(4)]])
    for _ in range(2):
        found = side.exported()
        assert found["before", "[]"][0] == 1
        assert found["after", "[]"][0] == 4
        assert found["o", "[('first', 1)]"][0] == 2
        assert found["o", "[('last', 1)]"][0] == 3


def test_a_callback_without_end_ends(caplog: pytest.LogCaptureFixture) -> None:
    def endless(_: Any) -> Iterator[Observation]:
        while True:
            yield Observation(1, {"k": "v"})

    side = Side(MeterProvider)
    side.meter.create_observable_gauge("o", [endless])
    side.meter.create_observable_gauge("p", [lambda _: [Observation(2)]])
    assert [values[0] for values in side.exported().values()] == [1, 2]
    assert "goes on after 100000 observations" in caplog.text


@given(
    name=NAMES,
    version=TEXTS,
    schema_url=TEXTS,
    attributes=st.sampled_from([None, *ATTRIBUTES]),
    named=st.booleans(),
)
def test_meters_are_made_of_wrong_arguments_as_the_sdk_makes_them(
    name: Any, version: Any, schema_url: Any, attributes: str | None, named: bool
) -> None:
    told = []
    for side in both():
        given = None if attributes is None else ATTRIBUTES[attributes]()
        arguments = {"name": name, "version": version, "schema_url": schema_url, "attributes": given}
        get = side.provider.get_meter
        came = side.call(get, **arguments) if named else side.call(get, *arguments.values())
        if came[0] == "returned":
            counter = get(**arguments).create_counter("c")
            counter.add(1)
        told.append((came, len(side.exported())))
    no_worse(told[0][0], told[1][0])
    if told[0][0][0] == "returned":
        assert told[1] == told[0]


@pytest.mark.parametrize("method", ["force_flush", "shutdown"])
@pytest.mark.parametrize("timeout", [0, -1, 60_000.5, math.nan, math.inf, "x", None, [], 10**400, True])
def test_the_provider_ends_as_the_sdk_s_does(method: str, timeout: Any) -> None:
    stock, ours = both()
    for side in (stock, ours):
        side.meter.create_counter("c").add(1)
    no_worse(
        stock.call(getattr(stock.provider, method), timeout),
        ours.call(getattr(ours.provider, method), timeout),
    )
    for side in (stock, ours):
        side.provider.shutdown() if method != "shutdown" else None
        assert side.call(side.meter.create_counter("d").add, 1)[0] == "returned"
        assert side.call(side.provider.get_meter, "later")[0] == "returned"


@pytest.mark.parametrize("arguments", [(), (1, {}, None, 4), ("amount",)])
@pytest.mark.parametrize("instrument", METHODS)
def test_a_wrong_number_of_arguments_is_called_by_its_name(instrument: str, arguments: Any) -> None:
    create, method = METHODS[instrument]
    said = []
    for side in both():
        measure = getattr(getattr(side.meter, create)(instrument), method)
        try:
            measure(*arguments, **({} if len(arguments) != 1 else {"amounts": 3}))
        except TypeError as error:
            said.append(
                str(error).replace("5 were", "4 were").replace("takes from 2 to 4", "takes from 1 to 3")
            )
    assert len(said) == 2
    assert said[0].partition("()")[0] == said[1].partition("()")[0]
