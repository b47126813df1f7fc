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
        _refuse_pipes(client_certificate, "client_certificate", places)
        _refuse_pipes(client_key, "client_key", places)
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
        if path and not unreadable(path):
            return path
    return None


def _trusting(path: str, places: Mapping[str, str]) -> ssl.SSLContext:
    _refuse_pipes(path, "certificate", places)
    try:
        made = ssl.create_default_context(cafile=path)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise _unusable(path, error, _place("certificate", places)) from error
    return made


def _refuse_pipes(path: str | None, name: str, places: Mapping[str, str]) -> None:
    """OpenSSL would wait for somebody to write to one, and the application with it."""
    if path and unreadable(path):
        raise _unusable(path, OSError(), _place(name, places))


def _trust_the_machine(made: ssl.SSLContext) -> None:
    """Trusts whom other libraries' variables name, else the system's, else certifi's authorities."""
    path = authorities()
    if path is not None:
        try:
            _load(made, path)
            return
        except (OSError, ValueError) as error:
            _logger.seldom(
                "%r cannot be used (REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE): %s."
                " The system's certificates are used",
                path,
                _plain(error),
            )
    found = ssl.get_default_verify_paths()
    if _names_no_authorities(made, found.openssl_cafile_env) and os.path.isfile(found.openssl_cafile):
        # It would leave nobody to be trusted.
        _load(made, found.openssl_cafile)
    elif found.cafile is None and not _certificates_in(found.capath):
        # An image without any: the stock exporters bring their own.
        try:
            import certifi
        except ImportError:
            return
        _load(made, certifi.where())


def _names_no_authorities(made: ssl.SSLContext, variable: str) -> bool:
    """Whether OpenSSL's own variable names a file in which it finds none."""
    path = os.environ.get(variable)
    if not path:
        return False
    if not os.path.isfile(path) or unreadable(path):
        return True  # which the check of the environment has told
    try:
        made.load_verify_locations(cafile=path)
    except (OSError, ValueError) as error:
        _logger.seldom(
            "%r cannot be used (%s): %s. The system's certificates are used", path, variable, _plain(error)
        )
        return True
    return False


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


def _plain(error: Exception) -> str:
    """Why a file of certificates cannot be used, without OpenSSL's own terms."""
    if isinstance(error, ssl.SSLError):
        mismatch = error.reason == "KEY_VALUES_MISMATCH"
        return "certificate and key do not go together" if mismatch else "it holds no PEM that can be read"
    return getattr(error, "strerror", None) or str(error)


def _unusable(path: str, error: Exception, place: str) -> ConfigurationError:
    reason = unreadable(path) or _plain(error)
    return ConfigurationError(
        f"the file {path!r} cannot be used: {reason}", where=place, fix="Name a PEM file that can be read"
    )
