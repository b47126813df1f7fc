"""Buying, and what to buy next."""

from __future__ import annotations

import logging
from datetime import datetime, timezone
from typing import Any

from flask import Blueprint, Response, abort, jsonify, request
from sqlalchemy import select

from context import seconds_arg, store
from models import Customer, Invoice, InvoiceLine, Track

blueprint = Blueprint("trade", __name__)
log = logging.getLogger("store.trade")

BASKET_LIMIT = 50
RECOMMENDED = 10


@blueprint.post("/checkout")
def checkout() -> tuple[Response, int]:
    """Buys {"customer_id": n, "track_ids": [n, …]}: an invoice and its lines, in one transaction."""
    customer_id, track_ids = _basket(request.get_json())
    shop = store()
    with shop.session.begin() as session:
        if session.get(Customer, customer_id) is None:
            abort(404, f"no customer {customer_id}")
        query = select(Track.id, Track.price_cents).where(Track.id.in_(track_ids))
        listed = dict(session.execute(query).all())
        missing = [track_id for track_id in track_ids if track_id not in listed]
        if missing:
            abort(404, f"no track {missing[0]}")
        lines = []
        for track_id in track_ids:
            price = shop.plugins.hook.store_price(list_price_cents=listed[track_id], customer_id=customer_id)
            price = listed[track_id] if price is None else price  # no plugin had an opinion
            lines.append(InvoiceLine(track_id=track_id, price_cents=price, quantity=1))
        invoice = Invoice(
            customer_id=customer_id,
            issued_at=datetime.now(timezone.utc).replace(tzinfo=None),
            total_cents=sum(line.price_cents for line in lines),
            lines=lines,
        )
        session.add(invoice)
    shop.cache.delete(f"recommended:{customer_id}")
    log.info("invoice %d: customer %d bought %d tracks", invoice.id, customer_id, len(lines))
    return jsonify(invoice_id=invoice.id, total_cents=invoice.total_cents, lines=len(lines)), 201


def _basket(body: Any) -> tuple[int, list[int]]:
    if not isinstance(body, dict):
        abort(400, "the body must be a JSON object")
    customer_id, track_ids = body.get("customer_id"), body.get("track_ids")
    if type(customer_id) is not int:
        abort(400, "customer_id must be a number")
    if not isinstance(track_ids, list) or not all(type(t) is int and 0 < t < 2**31 for t in track_ids):
        abort(400, "track_ids must be a list of numbers")
    track_ids = list(dict.fromkeys(track_ids))
    if not 1 <= len(track_ids) <= BASKET_LIMIT or not 0 < customer_id < 2**31:
        abort(400, f"a basket has a customer and 1 to {BASKET_LIMIT} tracks")
    return customer_id, track_ids


@blueprint.get("/recommendations/<int:customer_id>")
def recommendations(customer_id: int) -> Response:
    """Tracks for this customer, from the plugins. `?delay=SECONDS` asks for a slow plugin, uncached."""
    shop = store()
    delay = seconds_arg("delay", shop.settings.recommendation_delay)
    key = f"recommended:{customer_id}"
    ids = None if delay else shop.cache.get(key)
    with shop.session() as session:
        if session.get(Customer, customer_id) is None:
            abort(404, f"no customer {customer_id}")
        if ids is None:
            answers = shop.plugins.hook.store_recommend(
                session=session, customer_id=customer_id, limit=RECOMMENDED, delay=delay
            )
            ids = list(dict.fromkeys(track_id for answer in answers for track_id in answer))[:RECOMMENDED]
            shop.cache.set(key, ids)
        names = dict(session.execute(select(Track.id, Track.name).where(Track.id.in_(ids))).all())
    return jsonify(customer_id=customer_id, tracks=[{"id": i, "name": names[i]} for i in ids if i in names])
