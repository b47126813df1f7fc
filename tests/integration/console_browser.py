"""A console, senders to it and a browser on it, for the tests that look at its pages."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from spanwise.console.server import RunningConsole

Provider = Callable[[str], TracerProvider]
MS = 1_000_000


@contextlib.contextmanager
def open_chromium() -> Iterator[webdriver.Chrome]:
    """A headless browser that notes what the content security policy had to stop."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "/usr/bin/chromium"
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(
        options=options, service=Service(shutil.which("chromedriver") or "/usr/bin/chromedriver")
    )
    driver.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument",
        {
            "source": "window.violations = [];"
            "document.addEventListener('securitypolicyviolation',"
            " (e) => window.violations.push(e.violatedDirective));"
        },
    )
    try:
        yield driver
    finally:
        driver.quit()


@contextlib.contextmanager
def watched(chromium: webdriver.Chrome) -> Iterator[webdriver.Chrome]:
    """The browser for one test, which must end without a message and without anything the policy stopped."""
    chromium.get_log("browser")
    yield chromium
    stopped = chromium.execute_script("return window.violations")
    assert stopped == [], stopped
    assert chromium.execute_script("return window.pwned") is None
    told = [entry["message"] for entry in chromium.get_log("browser")]
    assert told == [], told
    chromium.get("about:blank")
    chromium.delete_all_cookies()


@contextlib.contextmanager
def senders(console: RunningConsole) -> Iterator[Provider]:
    """Makes a stock SDK for a service, sending to ``console``."""
    made: list[TracerProvider] = []

    def make(service: str) -> TracerProvider:
        resource = Resource.create({"service.name": service, "service.instance.id": f"{service}-1"})
        one = TracerProvider(resource=resource)
        one.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{console.otlp_endpoint}/v1/traces")))
        made.append(one)
        return one

    yield make
    for one in made:
        one.shutdown()


def send_checkout(provider: Provider) -> str:
    """One trace of two services: a request, a rated query, a failed call with an exception."""
    store, payments = provider("store").get_tracer("t"), provider("payments").get_tracer("t")
    now = time.time_ns()
    request = store.start_span(
        "GET /checkout", kind=SpanKind.SERVER, start_time=now, attributes={"http.route": "/checkout"}
    )
    inside = trace.set_span_in_context(request)
    query = store.start_span(
        "SELECT album",
        inside,
        kind=SpanKind.CLIENT,
        start_time=now + 10 * MS,
        attributes={
            "db.query.text": "SELECT 1",
            "spanwise.rating": "poor",
            "spanwise.rating.rule": "db.client",
            "spanwise.rating.limit": 0.05,
        },
    )
    query.end(now + 60 * MS)
    call = store.start_span("POST", inside, kind=SpanKind.CLIENT, start_time=now + 60 * MS)
    charge = payments.start_span(
        "charge", trace.set_span_in_context(call), kind=SpanKind.SERVER, start_time=now + 65 * MS
    )
    try:
        raise ValueError("card expired")
    except ValueError as error:
        charge.record_exception(error, timestamp=now + 70 * MS)
        charge.set_status(Status(StatusCode.ERROR, "card expired"))
    charge.add_event("retried", {"attempt": 2}, timestamp=now + 80 * MS)
    charge.end(now + 90 * MS)
    call.end(now + 95 * MS)
    request.end(now + 100 * MS)
    return f"{request.get_span_context().trace_id:032x}"


def until(browser: webdriver.Chrome, condition: Callable[[webdriver.Chrome], Any]) -> Any:
    return WebDriverWait(browser, 20, ignored_exceptions=[Exception]).until(condition)


def all_of(browser: webdriver.Chrome, selector: str) -> list[WebElement]:
    return browser.find_elements(By.CSS_SELECTOR, selector)


def texts(browser: webdriver.Chrome, selector: str) -> list[str]:
    return [element.get_attribute("textContent") or "" for element in all_of(browser, selector)]


def open_trace(browser: webdriver.Chrome, console: RunningConsole, trace_id: str) -> None:
    browser.get(console.url)
    until(browser, lambda b: texts(b, "#rows .name"))
    browser.get(f"{console.otlp_endpoint}/traces/{trace_id}")
    until(browser, lambda b: all_of(b, ".span"))


def details(browser: webdriver.Chrome) -> dict[str, str]:
    rows = browser.find_elements(By.CSS_SELECTOR, "#details .pairs tr")
    return {
        row.find_element(By.TAG_NAME, "th").get_attribute("textContent") or "": row.find_element(
            By.TAG_NAME, "td"
        ).get_attribute("textContent")
        or ""
        for row in rows
    }
