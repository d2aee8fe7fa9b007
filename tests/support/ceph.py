"""A one-node Ceph cluster with its S3 gateway: one monitor, one BlueStore OSD, one RGW.

Needs Debian's packages `radosgw ceph-mon ceph-osd`; any user can run it. It authenticates,
survives `kill` and `restart` with its data, and lets one of many racing create-once PUTs win.
It ignores If-None-Match on a multipart upload's end, refuses a correct If-Match on PUT, and its
error bodies carry a code but no message. `testkey-1` is its one SSE-KMS key.
"""

import os
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from support.daemon import Daemon, find_program, free_port, wait_for_port
from support.requirements import missing
from support.s3 import S3Bucket, create_bucket
from support.waiting import wait_until

PROGRAMS = ("radosgw", "radosgw-admin", "ceph", "ceph-mon", "ceph-osd", "ceph-authtool")
# On disk even where /tmp is memory, which BlueStore's direct I/O does not like; and short, since
# the path of a Unix socket below it may have 107 bytes.
PARENT_FOLDER = Path("/var/tmp")
TEMPLATE = Path(__file__).with_name("ceph.conf.template")
COMMAND_SECONDS = 60.0
START_SECONDS = 90.0

KEYS = {
    "mon.": ("--cap", "mon", "allow *"),
    "client.admin": (
        "--cap",
        "mon",
        "allow *",
        "--cap",
        "osd",
        "allow *",
        "--cap",
        "mgr",
        "allow *",
    ),
    "osd.0": ("--cap", "mon", "allow profile osd", "--cap", "osd", "allow *"),
    "client.rgw": ("--cap", "mon", "allow rw", "--cap", "osd", "allow rwx"),
}


class CephServer:
    """Ceph's S3 gateway with the smallest cluster that can stand behind it."""

    access_key = "AKTEST"
    secret_key = "secrettest"

    def __init__(self) -> None:
        """Prepare a cluster in a new folder; skip the test if Ceph is not installed."""
        _require_programs()
        self.port = free_port()
        self.endpoint_url = f"http://127.0.0.1:{self.port}"
        self.directory = Path(tempfile.mkdtemp(prefix="ceph-", dir=PARENT_FOLDER))
        self._created = False
        options = ["-c", str(self._configuration), "-f"]
        self._monitor = Daemon("mon", self.directory, ["ceph-mon", *options, "-i", "a"])
        self._osd = Daemon("osd", self.directory, ["ceph-osd", *options, "-i", "0"])
        self._gateway = Daemon("rgw", self.directory, ["radosgw", *options, "-n", "client.rgw"])

    @property
    def pids(self) -> list[int]:
        """The ids of the three processes."""
        return [daemon.pid for daemon in self._daemons]

    @property
    def running(self) -> bool:
        """Whether all three processes exist."""
        return all(daemon.running for daemon in self._daemons)

    def start(self) -> Self:
        """Run the cluster and wait until it takes a write."""
        try:
            if not self._created:
                self._create_monitor()
            self._monitor.start()
            if self._created:
                self._run("ceph", "osd", "down", "0")  # else the old map still calls it up
            else:
                self._create_osd()
            self._osd.start()
            wait_until(self._osd_is_up, START_SECONDS, interval=0.1, message=self._report)
            self._gateway.start()
            wait_for_port(self._gateway, self.port, START_SECONDS)
            if not self._created:
                self._create_user()
            self._created = True
            wait_until(self._takes_writes, START_SECONDS, message=self._report, ignore=(OSError,))
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """End the three processes in order, gateway first; the data stays."""
        for daemon in reversed(self._daemons):
            daemon.stop()

    def kill(self) -> None:
        """End the three processes at once, as a power cut would; the data stays."""
        for daemon in reversed(self._daemons):
            daemon.kill()

    def restart(self) -> None:
        """Stop what still runs and start the cluster again on the same port with its data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the gateway: connections are accepted and never answered."""
        self._gateway.pause()

    def resume(self) -> None:
        """Let a paused gateway go on."""
        self._gateway.resume()

    def create_bucket(self) -> S3Bucket:
        """Create an empty bucket with a unique name."""
        return create_bucket(self.endpoint_url, self.access_key, self.secret_key)

    def create_user(self, name: str) -> tuple[str, str]:
        """Create a user who owns nothing yet and return the access key and the secret."""
        keys = f"AK{name.upper()}", f"secret-of-{name}"
        self._run(
            *("radosgw-admin", "user", "create", f"--uid={name}", f"--display-name={name}"),
            *(f"--access-key={keys[0]}", f"--secret={keys[1]}"),
        )
        return keys

    def __enter__(self) -> Self:
        """Start the cluster."""
        try:
            return self.start()
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the cluster and remove its data."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def _daemons(self) -> tuple[Daemon, Daemon, Daemon]:
        return self._monitor, self._osd, self._gateway

    @property
    def _configuration(self) -> Path:
        return self.directory / "ceph.conf"

    def _create_monitor(self) -> None:
        """Write the configuration and keys, and format the monitor's store."""
        fsid, mon_port = str(uuid.uuid4()), free_port()
        for folder in ("mon", "osd", "run", "log", "rgw"):
            (self.directory / folder).mkdir()
        self._configuration.write_text(
            TEMPLATE.read_text().format(
                fsid=fsid, mon_port=mon_port, port=self.port, directory=self.directory
            )
        )
        keyring, monmap = str(self.directory / "keyring"), str(self.directory / "monmap")
        Path(keyring).touch(mode=0o600)
        for name, capabilities in KEYS.items():
            self._run("ceph-authtool", keyring, "--gen-key", "-n", name, *capabilities)
        address = f"[v2:127.0.0.1:{mon_port}]"
        self._run("monmaptool", "--create", "--addv", "a", address, "--fsid", fsid, monmap)
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)

    def _create_osd(self) -> None:
        """Announce the OSD to the monitor and format its store."""
        osd_id = str(uuid.uuid4())
        self._run("ceph", "osd", "new", osd_id, "0")
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd_id)

    def _create_user(self) -> None:
        keys = (f"--access-key={self.access_key}", f"--secret={self.secret_key}")
        self._run("radosgw-admin", "user", "create", "--uid=test", "--display-name=test", *keys)

    def _osd_is_up(self) -> bool:
        self._osd.check_running()
        return "1 up" in self._run("ceph", "osd", "stat")

    def _takes_writes(self) -> bool:
        """Write once: right after a restart the cluster map may still be the old one."""
        self._gateway.check_running()
        self.create_bucket()
        return True

    def _run(self, program: str, *args: str) -> str:
        """Run one of Ceph's own commands on this cluster and return its stdout."""
        command = [program, *args]
        if program not in ("ceph-authtool", "monmaptool"):
            command[1:1] = ["-c", str(self._configuration)]
        done = subprocess.run(
            command,
            env={**os.environ, "CEPH_CONF": str(self._configuration)},
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{command} failed\n{done.stderr}\n{self._report()}"
        return done.stdout

    def _report(self) -> str:
        tails = "\n".join(f"{d.name}: {d.log_tail(1000)}" for d in self._daemons)
        return f"Ceph in {self.directory}\n{tails}"


def _require_programs() -> None:
    absent = [program for program in PROGRAMS if find_program(program) is None]
    if absent:
        missing(f"no Ceph: {', '.join(absent)} not found (install radosgw ceph-mon ceph-osd)")
