"""A gateway before an S3 server that fails on demand, as a store does on a bad night."""

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

from support.s3 import S3Bucket


@dataclass(frozen=True)
class Refusal:
    """An answer of S3 that is not the wanted one."""

    status: int
    code: str

    @property
    def body(self) -> bytes:
        """The answer as S3 writes it."""
        error = f"<Error><Code>{self.code}</Code><Message>said the test</Message></Error>"
        return f'<?xml version="1.0" encoding="UTF-8"?>{error}'.encode()


SLOW_DOWN = Refusal(503, "SlowDown")
NOT_IMPLEMENTED = Refusal(501, "NotImplemented")

# Says for method and path of a request whether it is to fail: with "503 Slow Down", or how.
Fails = Callable[[str, str], bool | Refusal]
# Says for method and path of a request whether its answer is to break off in its middle.
Tears = Callable[[str, str], bool]

HOP_HEADERS = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive"})


class FlakyGateway:
    """Passes requests on to the server behind, except those that `fails` picks."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.fails: Fails = lambda _method, _path: False
        self.tears: Tears = lambda _method, _path: False
        # Says for method and path of a request whether it is carried out and never answered.
        self.loses: Tears = lambda _method, _path: False
        # Down: drops every connection; frozen: takes requests and says nothing.
        self.outage: Literal["down", "frozen"] | None = None
        # What the store makes of If-None-Match and If-Match: many have never heard of them.
        self.if_none_match: Literal["honoured", "ignored", "refused"] = "honoured"
        self.if_match: Literal["honoured", "ignored", "refused"] = "honoured"
        self.failed = 0
        self.lost = 0
        self.torn = 0
        self.requests: list[tuple[str, str]] = []
        self.url = ""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        self.requests.append((request.command, request.path))
        if self.outage is not None:
            while self.outage == "frozen":
                time.sleep(0.1)
            request.close_connection = True
            return
        refusal = self._refusal(request)
        if refusal is not None:
            self.failed += 1
            headers = [("Content-Type", "application/xml")]
            send(request, refusal.status, headers, refusal.body)
            return
        if self.if_none_match == "ignored":
            del request.headers["If-None-Match"]
        if self.if_match == "ignored":
            del request.headers["If-Match"]
        connection = http.client.HTTPConnection(self.upstream, timeout=30)
        connection.request(request.command, request.path, body, dict(request.headers))
        response = connection.getresponse()
        if self.loses(request.command, request.path):
            self.lost += 1
            request.close_connection = True
            connection.close()
            return
        torn = self.tears(request.command, request.path)
        self.torn += torn
        send(request, response.status, response.getheaders(), response.read(), torn=torn)
        connection.close()

    def _refusal(self, request: BaseHTTPRequestHandler) -> Refusal | None:
        if self.if_none_match == "refused" and "If-None-Match" in request.headers:
            return NOT_IMPLEMENTED
        puts = request.command == "PUT"
        if self.if_match == "refused" and puts and "If-Match" in request.headers:
            return NOT_IMPLEMENTED
        found = self.fails(request.command, request.path)
        return (SLOW_DOWN if found is True else found) or None


def send(
    request: BaseHTTPRequestHandler,
    status: int,
    headers: list[tuple[str, str]],
    body: bytes,
    *,
    torn: bool = False,
) -> None:
    """Send an answer, or half of it; one to HEAD keeps the length of the body it leaves out."""
    request.send_response_only(status)
    length = str(len(body))
    for name, value in headers:
        if name.lower() == "content-length":
            length = value
        elif name.lower() not in HOP_HEADERS:
            request.send_header(name, value)
    request.send_header("Content-Length", length)
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body[: len(body) // 2] if torn else body)
    request.close_connection = request.close_connection or torn


@contextmanager
def flaky_gateway(bucket: S3Bucket) -> Iterator[FlakyGateway]:
    """Run a gateway before the server of `bucket` in this process; its URL is `gateway.url`."""
    gateway = FlakyGateway(bucket.endpoint_url)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65_537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            gateway.answer(self)

        def log_message(self, *_: object) -> None:
            """Keep the output of the tests clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="flaky-s3")
    thread.start()
    gateway.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield gateway
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
