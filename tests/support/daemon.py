"""A server as a child process: started in the foreground, paused, killed and stopped by its pid."""

import os
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from support.guard import die_with_parent
from support.waiting import wait_until

# Below Linux's ephemeral range (32768 up): while a server on an ephemeral port is down, a client
# that tries to reconnect may be given that very port as its own and end up talking to itself.
PORTS = range(20_000, 32_000)
STOP_SECONDS = 10.0


class Daemon:
    """One server process and its log file; a context manager that starts and stops it."""

    def __init__(self, name: str, directory: Path, command: Sequence[str]) -> None:
        """Prepare a server that is not started yet.

        Args:
            name: Shown in messages and in the name of the log file.
            directory: Existing folder for the log.
            command: Program and arguments that run the server in the foreground.
        """
        self.name = name
        self.log = directory / f"{name}.out"
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The id of the latest process."""
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process exists, paused or not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Run the server and wait until it is ready."""
        assert not self.running, f"{self.name} runs already"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal is for pytest
                preexec_fn=die_with_parent(),
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def restart(self) -> None:
        """Stop the server if it still runs, and start it again on the same port."""
        self.stop()
        self.start()

    def check_running(self) -> None:
        """Fail with the log if the process has ended."""
        if not self.running:
            code = None if self._process is None else self._process.returncode
            raise AssertionError(f"{self.name} ended with {code}\n{self.log_tail()}")

    def pause(self) -> None:
        """Stop the process where it is (SIGSTOP): connections stay open, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End the process at once (SIGKILL), as a crash would."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """End the process in order (SIGTERM), or by SIGKILL if it takes too long."""
        if self._process is None or self._process.poll() is not None:
            return
        self.resume()  # a paused process would never see the SIGTERM
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def __enter__(self) -> Self:
        """Start the server."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the server."""
        self.stop()

    def _wait_until_ready(self) -> None:
        """Return when the server answers; a subclass knows how to ask."""

    def log_tail(self, characters: int = 3000) -> str:
        """Return the end of the log."""
        return self.log.read_text(errors="replace")[-characters:] if self.log.exists() else ""


def free_port() -> int:
    """Pick a TCP port on 127.0.0.1 that nothing uses at this moment."""
    chooser = random.SystemRandom()  # a seeded choice would send parallel runs to the same ports
    for port in chooser.sample(PORTS, 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"no free port among 200 of {PORTS}")


def accepts_connections(port: int) -> bool:
    """Say whether something listens on 127.0.0.1:port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for_port(daemon: Daemon, port: int, timeout: float) -> None:
    """Wait until the daemon listens; fail with its log if it ends first."""

    def listening() -> bool:
        daemon.check_running()
        return accepts_connections(port)

    wait_until(
        listening,
        timeout,
        interval=0.05,
        message=lambda: f"{daemon.name} on port {port}\n{daemon.log_tail()}",
    )


def find_program(name: str) -> str | None:
    """Return the program's path; the system folders are searched whatever PATH says."""
    folders = [os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"]
    return shutil.which(name, path=os.pathsep.join(folders))
