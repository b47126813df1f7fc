"""The libraries that spanwise instruments itself, one line each."""

from __future__ import annotations

__all__ = ["INSTRUMENTORS"]

# By contrib's entry-point name, so that both answer to the same allow- and deny-list.
INSTRUMENTORS: dict[str, str] = {
    "logging": "spanwise.instrumentors.logging:LoggingInstrumentor",
    "sqlalchemy": "spanwise.instrumentors.sqlalchemy:SQLAlchemyInstrumentor",
}
