"""The S3 server's front: a stateless gateway in a process of its own, which may be killed.

It stands before moto, whose objects live in its memory, so that "the S3 server was killed" does
not mean "everything is gone"; Ceph's gateway is as stateless. It spoils answers as the JSON file
of its orders says: by one of `SPOILERS`, with the probability `rate`.

Run as a program of its own (`front.py PORT UPSTREAM_PORT ORDERS`), so it imports nothing of ours.
"""

import http.client
import json
import random
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

UPSTREAM_SECONDS = 60
HOP_HEADERS = frozenset({"connection", "transfer-encoding", "keep-alive", "expect"})


class Handler(BaseHTTPRequestHandler):
    """Passes a request on, or spoils it."""

    protocol_version = "HTTP/1.1"
    upstream_port = 0
    orders = Path()

    def handle_one_request(self) -> None:
        """Answer one request, whatever its method."""
        self.raw_requestline = self.rfile.readline(65_537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        spoiler = self._spoiler()
        with suppress(ConnectionError):
            spoiler(self, body)

    def _spoiler(self) -> "Spoiler":
        orders = {}
        with suppress(FileNotFoundError):
            orders = json.loads(self.orders.read_text(encoding="utf-8"))
        if random.random() < orders.get("rate", 0.0):
            return SPOILERS[orders["spoil"]]
        return pass_on

    def fetch(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """Return the server's answer: status, headers, body."""
        upstream = http.client.HTTPConnection(
            "127.0.0.1", self.upstream_port, timeout=UPSTREAM_SECONDS
        )
        headers = {n: v for n, v in self.headers.items() if n.lower() not in HOP_HEADERS}
        upstream.request(self.command, self.path, body, headers)
        response = upstream.getresponse()
        content = response.read()
        upstream.close()
        return response.status, response.getheaders(), content

    def send_answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Send an answer; one to HEAD keeps the length of the body it leaves out."""
        length = str(len(body))
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() == "content-length":
                length = value if self.command == "HEAD" else length
            elif name.lower() not in HOP_HEADERS:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def reset(self) -> None:
        """End the connection with RST."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01" + b"\x00" * 7)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Keep the log short."""


Spoiler = Callable[[Handler, bytes], None]


def pass_on(request: Handler, body: bytes) -> None:
    """Answer as the server does."""
    request.send_answer(*request.fetch(body))


def slow_down(request: Handler, body: bytes) -> None:
    """Refuse: too many requests."""
    request.send_answer(503, [("Content-Type", "application/xml")], _error("SlowDown"))


def internal_error(request: Handler, body: bytes) -> None:
    """Refuse: the server has a problem of its own."""
    request.send_answer(500, [("Content-Type", "application/xml")], _error("InternalError"))


def access_denied(request: Handler, body: bytes) -> None:
    """Refuse: these credentials may not."""
    request.send_answer(403, [("Content-Type", "application/xml")], _error("AccessDenied"))


def lost_answer(request: Handler, body: bytes) -> None:
    """Do what was asked and break off before the answer: the client cannot know."""
    request.fetch(body)
    request.reset()


def torn_body(request: Handler, body: bytes) -> None:
    """Announce the whole body, send half of it, and break off."""
    status, headers, content = request.fetch(body)
    if len(content) < 2 or request.command == "HEAD":
        request.send_answer(status, headers, content)
        return
    request.send_response_only(status)
    for name, value in headers:
        if name.lower() not in HOP_HEADERS:
            request.send_header(name, value)
    request.end_headers()
    request.wfile.write(content[: len(content) // 2])
    request.reset()


SPOILERS: dict[str, Spoiler] = {
    spoiler.__name__: spoiler
    for spoiler in (slow_down, internal_error, access_denied, lost_answer, torn_body)
}


def _error(code: str) -> bytes:
    head = '<?xml version="1.0" encoding="UTF-8"?>'
    return f"{head}<Error><Code>{code}</Code><Message>on purpose</Message></Error>".encode()


class Server(ThreadingHTTPServer):
    """Ends connections by closing them: a FIN first would make an end in order of every reset."""

    daemon_threads = True

    def shutdown_request(self, request: Any) -> None:
        self.close_request(request)


def serve(port: int, upstream_port: int, orders: Path) -> None:
    """Serve for ever."""
    Handler.upstream_port = upstream_port
    Handler.orders = orders
    Server(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
