"""What a plugin of the store can do."""

from __future__ import annotations

import pluggy
from sqlalchemy.orm import Session

from settings import Settings

hookspec = pluggy.HookspecMarker("store")
hookimpl = pluggy.HookimplMarker("store")


@hookspec
def store_setup(settings: Settings) -> None:
    """Called once, when the plugin has been loaded."""


@hookspec(firstresult=True)
def store_price(list_price_cents: int, customer_id: int) -> int | None:
    """The price in cents for this customer; None leaves it to the next plugin."""


@hookspec
def store_recommend(session: Session, customer_id: int, limit: int, delay: float) -> list[int]:
    """Ids of tracks this customer may like, best first. `delay` asks for a slow answer, in seconds."""
