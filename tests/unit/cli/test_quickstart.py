"""What quickstart does that does not need a cluster."""

from __future__ import annotations

import http.server
import threading

import pytest

from cli.quickstart import _fetch


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello\nmore")

    def log_message(self, *_: object) -> None:
        """Quiet."""


def test_nodes_are_asked_directly_whatever_proxy_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9/")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setattr("cli.quickstart.FETCH_SECONDS", 0.0)
    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            assert _fetch(f"http://127.0.0.1:{server.server_port}/") == "hello"
        finally:
            server.shutdown()
