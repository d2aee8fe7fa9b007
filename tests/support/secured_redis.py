"""A Redis server as in production: TLS alone, and the users of `k8s/base/redis/users.acl`.

The server is Debian's `redis-server`: the wheel that the other tests use has no TLS.
"""

import secrets
import subprocess
from pathlib import Path
from typing import Any

import redis

from support.certificates import Authority
from support.daemon import find_program, free_port
from support.redis_daemon import RedisDaemon
from support.requirements import missing

DEPLOYED = Path(__file__).parents[2] / "k8s/base/redis"
USERS = ("producer", "worker", "flower", "keda")
# Of the tests alone, to look behind the scenes: what was denied, and what lies where.
ADMIN = "admin"


class SecuredRedis(RedisDaemon):
    """A server that speaks TLS only, with a user for each role and none without a password."""

    def __init__(self, folder: Path) -> None:
        """Make certificates, passwords and the file of users in the existing `folder`."""
        program = find_program("redis-server")
        if program is None:
            missing("no Redis with TLS: redis-server not found (install redis-server)")
        self.port = free_port()
        self.authority = Authority(folder)
        self.passwords = {user: secrets.token_urlsafe(18) for user in (*USERS, ADMIN)}
        certificate, key = self.authority.issue("redis", "localhost", "127.0.0.1")
        command = [
            str(program),
            *("--port", "0", "--tls-port", str(self.port), "--bind", "127.0.0.1", "127.0.0.2"),
            *("--tls-cert-file", str(certificate), "--tls-key-file", str(key)),
            *("--tls-ca-cert-file", str(self.authority.file), "--tls-auth-clients", "optional"),
            *("--aclfile", str(self._users_file(folder))),
            *("--dir", str(folder), "--save", "", "--daemonize", "no"),
            *("--acllog-max-len", "1000"),
        ]
        super().__init__("redis-tls", folder, command)

    def url(self, user: str, *, password: str | None = None, host: str = "127.0.0.1") -> str:
        """Return the URL by which a user reaches database 0."""
        secret = password or self.passwords.get(user, "any")
        return f"rediss://{user}:{secret}@{host}:{self.port}/0"

    def env(self, user: str) -> dict[str, str]:
        """Return the environment in which a command is this user."""
        return {
            "BULKSCORE_REDIS_URL": self.url(user),
            "BULKSCORE_REDIS_CA_FILE": str(self.authority.file),
        }

    def client(self, user: str = ADMIN, **options: Any) -> redis.Redis:
        """Return a new client of this user; the caller closes it, best with a `with` statement."""
        trusted = {"ssl_ca_certs": str(self.authority.file), "decode_responses": True}
        return redis.Redis.from_url(self.url(user), **{**trusted, **options})

    def denied(self) -> list[str]:
        """Return what was denied since the last call, as "user reason object"."""
        with self.client() as client:
            entries: Any = client.acl_log(count=1000)
            client.acl_log_reset()
        return sorted(f"{e['username']} {e['reason']} {e['object']}" for e in entries)

    def _users_file(self, folder: Path) -> Path:
        given = folder / "secrets"
        given.mkdir()
        for user in USERS:
            (given / f"{user}-password").write_text(self.passwords[user] + "\n")
        filled = subprocess.run(
            ["sh", DEPLOYED / "fill-users.sh", DEPLOYED / "users.acl", given],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        file = folder / "users.acl"
        file.write_text(f"{filled}user {ADMIN} on >{self.passwords[ADMIN]} ~* &* +@all\n")
        return file
