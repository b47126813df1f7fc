"""The console's pages in a real browser, with spans sent by the stock OTLP exporter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from console_browser import (
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
from opentelemetry.trace import NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from spanwise.console.server import RunningConsole, start

pytestmark = pytest.mark.real

EVIL = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>{{7*7}}'


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


def test_an_empty_console_says_what_to_type_and_fills_by_itself(
    browser: webdriver.Chrome, console: RunningConsole, provider: Provider
) -> None:
    browser.get(console.url)
    until(browser, lambda b: b.find_element(By.ID, "nothing-yet").is_displayed())
    assert "spanwise run python app.py" in browser.find_element(By.ID, "nothing-yet").text
    assert console.otlp_endpoint in browser.find_element(By.ID, "nothing-yet").text
    assert "token" not in urlsplit(browser.current_url).query
    send_checkout(provider)
    until(
        browser, lambda b: texts(b, "#rows .name") == ["GET /checkout"] and texts(b, "#total-spans") == ["4"]
    )
    assert not browser.find_element(By.ID, "nothing-yet").is_displayed()
    assert texts(browser, "#total-errors") == ["1"]


def test_a_click_opens_the_waterfall_and_a_span_shows_what_it_carries(
    browser: webdriver.Chrome, console: RunningConsole, provider: Provider
) -> None:
    trace_id = send_checkout(provider)
    browser.get(console.url)
    until(browser, lambda b: all_of(b, "#rows tr"))[0].click()
    until(browser, lambda b: len(all_of(b, ".span")) == 4)
    assert browser.current_url.endswith(f"/traces/{trace_id}")
    assert texts(browser, ".span .text") == ["GET /checkout", "SELECT album", "POST", "charge"]
    assert [row.get_attribute("aria-level") for row in all_of(browser, ".span")] == ["1", "2", "2", "3"]
    assert texts(browser, "#trace-duration") == ["100 ms"]
    assert texts(browser, ".span .badge") == ["poor", "error"]

    lane = all_of(browser, ".lane")[0].rect
    bars = [bar.rect for bar in all_of(browser, ".bar")]
    for bar, (offset, length) in zip(bars, [(0, 100), (10, 50), (60, 35), (65, 25)], strict=True):
        assert (bar["x"] - lane["x"]) / lane["width"] * 100 == pytest.approx(offset, abs=0.5)
        assert bar["width"] / lane["width"] * 100 == pytest.approx(length, abs=0.5)
    colours = [bar.value_of_css_property("background-color") for bar in all_of(browser, ".bar")]
    assert len({colours[0], colours[3]}) == 2
    assert colours[0] == colours[1]

    all_of(browser, ".span")[3].click()
    panel = until(browser, lambda b: b.find_element(By.ID, "details"))
    assert "charge" in panel.text
    assert "ValueError" in panel.text
    assert "card expired" in panel.text
    assert 'raise ValueError("card expired")' in panel.text
    assert "retried" in panel.text
    shown = details(browser)
    assert shown["attempt"] == "2"
    assert shown["service.instance.id"] == "payments-1"
    all_of(browser, ".span")[1].click()
    until(browser, lambda b: "SELECT album" in b.find_element(By.ID, "details").text)
    assert details(browser)["db.query.text"] == "SELECT 1"
    assert "poor: db.client" in browser.find_element(By.ID, "details").text


def test_the_waterfall_works_from_the_keyboard(
    browser: webdriver.Chrome, console: RunningConsole, provider: Provider
) -> None:
    open_trace(browser, console, send_checkout(provider))

    def press(key: str) -> None:
        browser.switch_to.active_element.send_keys(key)

    def focused() -> str:
        return browser.switch_to.active_element.find_element(By.CSS_SELECTOR, ".text").text

    browser.execute_script("document.querySelector('.span[tabindex=\"0\"]').focus()")
    assert focused() == "GET /checkout"
    press(Keys.END)
    assert focused() == "charge"
    press(Keys.ARROW_LEFT)
    assert focused() == "POST"
    press(Keys.ARROW_LEFT)
    assert [row.is_displayed() for row in all_of(browser, ".span")] == [True, True, True, False]
    press(Keys.ARROW_DOWN)
    assert focused() == "POST"
    press(Keys.ARROW_RIGHT)
    press(Keys.ARROW_RIGHT)
    assert focused() == "charge"
    press(Keys.ENTER)
    until(browser, lambda b: "charge" in b.find_element(By.ID, "details").text)
    press(Keys.ESCAPE)
    until(browser, lambda b: not b.find_element(By.ID, "details").is_displayed())
    assert focused() == "charge"


def test_a_span_whose_parent_never_came_is_a_marked_root(
    browser: webdriver.Chrome, console: RunningConsole, provider: Provider
) -> None:
    parent = NonRecordingSpan(SpanContext(0xABC, 0xDEF, True, TraceFlags(1)))
    provider("store").get_tracer("t").start_span("late", trace.set_span_in_context(parent)).end()
    open_trace(browser, console, f"{0xABC:032x}")
    assert texts(browser, ".span .badge") == ["parent missing"]
    assert all_of(browser, ".span")[0].get_attribute("aria-level") == "1"
    assert "did not arrive" in browser.find_element(By.ID, "trace-note").text


def test_filters_narrow_the_list_and_stay_in_the_address(
    browser: webdriver.Chrome, console: RunningConsole, provider: Provider
) -> None:
    send_checkout(provider)
    provider("store").get_tracer("t").start_span("GET /fine").end()
    browser.get(console.url)
    until(browser, lambda b: len(all_of(b, "#rows tr")) == 2)
    browser.find_element(By.NAME, "errors").click()
    until(browser, lambda b: texts(b, "#rows .name") == ["GET /checkout"])
    browser.refresh()
    until(browser, lambda b: texts(b, "#rows .name") == ["GET /checkout"])
    browser.find_element(By.NAME, "name").send_keys("no such name")
    until(browser, lambda b: b.find_element(By.ID, "nothing-matches").is_displayed())
    browser.find_element(By.CSS_SELECTOR, "button[type=reset]").click()
    until(browser, lambda b: len(all_of(b, "#rows tr")) == 2)


def test_hostile_text_is_only_text_on_every_page(
    browser: webdriver.Chrome, console: RunningConsole, provider: Provider
) -> None:
    span = provider(EVIL).get_tracer(EVIL).start_span(EVIL, attributes={EVIL: EVIL, "list": [EVIL]})
    span.add_event(EVIL, {EVIL: EVIL})
    span.record_exception(ValueError(EVIL))
    span.set_attribute("spanwise.rating", EVIL)
    span.set_status(Status(StatusCode.ERROR, EVIL))
    span.end()
    browser.get(console.url)
    until(browser, lambda b: texts(b, "#rows .name") == [EVIL])
    assert texts(browser, "[name=service] option") == ["All services", EVIL]
    assert not all_of(browser, "#rows img, #rows script, select img")
    open_trace(browser, console, f"{span.get_span_context().trace_id:032x}")
    assert texts(browser, "h1") == [EVIL]
    all_of(browser, ".span")[0].click()
    until(browser, lambda b: b.find_element(By.ID, "details").is_displayed())
    shown = details(browser)
    assert shown[EVIL] == EVIL
    assert shown["service.name"] == EVIL
    assert not all_of(browser, "main img, main script")
    assert EVIL in browser.title
    assert "onerror" in browser.find_element(By.CSS_SELECTOR, ".problem").text


def test_without_the_token_nothing_is_shown(chromium: webdriver.Chrome, console: RunningConsole) -> None:
    chromium.delete_all_cookies()
    chromium.get(console.otlp_endpoint + "/")
    assert "needs its token" in chromium.find_element(By.TAG_NAME, "h1").text
    assert not all_of(chromium, "#rows")
    chromium.get("about:blank")
    chromium.get_log("browser")
