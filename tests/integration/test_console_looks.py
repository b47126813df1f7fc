"""How the console's pages look and behave on a wide and on a narrow screen, measured in a real browser."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from console_browser import (
    MS,
    Provider,
    all_of,
    details,
    open_chromium,
    open_trace,
    send_checkout,
    senders,
    texts,
    until,
    watched,
)
from opentelemetry import trace
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from spanwise.console.server import RunningConsole, start

pytestmark = pytest.mark.real

WIDTHS = [1280, 480]
# Kathmandu: a zone that is not UTC, never changes, and is no whole number of hours away.
ZONE = "Asia/Kathmandu"
COUNT_REQUESTS = """
window.asked = 0;
const fetch = window.fetch;
window.fetch = (...given) => { window.asked += 1; return fetch(...given); };
"""


@pytest.fixture
def console(tmp_path: Path) -> Iterator[RunningConsole]:
    with start(tmp_path / "console.duckdb") as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[webdriver.Chrome]:
    with open_chromium() as driver:
        yield driver


@pytest.fixture
def browser(chromium: webdriver.Chrome, console: RunningConsole) -> Iterator[webdriver.Chrome]:
    # The console ends after the page is left: a page that asks a console that is gone says so in its log.
    assert console.url
    with watched(chromium) as driver:
        yield driver


@pytest.fixture
def provider(console: RunningConsole) -> Iterator[Provider]:
    with senders(console) as make:
        yield make


def resize(browser: webdriver.Chrome, width: int, height: int = 900) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )


@pytest.fixture
def screen(browser: webdriver.Chrome) -> Iterator[webdriver.Chrome]:
    """A browser whose size and zone a test may change."""
    browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ZONE})
    yield browser
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ""})


def boxes(browser: webdriver.Chrome, selector: str) -> list[dict[str, Any]]:
    """Where the elements are that match, with their text; hidden ones left out."""
    found: list[dict[str, Any]] = browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])].filter((n) => n.offsetParent).map((n) => {"
        " const r = n.getBoundingClientRect();"
        " return {text: n.textContent, left: r.left, right: r.right, width: r.width}; });",
        selector,
    )
    return found


def page_is_as_wide_as_the_window(browser: webdriver.Chrome) -> bool:
    wide, seen = browser.execute_script(
        "const e = document.documentElement; return [e.scrollWidth, e.clientWidth];"
    )
    return bool(wide <= seen)


def choose_rating(browser: webdriver.Chrome, value: str) -> None:
    Select(browser.find_element(By.NAME, "rating")).select_by_value(value)


def test_the_list_is_filtered_by_rating_and_the_filter_stays(
    browser: webdriver.Chrome, console: RunningConsole, provider: Provider
) -> None:
    send_checkout(provider)
    tracer = provider("store").get_tracer("t")
    tracer.start_span("GET /fine").end()
    tracer.start_span("GET /awful", attributes={"spanwise.rating": "critical"}).end()
    browser.get(console.url)
    until(browser, lambda b: len(all_of(b, "#rows tr")) == 3)
    assert texts(browser, "#rows .what .badge") == ["critical", "poor"]
    choose_rating(browser, "poor")
    until(browser, lambda b: texts(b, "#rows .name") == ["GET /awful", "GET /checkout"])
    until(browser, lambda b: b.current_url.endswith("/?rating=poor"))
    browser.refresh()
    until(browser, lambda b: texts(b, "#rows .name") == ["GET /awful", "GET /checkout"])
    all_of(browser, "#rows .name")[1].click()
    until(browser, lambda b: len(all_of(b, ".span")) == 4)
    browser.find_element(By.ID, "back").click()
    until(browser, lambda b: texts(b, "#rows .name") == ["GET /awful", "GET /checkout"])
    choose_rating(browser, "critical")
    until(browser, lambda b: texts(b, "#rows .name") == ["GET /awful"])
    choose_rating(browser, "")
    until(browser, lambda b: len(all_of(b, "#rows tr")) == 3)


def test_a_paused_page_asks_for_nothing_says_so_and_goes_on_when_resumed(
    browser: webdriver.Chrome, console: RunningConsole, provider: Provider
) -> None:
    tracer = provider("store").get_tracer("t")
    tracer.start_span("before").end()
    browser.get(console.url)
    until(browser, lambda b: texts(b, "#rows .name") == ["before"] and texts(b, "#total-traces") == ["1"])
    browser.execute_script(COUNT_REQUESTS)
    button = browser.find_element(By.ID, "pause")
    button.click()
    assert (button.text, texts(browser, "#live")) == ("Resume", ["paused"])
    assert "Paused" in browser.find_element(By.ID, "paused").text
    tracer.start_span("meanwhile").end()
    # Both ways to ask again by itself: the page is looked at again, and the interval of 2 s has passed.
    browser.execute_script("document.dispatchEvent(new Event('visibilitychange'))")
    browser.execute_async_script("setTimeout(arguments[0], 2600)")
    assert browser.execute_script("return window.asked") == 0
    assert texts(browser, "#rows .name") == ["before"]
    button.click()
    until(browser, lambda b: texts(b, "#rows .name") == ["meanwhile", "before"])
    assert (button.text, texts(browser, "#live")) == ("Pause", ["live"])
    assert not browser.find_element(By.ID, "paused").is_displayed()
    tracer.start_span("after").end()
    until(browser, lambda b: texts(b, "#rows .name") == ["after", "meanwhile", "before"])


def test_a_filter_answers_while_paused_and_the_page_stays_paused(
    browser: webdriver.Chrome, console: RunningConsole, provider: Provider
) -> None:
    send_checkout(provider)
    provider("store").get_tracer("t").start_span("GET /fine").end()
    browser.get(console.url)
    until(browser, lambda b: len(all_of(b, "#rows tr")) == 2)
    browser.find_element(By.ID, "pause").click()
    browser.find_element(By.NAME, "errors").click()
    until(browser, lambda b: texts(b, "#rows .name") == ["GET /checkout"])
    browser.execute_script(COUNT_REQUESTS)
    browser.execute_async_script("setTimeout(arguments[0], 2600)")
    assert browser.execute_script("return window.asked") == 0
    assert texts(browser, "#live") == ["paused"]
    assert browser.find_element(By.ID, "paused").is_displayed()


@pytest.mark.parametrize("width", WIDTHS)
def test_times_have_date_and_zone(
    screen: webdriver.Chrome, console: RunningConsole, provider: Provider, width: int
) -> None:
    resize(screen, width)
    start_ns = 1_700_000_000_123 * MS  # 2023-11-14T22:13:20.123Z
    span = provider("store").get_tracer("t").start_span("old", start_time=start_ns)
    span.end(start_ns + MS)
    screen.get(console.url)
    until(screen, lambda b: texts(b, "#rows .name") == ["old"])
    (shown,) = (cell for cell in all_of(screen, ".started, td .small-started") if cell.is_displayed())
    assert shown.text == "2023-11-15 03:58:20.123"
    tooltip = shown.get_attribute("title") or ""
    assert re.fullmatch(
        r"2023-11-15 03:58:20\.123 UTC\+05:45 \(Asia/Kath?mandu\)\n2023-11-14T22:13:20\.123Z", tooltip
    )
    assert shown.rect["width"] <= shown.find_element(By.XPATH, "./ancestor-or-self::td").rect["width"]
    assert [zone.text for zone in all_of(screen, ".zone") if zone.is_displayed()] == ["UTC+05:45"]
    open_trace(screen, console, f"{span.get_span_context().trace_id:032x}")
    until(screen, lambda b: texts(b, "#trace-started") == ["2023-11-15 03:58:20.123 UTC+05:45"])
    assert "2023-11-14T22:13:20.123Z" in (
        screen.find_element(By.ID, "trace-started").get_attribute("title") or ""
    )


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("length", [1234.5, 0.0123, 3_723_000.0])
def test_the_figures_of_axis_and_bars_have_room(
    screen: webdriver.Chrome, console: RunningConsole, provider: Provider, width: int, length: float
) -> None:
    """Lengths in ms, chosen for their long figures: seconds, microseconds, an hour."""
    tracer = provider("store").get_tracer("t")
    start_ns, whole = 1_700_000_000_000 * MS, round(length * MS)
    parent = tracer.start_span("whole", start_time=start_ns)
    inside = trace.set_span_in_context(parent)
    for tenth in range(10):
        child = tracer.start_span(f"part {tenth}", inside, start_time=start_ns + whole * tenth // 10)
        child.end(start_ns + whole * (tenth + 1) // 10)
    parent.end(start_ns + whole)
    resize(screen, 1400)
    open_trace(screen, console, f"{parent.get_span_context().trace_id:032x}")
    resize(screen, width)  # what fits is found again when the window changes
    until(screen, lambda b: page_is_as_wide_as_the_window(b) and axis_is_apart(b))
    if width == 1280:
        assert len(boxes(screen, "#ruler span")) == 5
    lanes, times = boxes(screen, ".lane"), boxes(screen, ".lane .time")
    assert len(lanes) == len(times) == 11
    for lane, label in zip(lanes, times, strict=True):
        assert lane["left"] - 1 <= label["left"], label
        assert label["right"] <= lane["right"] + 1, label


def axis_is_apart(browser: webdriver.Chrome) -> bool:
    marks = boxes(browser, "#ruler span")
    return len(marks) >= 2 and all(one["right"] < two["left"] for one, two in itertools.pairwise(marks))


@pytest.mark.parametrize("width", [480, 360])
def test_a_narrow_page_scrolls_in_no_direction_but_down(
    screen: webdriver.Chrome, console: RunningConsole, provider: Provider, width: int
) -> None:
    trace_id = send_checkout(provider)
    name = "GET /" + "averylongnamewithoutanybreak" * 8
    rated = {"spanwise.rating": "acceptable"}
    provider("a-service-with-a-long-name").get_tracer("t").start_span(name, attributes=rated).end()
    resize(screen, width, 250)
    screen.get(console.url)
    until(screen, lambda b: len(all_of(b, "#rows tr")) == 2)
    assert page_is_as_wide_as_the_window(screen)
    badge = next(box for box in boxes(screen, "#rows .badge") if box["text"] == "acceptable")
    cell = boxes(screen, "#rows td:nth-child(2)")[0]
    assert badge["right"] <= cell["right"]  # beside a long name, not cut off with its end
    open_trace(screen, console, trace_id)
    assert page_is_as_wide_as_the_window(screen)
    all_of(screen, ".span")[3].click()
    until(screen, lambda b: "charge" in b.find_element(By.ID, "details").text)
    assert page_is_as_wide_as_the_window(screen)
    # Below the waterfall, so it is brought into view.
    top = screen.execute_script("return document.getElementById('details').getBoundingClientRect().top")
    assert -1 <= top < 100


def test_every_service_has_a_colour_of_its_own_on_both_pages(
    browser: webdriver.Chrome, console: RunningConsole, provider: Provider
) -> None:
    names = ["store", "payments", "mail", "search", "stock", "users", "web", "jobs", "feeds", "maps"]
    parent = provider(names[0]).get_tracer("t").start_span("all")
    for name in names[1:]:
        provider(name).get_tracer("t").start_span("part", trace.set_span_in_context(parent)).end()
    parent.end()

    def seen(selector: str) -> dict[str, str]:
        found: list[list[str]] = browser.execute_script(
            "return [...document.querySelectorAll(arguments[0])].map((n) =>"
            " [n.parentElement.textContent, getComputedStyle(n).backgroundColor])",
            selector,
        )
        return dict(found)  # type: ignore[arg-type, unused-ignore]

    browser.get(console.url)
    until(browser, lambda b: texts(b, "#rows .name") == ["all"])
    listed = seen("#rows .service .dot")
    assert sorted(listed) == sorted(names)
    assert len(set(listed.values())) == len(names)
    open_trace(browser, console, f"{parent.get_span_context().trace_id:032x}")
    assert seen("#legend .dot") == listed


def test_metrics_and_logs_are_counted_and_it_says_where_they_are(
    browser: webdriver.Chrome, console: RunningConsole
) -> None:
    metrics = ExportMetricsServiceRequest()
    metric = metrics.resource_metrics.add().scope_metrics.add().metrics.add(name="g")
    for number in range(3):
        metric.gauge.data_points.add(as_int=number)
    logs = ExportLogsServiceRequest()
    records = logs.resource_logs.add().scope_logs.add().log_records
    records.add().body.string_value = "one"
    records.add().body.string_value = "two"
    browser.get(console.url)
    until(browser, lambda b: texts(b, "#total-points") == ["0"])
    assert not browser.find_element(By.ID, "others").is_displayed()
    for path, request in (("metrics", metrics), ("logs", logs)):
        requests.post(
            f"{console.otlp_endpoint}/v1/{path}",
            request.SerializeToString(),
            headers={"content-type": "application/x-protobuf"},
            timeout=20,
        ).raise_for_status()
    until(browser, lambda b: (texts(b, "#total-points"), texts(b, "#total-logs")) == (["3"], ["2"]))
    note = browser.find_element(By.ID, "others")
    assert note.is_displayed()
    assert re.search(r"Metrics.*not shown", note.text)


@pytest.mark.parametrize("width", WIDTHS)
def test_an_exception_is_type_message_and_then_a_wrapped_stack_trace(
    screen: webdriver.Chrome, console: RunningConsole, provider: Provider, width: int
) -> None:
    resize(screen, width)
    span = provider("store").get_tracer("t").start_span("fails")
    stack = "Traceback\n" + "\n".join(f'  File "{"x" * 300}", line {n}' for n in range(60)) + "\nlast"
    span.add_event(
        "exception",
        {
            "exception.type": "KeyError",
            "exception.message": "m" * 300,
            "exception.stacktrace": stack,
        },
    )
    span.end()
    open_trace(screen, console, f"{span.get_span_context().trace_id:032x}")
    all_of(screen, ".span")[0].click()
    problem = until(screen, lambda b: b.find_element(By.CSS_SELECTOR, "#details .problem"))
    parts = [part.get_attribute("textContent") or "" for part in problem.find_elements(By.XPATH, "./*")]
    assert [part[:8] for part in parts] == ["KeyError", "mmmmmmmm", "Stack tr", "Tracebac"]
    pre = problem.find_element(By.TAG_NAME, "pre")
    wide, seen, high, shown = screen.execute_script(
        "const n = arguments[0]; return [n.scrollWidth, n.clientWidth, n.scrollHeight, n.clientHeight];", pre
    )
    assert (wide <= seen, high <= shown) == (True, True)
    assert page_is_as_wide_as_the_window(screen)


def test_the_limit_of_a_rating_has_its_unit(
    browser: webdriver.Chrome, console: RunningConsole, provider: Provider
) -> None:
    open_trace(browser, console, send_checkout(provider))
    all_of(browser, ".span")[1].click()
    until(browser, lambda b: "SELECT album" in b.find_element(By.ID, "details").text)
    shown = details(browser)
    assert (shown["spanwise.rating.limit"], shown["spanwise.rating"]) == ("0.05 s", "poor")


def test_the_badge_of_a_rating_has_the_colour_of_its_word(
    browser: webdriver.Chrome, console: RunningConsole, provider: Provider
) -> None:
    words = {"spanwise.rating": "critical", "spanwise.rating.rule": "auth"}
    span = provider("store").get_tracer("t").start_span("slow", attributes=words)
    span.end()
    open_trace(browser, console, f"{span.get_span_context().trace_id:032x}")
    all_of(browser, ".span")[0].click()
    badge = until(browser, lambda b: b.find_element(By.CSS_SELECTOR, "#details .badge"))
    assert (badge.text, badge.get_attribute("class")) == ("critical: auth", "badge critical")
