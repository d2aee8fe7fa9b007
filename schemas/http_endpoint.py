"""The one small HTTP endpoint of a long-running process: probes and metrics, nothing to change."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from schemas.errors import ConfigurationError
from schemas.settings import EndpointSettings

# What is wrong, empty when nothing is; by path.
Probes = Mapping[str, Callable[[], str]]
CLIENT_SECONDS = 10.0
TEXT = "text/plain; charset=utf-8"


@contextmanager
def serving(settings: EndpointSettings, probes: Probes) -> Iterator[None]:
    """Answer `probes` and `/metrics` in threads during the block; nothing where no port is set.

    Raises:
        ConfigurationError: The address cannot be listened on.
    """
    if settings.http_port is None:
        yield
        return
    place = (settings.http_address, settings.http_port)
    try:
        server = ThreadingHTTPServer(place, _handler(probes))
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {place[0]} port {place[1]}: {error.strerror or error}; choose "
            "others by BULKSCORE_HTTP_ADDRESS and BULKSCORE_HTTP_PORT"
        ) from error
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="http", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def _handler(probes: Probes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = CLIENT_SECONDS
        server_version = "bulkscore"
        sys_version = ""

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                from schemas.exposition import CONTENT_TYPE, exposed

                self._answer(HTTPStatus.OK, exposed(), CONTENT_TYPE)
            elif path in probes:
                wrong = probes[path]()
                status = HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK
                self._answer(status, f"{wrong or 'ok'}\n".encode())
            else:
                self._answer(HTTPStatus.NOT_FOUND, f"{' '.join((*probes, '/metrics'))}\n".encode())

        do_HEAD = do_GET

        def _answer(self, status: HTTPStatus, body: bytes, content_type: str = TEXT) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: a probe every few seconds is no event."""

    return Handler
