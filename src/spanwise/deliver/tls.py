"""TLS to a destination: whose certificates are trusted, and ours where the server asks for one."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping

from spanwise.errors import ConfigurationError
from spanwise.log import Log
from spanwise.settings import OTLP
from spanwise.values import unreadable

__all__ = ["authorities", "context"]

_logger = Log("spanwise.deliver")

# What the stock exporters honour, in this order: they are written on requests.
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def context(
    certificate: str | None,
    client_certificate: str | None,
    client_key: str | None,
    places: Mapping[str, str],
) -> ssl.SSLContext:
    """What a connection is encrypted and its server checked with.

    Args:
        certificate: file with the authorities that are trusted; None for those of the machine.
        client_certificate: our own certificate's file; None for none.
        client_key: its key's; None where that is in the same file.
        places: where these three were set, by their names, for errors.

    Raises:
        ConfigurationError: one of the files cannot be used.
    """
    made = ssl.create_default_context(cafile=None) if certificate is None else _trusting(certificate, places)
    if certificate is None:
        _trust_the_machine(made)
    if client_certificate:
        try:
            made.load_cert_chain(client_certificate, client_key)
        except (OSError, ssl.SSLError) as error:
            # The two belong together: of both files the one that cannot be read is named.
            wrong = "client_key" if client_key and unreadable(client_key) else "client_certificate"
            file = client_key if wrong == "client_key" else client_certificate
            raise _unusable(file or "", error, _place(wrong, places)) from error
    return made


def authorities() -> str | None:
    """The file, or the folder, of authorities that a variable of other libraries names, if it is there."""
    for name in _BUNDLES:
        path = os.environ.get(name)
        if path:
            return None if unreadable(path) else path
    return None


def _trusting(path: str, places: Mapping[str, str]) -> ssl.SSLContext:
    try:
        made = ssl.create_default_context(cafile=path)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise _unusable(path, error, _place("certificate", places)) from error
    return made


def _trust_the_machine(made: ssl.SSLContext) -> None:
    """Trusts whom other libraries' variables name, else the system's, else certifi's authorities."""
    path = authorities()
    if path is not None:
        try:
            _load(made, path)
            return
        except (OSError, ValueError) as error:
            _logger.seldom(
                "%r holds no certificates that can be used (REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE): %s."
                " The system's authorities are trusted",
                path,
                error,
            )
    found = ssl.get_default_verify_paths()
    if (
        found.cafile is None
        and os.environ.get(found.openssl_cafile_env)
        and os.path.isfile(found.openssl_cafile)
    ):
        # SSL_CERT_FILE names a file that is not there, which would leave nobody to be trusted.
        _load(made, found.openssl_cafile)
    elif found.cafile is None and not _certificates_in(found.capath):
        # An image without any: the stock exporters bring their own.
        try:
            import certifi
        except ImportError:
            return
        _load(made, certifi.where())


def _load(made: ssl.SSLContext, path: str) -> None:
    if os.path.isdir(path):
        made.load_verify_locations(capath=path)
    else:
        made.load_verify_locations(cafile=path)


def _certificates_in(folder: str | None) -> bool:
    try:
        return folder is not None and any(os.scandir(folder))
    except OSError:
        return False


def _place(name: str, places: Mapping[str, str]) -> str:
    return places.get(name, f"{OTLP}{name.upper()}")


def _unusable(path: str, error: Exception, place: str) -> ConfigurationError:
    reason = unreadable(path) or getattr(error, "reason", None) or str(error)
    return ConfigurationError(
        f"the file {path!r} cannot be used: {reason}", where=place, fix="Name a PEM file that can be read"
    )
