"""Network links that can be cut, hung and slowed: small TCP proxies on 127.0.0.1."""

import asyncio
import socket
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress

from support.daemon import free_port

READ_BYTES = 65_536


class Link:
    """One way to a server. What is done to it holds for old and new connections alike.

    Made by `Links.add`; its methods may be called from any thread.
    """

    def __init__(self, target_port: int, loop: asyncio.AbstractEventLoop) -> None:
        self.port = free_port()
        self._target_port = target_port
        self._loop = loop
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._delay_seconds = 0.0

    def cut(self) -> None:
        """Reset every connection and refuse new ones, as a server that is down."""
        self._do(self._close())

    def hang(self) -> None:
        """Let nothing through and say nothing, as a network that drops packets."""
        self._loop.call_soon_threadsafe(self._flows.clear)

    def slow(self, delay_seconds: float) -> None:
        """Hold everything that is sent, in either direction, for so long."""
        self._delay_seconds = delay_seconds

    def heal(self) -> None:
        """Be a good network again; what hung goes through now, as after a retransmission."""
        self._delay_seconds = 0.0
        self._loop.call_soon_threadsafe(self._flows.set)
        self._do(self._listen())

    def _do(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Join one client to the server until either side ends or fails."""
        ends = {writer}
        self._writers.add(writer)
        try:
            there = await asyncio.open_connection("127.0.0.1", self._target_port)
            ends.add(there[1])
            self._writers |= ends
            pumps = (self._pump(reader, there[1]), self._pump(there[0], writer))
            await asyncio.gather(*pumps)
        except OSError:  # the server is down, or the link was cut
            _reset(writer)
        finally:
            self._writers -= ends
            for end in ends:
                end.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(READ_BYTES):
            await asyncio.sleep(self._delay_seconds)
            await self._flows.wait()
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


class Links:
    """All links of a test, served by one thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._links: list[Link] = []

    def add(self, target_port: int) -> Link:
        """Open a new way to the server on 127.0.0.1:`target_port`."""
        link = Link(target_port, self._loop)
        link.heal()
        self._links.append(link)
        return link

    def close(self) -> None:
        """Cut all links."""
        for link in self._links:
            link.cut()


@contextmanager
def network() -> Iterator[Links]:
    """Run links for the time of the block."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _loop, _context: None)  # connections are broken on purpose
    thread = threading.Thread(target=loop.run_forever, name="links", daemon=True)
    thread.start()
    links = Links(loop)
    try:
        yield links
    finally:
        links.close()
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result(timeout=10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST instead of FIN."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError):
            linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"  # on, 0 seconds
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
