"""Where the signals go: a destination made of the settings, or what is wrong with them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from spanwise.errors import ConfigurationError
from spanwise.settings import Exporter
from spanwise.values import without_secrets

__all__ = ["Destination", "destination", "spool_label"]

_DEFAULT_HTTP, _DEFAULT_GRPC = "http://localhost:4318", "http://localhost:4317"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where one signal goes.

    Attributes:
        url: the whole URL, path included.
        headers: added to every request.
        gzip: whether bodies are compressed.
        timeout: longest wait for connecting, sending and the whole answer together, in seconds.
        certificate: file with the authorities trusted for the server; the system's when None.
        client_certificate: our certificate's file, and ``client_key`` its key's.
        places: where the settings came from, by name, for messages.
    """

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    gzip: bool = False
    timeout: float = 10.0
    certificate: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None
    places: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)


def destination(exporter: Exporter, signal: str) -> Destination:
    """The destination of one signal.

    Over HTTP the general endpoint gets the signal's path appended, and a signal's own is taken as it is
    (https://opentelemetry.io/docs/specs/otel/protocol/exporter/#endpoint-urls-for-otlphttp). For gRPC the
    path is the method's own; an endpoint without a scheme is one of TLS unless it is said to be insecure.

    Raises:
        ConfigurationError: the endpoint is no address.
    """
    endpoint = exporter.endpoint
    if exporter.protocol == "grpc":
        endpoint = endpoint or _DEFAULT_GRPC
        if "://" not in endpoint:
            endpoint = f"{'https' if exporter.encrypted else 'http'}://{endpoint}"
    else:
        endpoint = endpoint or _DEFAULT_HTTP
    # urlsplit accepts any text; a port that is no number raises only when read.
    try:
        parts = urlsplit(endpoint)
        host = parts.hostname or ""
        usable = parts.scheme in ("http", "https") and bool(host) and parts.port != 0
        usable = usable and not any(each <= " " or each == "\x7f" for each in host)
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError(
            f"{without_secrets(exporter.endpoint)!r} is no endpoint",
            where=exporter.place("endpoint"),
            fix=f"Give a URL such as {_DEFAULT_GRPC if exporter.protocol == 'grpc' else _DEFAULT_HTTP}",
        )
    if exporter.protocol != "grpc" and not exporter.endpoint_is_whole:
        endpoint = f"{endpoint.rstrip('/')}/v1/{signal}"
    return Destination(
        url=endpoint,
        headers=exporter.headers,
        gzip=exporter.compression == "gzip",
        timeout=exporter.timeout / 1000,
        certificate=exporter.certificate,
        client_certificate=exporter.client_certificate,
        client_key=exporter.client_key,
        places=exporter.places,
    )


def spool_label(to: Destination, signal: str) -> str:
    """What the names of a destination's files begin with: no application's spans go where another's do."""
    return f"{signal}-{zlib.crc32(repr((to.url, to.headers)).encode()):08x}"
