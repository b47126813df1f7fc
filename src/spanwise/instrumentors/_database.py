"""What our instrumentors of databases share: which names of the conventions they write."""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = ["Conventions", "conventions"]


@dataclass(frozen=True)
class Conventions:
    """Which attribute names to write."""

    stable: bool
    old: bool


def conventions(opt_in: str | None = None) -> Conventions:
    """What OTEL_SEMCONV_STABILITY_OPT_IN asks for databases.

    Unset or empty: the stable names, which is this distribution's default (the stock one's is the old
    names). ``database``: the stable ones; ``database/dup``: both; a list without either, such as
    ``http``: the old ones only, as everywhere.

    Args:
        opt_in: the variable's value; read from the environment by default.
    """
    value = os.environ.get("OTEL_SEMCONV_STABILITY_OPT_IN", "") if opt_in is None else opt_in
    asked = {part.strip() for part in value.split(",") if part.strip()}
    if "database/dup" in asked:
        return Conventions(stable=True, old=True)
    stable = not asked or "database" in asked
    return Conventions(stable=stable, old=not stable)
