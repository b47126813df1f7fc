"""Whose certificates are trusted: by our settings, by those of other libraries, by the machine's."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from spanwise.deliver.destinations import Destination
from spanwise.deliver.otlp_http import Client
from spanwise.deliver.tls import authorities
from spanwise.errors import ConfigurationError

VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


class _Yes(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def server(pair: tuple[str, str], *, asks: bool = False) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(pair[0])
    made = HTTPServer(("127.0.0.1", 0), _Yes)
    made.socket = context.wrap_socket(made.socket, server_side=True)
    made.handle_error = lambda *_: None  # type: ignore[method-assign, assignment]
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{made.server_port}/"
    finally:
        made.shutdown()
        made.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def send(url: str, **more: str) -> str:
    """The reason why nothing was delivered; empty where it was."""
    client = Client(Destination(url=url, timeout=60, **more))  # type: ignore[arg-type]
    try:
        return client.send([b"x"]).reason
    finally:
        client.close()


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_authorities_of_other_libraries_variables_are_trusted(
    variable: str, pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with server(pair) as url:
        assert send(url) == "SSLCertVerificationError"
        monkeypatch.setenv(variable, pair[0])
        assert send(url) == ""


def test_our_own_setting_goes_before_them(
    pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "gone.pem"))
    with server(pair) as url:
        assert send(url, certificate=pair[0]) == ""


def test_one_that_cannot_be_used_leaves_the_system_s(
    pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "text.pem").write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", pair[0])
    with server(pair) as url:
        for name in ("gone.pem", "text.pem"):
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / name))
            assert send(url) == ""
    assert "REQUESTS_CA_BUNDLE" in caplog.text


def test_a_variable_that_names_no_file_does_not_leave_nobody_to_be_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = ssl.create_default_context()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "gone.pem"))
    client = Client(Destination(url="https://localhost"))
    assert client._tls is not None
    assert len(client._tls.get_ca_certs()) >= len(machine.get_ca_certs())


def test_a_machine_without_authorities_has_those_of_the_stock_exporters(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    paths = ssl.get_default_verify_paths()
    nowhere = paths._replace(cafile=None, capath=str(tmp_path), openssl_cafile=str(tmp_path / "none"))
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: nowhere)
    client = Client(Destination(url="https://localhost"))
    assert client._tls is not None
    assert len(client._tls.get_ca_certs()) > 50


def test_a_client_certificate_is_shown_and_the_file_at_fault_is_named(
    pair: tuple[str, str], tmp_path: Path
) -> None:
    certificate, key = pair
    with server(pair, asks=True) as url:
        assert send(url, certificate=certificate, client_certificate=certificate, client_key=key) == ""
        assert send(url, certificate=certificate) != ""
    gone = str(tmp_path / "gone.pem")
    for files, at_fault in (
        ({"client_certificate": gone, "client_key": key}, "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"),
        ({"client_certificate": certificate, "client_key": gone}, "OTEL_EXPORTER_OTLP_CLIENT_KEY"),
        ({"certificate": gone}, "OTEL_EXPORTER_OTLP_CERTIFICATE"),
        ({"certificate": key}, "OTEL_EXPORTER_OTLP_CERTIFICATE"),
    ):
        with pytest.raises(ConfigurationError, match=f"cannot be used: .*{at_fault}"):
            Client(Destination(url="https://localhost", **files))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="argument traces_certificate"):
        Client(
            Destination(
                url="https://localhost",
                certificate=gone,
                places={"certificate": "argument traces_certificate"},
            )
        )


def test_a_pipe_for_a_file_of_authorities_makes_nobody_wait(
    pair: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = str(tmp_path / "pipe.pem")
    os.mkfifo(pipe)
    certificate, key = pair
    for files, at_fault in (
        ({"certificate": pipe}, "OTEL_EXPORTER_OTLP_CERTIFICATE"),
        ({"client_certificate": pipe, "client_key": key}, "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"),
        ({"client_certificate": certificate, "client_key": pipe}, "OTEL_EXPORTER_OTLP_CLIENT_KEY"),
    ):
        with pytest.raises(ConfigurationError, match=f"Not a regular file .*{at_fault}"):
            Client(Destination(url="https://localhost", **files))  # type: ignore[arg-type]
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", pipe)
    monkeypatch.setenv("CURL_CA_BUNDLE", certificate)
    assert authorities() == certificate


@pytest.mark.parametrize("held", ["", "nothing of the kind", "-----BEGIN CERTIFICATE-----\nabc"])
def test_ssl_cert_file_without_certificates_is_told_and_leaves_the_machine_s(
    held: str,
    pair: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text(held)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(wrong))
    paths = ssl.get_default_verify_paths()._replace(openssl_cafile=pair[0])
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    client = Client(Destination(url="https://localhost"))
    assert client._tls is not None
    assert len(client._tls.get_ca_certs()) == 1
    (message,) = caplog.messages
    assert message.startswith(f"{str(wrong)!r} cannot be used (SSL_CERT_FILE): ")
