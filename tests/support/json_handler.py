"""What the small servers of the tests have in common: they read JSON, and answer with it or with chunks."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from typing import Any

Json = dict[str, Any]


class JsonHandler(BaseHTTPRequestHandler):
    """Speaks HTTP/1.1 and logs nothing."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def read_body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def send_json(self, status: int, document: Any) -> None:
        self.send_body(status, "application/json", json.dumps(document).encode())

    def send_body(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def begin_chunks(self, content_type: str) -> None:
        """Send the head of a stream; `send_chunk(b"")` ends it."""
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def send_chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
