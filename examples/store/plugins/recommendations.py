"""Recommendations: tracks of the genres this customer buys most."""

from __future__ import annotations

import time

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models import Invoice, InvoiceLine, Track
from plugins.hookspecs import hookimpl


@hookimpl
def store_recommend(session: Session, customer_id: int, limit: int, delay: float) -> list[int]:
    time.sleep(delay)
    bought = (
        select(Track.genre_id)
        .join(InvoiceLine, InvoiceLine.track_id == Track.id)
        .join(Invoice, Invoice.id == InvoiceLine.invoice_id)
        .where(Invoice.customer_id == customer_id)
        .group_by(Track.genre_id)
        .order_by(func.count().desc(), Track.genre_id)
        .limit(3)
    )
    genres = session.scalars(bought).all()
    # Another part of the catalogue for each customer, the same one each time.
    first = customer_id * 13
    query = select(Track.id).where(Track.genre_id.in_(genres), Track.id > first).order_by(Track.id)
    return list(session.scalars(query.limit(limit)))
