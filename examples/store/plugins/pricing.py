"""Prices: every fifth customer is a member and pays a tenth less."""

from __future__ import annotations

import time

from plugins.hookspecs import hookimpl
from settings import Settings

MEMBER_EVERY = 5


@hookimpl
def store_setup(settings: Settings) -> None:
    # What a plugin that reads a large table at start would cost.
    time.sleep(settings.plugin_load_delay)


@hookimpl
def store_price(list_price_cents: int, customer_id: int) -> int:
    if customer_id % MEMBER_EVERY == 0:
        return list_price_cents - list_price_cents // 10
    return list_price_cents
