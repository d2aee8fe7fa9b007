"""A gateway before an S3 server that fails on demand, as a store does on a bad night."""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from support.s3 import S3Bucket

# Says for method and path of a request whether it is to be answered "503 Slow Down".
Fails = Callable[[str, str], bool]

SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?>'
    b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
)
HOP_HEADERS = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive"})


class FlakyGateway:
    """Passes requests on to the server behind, except those that `fails` picks."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.fails: Fails = lambda _method, _path: False
        self.failed = 0
        self.url = ""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        if self.fails(request.command, request.path):
            self.failed += 1
            send(request, 503, [("Content-Type", "application/xml")], SLOW_DOWN)
            return
        connection = http.client.HTTPConnection(self.upstream, timeout=30)
        connection.request(request.command, request.path, body, dict(request.headers))
        response = connection.getresponse()
        send(request, response.status, response.getheaders(), response.read())
        connection.close()


def send(
    request: BaseHTTPRequestHandler, status: int, headers: list[tuple[str, str]], body: bytes
) -> None:
    """Send a whole answer; one to HEAD keeps the length of the body it leaves out."""
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
        request.wfile.write(body)


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
