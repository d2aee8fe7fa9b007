"""Redis behind sentinels, which say who is the primary now.

One URL names them all:
`sentinel://user:password@host1:26379,host2:26379/0?master_name=mymaster`; with TLS `sentinels://`.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from schemas.redis_tls import tls_options

SCHEMES = ("sentinel", "sentinels")
_PORT = 26379
_OPTIONS = {"master_name", "sentinel_username", "sentinel_password"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentinels:
    """Where the sentinels are, whom they look after, and who we are to both."""

    nodes: tuple[tuple[str, int], ...]
    master_name: str
    database: int
    # As the URL has it, still encoded and with its `@`; to Redis, not to the sentinels.
    login: str
    sentinel_login: dict[str, str]
    tls: dict[str, Any]

    def client(self, **options: Any) -> Any:
        """Return a client of whoever is the primary when it connects; nothing is sent yet."""
        from redis.sentinel import Sentinel

        user, _, password = self.login.removesuffix("@").partition(":")
        waits = {k: v for k, v in options.items() if k.startswith("socket_") or k == "retry"}
        watchers: Any = Sentinel(  # type: ignore[no-untyped-call]
            self.nodes,
            sentinel_kwargs={**waits, **self._to_sentinels},
            username=unquote(user) or None,
            password=unquote(password) or None,
            db=self.database,
            **({"ssl": True, **self.tls} if self.tls else {}),
            **options,
        )
        return watchers.master_for(self.master_name)

    @property
    def kombu_url(self) -> str:
        """The URL in the form of kombu, which names each sentinel apart."""
        return ";".join(
            f"sentinel://{self.login}{f'[{host}]' if ':' in host else host}:{port}/{self.database}"
            for host, port in self.nodes
        )

    @property
    def kombu_options(self) -> dict[str, Any]:
        """What kombu is told beside the URL."""
        return {"master_name": self.master_name, "sentinel_kwargs": self._to_sentinels}

    @property
    def _to_sentinels(self) -> dict[str, Any]:
        return {**self.sentinel_login, **({"ssl": True, **self.tls} if self.tls else {})}


def is_sentinel(url: str) -> bool:
    """Say whether a URL names sentinels."""
    return url.partition("://")[0] in SCHEMES


def sentinels(url: str) -> Sentinels:
    """Read a URL of sentinels.

    Raises:
        ValueError: It is not complete; says what is missing, and nothing of its secrets.
    """
    parts = urlsplit(url)
    login, at, hosts = parts.netloc.rpartition("@")
    asked = {k: v[-1] for k, v in parse_qs(parts.query).items() if not k.startswith("ssl_")}
    if unknown := asked.keys() - _OPTIONS:
        raise ValueError(f"unknown option {sorted(unknown)[0]}: {', '.join(sorted(_OPTIONS))}")
    if not asked.get("master_name"):
        raise ValueError("sentinels look after many: say whom you want with ?master_name=…")
    database = parts.path.strip("/") or "0"
    if not database.isdecimal():
        raise ValueError(f"the database is a number, not {database!r}")
    return Sentinels(
        nodes=tuple(_node(host) for host in hosts.split(",")),
        master_name=asked["master_name"],
        database=int(database),
        login=login + at,
        sentinel_login={
            name.removeprefix("sentinel_"): asked[name]
            for name in ("sentinel_username", "sentinel_password")
            if name in asked
        },
        tls=tls_options(url),
    )


def _node(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port or _PORT
    except ValueError:
        host = None
    if not host:
        raise ValueError(f"expected host:port of a sentinel, not {text!r}")
    return host, port
