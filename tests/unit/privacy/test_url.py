"""Secrets in URLs: gone, and nothing else is."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spanwise.privacy.url import redact_query, redact_text, redact_url

KEYS = (
    "AWSAccessKeyId",
    "Signature",
    "sig",
    "X-Goog-Signature",
    "X-Amz-Signature",
    "access_token",
    "api_key",
)
words = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        ("http://shop/ok", "http://shop/ok"),
        ("http://shop/ok?a=1&sig=x&b=2", "http://shop/ok?a=1&sig=REDACTED&b=2"),
        ("http://shop/ok?sig=x#part", "http://shop/ok?sig=REDACTED"),
        ("https://shop/cb#access_token=x", "https://shop/cb"),
        ("https://shop/cb?a=1#access_token=x&b=1", "https://shop/cb?a=1"),
        (
            "https://shop/?Token=x&API_KEY=x&apiKey=x",
            "https://shop/?Token=REDACTED&API_KEY=REDACTED&apiKey=REDACTED",
        ),
        ("https://shop/?x-amz-signature=x", "https://shop/?x-amz-signature=REDACTED"),
        ("https://shop/?a=1;token=x;b=2", "https://shop/?a=1;token=REDACTED;b=2"),
        ("https://shop/?pass%77ord=x&a%20b=1", "https://shop/?pass%77ord=REDACTED&a%20b=1"),
        ("https://shop/?code=x&state=1", "https://shop/?code=REDACTED&state=1"),
        ("/?auth=x&authorization=x&jwt=x", "/?auth=REDACTED&authorization=REDACTED&jwt=REDACTED"),
        ("/?session=x&sid=x&key=x", "/?session=REDACTED&sid=REDACTED&key=REDACTED"),
        ("/?keyword=x&author=x&monkey=x&codes=x", "/?keyword=x&author=x&monkey=x&codes=x"),
        ("//me:x@shop/ok", "//REDACTED:REDACTED@shop/ok"),
        ("http://shop/ok?design=x&mysig=y", "http://shop/ok?design=x&mysig=y"),
        ("https://me:pass@shop/ok", "https://REDACTED:REDACTED@shop/ok"),
        ("https://token@shop:8080", "https://REDACTED:REDACTED@shop:8080"),
        ("https://me:p@ss@shop/ok", "https://REDACTED:REDACTED@shop/ok"),
        ("http://shop/@me?a=b@c", "http://shop/@me?a=b@c"),
        ("/ok?token=x", "/ok?token=REDACTED"),
        ("http://shop?password=", "http://shop?password=REDACTED"),
        ("?", "?"),
        ("", ""),
    ],
)
def test_a_url(url: str, redacted: str) -> None:
    assert redact_url(url) == redacted


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("no URL in it, a=b", "no URL in it, a=b"),
        ("exceeded with url: /ok?sig=x (Caused by …)", "exceeded with url: /ok?sig=REDACTED (Caused by …)"),
        (
            "for 'http://me:x@shop/?a=b&token=y': no",
            "for 'http://REDACTED:REDACTED@shop/?a=b&token=REDACTED': no",
        ),
        ("mail me@shop.example", "mail me@shop.example"),
        ("for url: https://shop/cb#Access_Token=x&a=1", "for url: https://shop/cb#Access_Token=REDACTED&a=1"),
        ("for url: /?a=1;jwt=x", "for url: /?a=1;jwt=REDACTED"),
        ("for url: /?pass%77ord=x: no", "for url: /?pass%77ord=REDACTED no"),
    ],
)
def test_a_message(text: str, redacted: str) -> None:
    assert redact_text(text) == redacted


@given(
    words, words, st.sampled_from(KEYS), st.lists(st.tuples(words, words), max_size=3), st.text(max_size=9)
)
def test_whatever_the_secret_it_is_gone_and_all_else_stays(
    user: str, password: str, key: str, others: list[tuple[str, str]], value: str
) -> None:
    secret = f"5ecret{quote(value, safe='')}"
    query = "&".join([*(f"q{name}={text}" for name, text in others), f"{key}={secret}"])
    url = f"https://{user}:{password}5ecret@shop.example:8443/a/b?{query}"
    for found in (redact_url(url), redact_text(f"could not get {url}").removeprefix("could not get ")):
        assert "5ecret" not in found
        parts = urlsplit(found)
        assert (parts.hostname, parts.port, parts.path) == ("shop.example", 8443, "/a/b")
        assert parts.query == query.replace(secret, "REDACTED")


@given(st.text())
def test_any_text_is_taken_and_taken_once(text: str) -> None:
    for redact in (redact_query, redact_url, redact_text):
        assert redact(redact(text)) == redact(text)
