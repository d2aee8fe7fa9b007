"""Settings, read once where a process starts and passed down as plain values.

Every setting is an environment variable `BULKSCORE_<NAME>`; `BULKSCORE_<NAME>_FILE` names a file
that holds the value instead (for mounted secrets). Small classes, one per concern.
"""

import os
import re
import tempfile
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from schemas.errors import ConfigurationError
from schemas.redis_sentinel import is_sentinel, sentinels
from schemas.redis_tls import verified

PREFIX = "BULKSCORE_"
DEFAULT_VISIBILITY_SECONDS = 60.0


class _FileTwinSource(EnvSettingsSource):
    """Reads `BULKSCORE_X_FILE` where `BULKSCORE_X` is not set."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the stripped content of the file that the twin variable names."""
        variable = f"{self.env_prefix}{field_name}_file".upper()
        path = os.environ.get(variable)
        if not path:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").strip(), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise ConfigurationError(
                f"{variable} names {path}, which cannot be read: {reason}"
            ) from error


class _Settings(BaseSettings):
    # An empty variable counts as not set: templates leave such.
    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="ignore", allow_inf_nan=False
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line over environment over secret files over defaults."""
        return init_settings, env_settings, _FileTwinSource(settings_cls)


SettingsT = TypeVar("SettingsT", bound=_Settings)


_REDIS_SCHEMES = ("redis", "rediss", "unix")


class BrokerSettings(_Settings):
    """Where Redis is and how long to wait for it."""

    # Of TLS: who signed the certificate of Redis (default: whom the machine trusts), and what we
    # show ourselves where Redis asks for it.
    redis_ca_file: Path | None = None
    redis_cert_file: Path | None = None
    redis_key_file: Path | None = None
    redis_url: str = Field(default="redis://127.0.0.1:6379/0", repr=False, validate_default=True)
    redis_connect_timeout_seconds: float = Field(default=3.0, gt=0)
    redis_socket_timeout_seconds: float = Field(default=5.0, gt=0)

    @field_validator("redis_url")
    @classmethod
    def _must_be_a_redis_url(cls, url: str, info: ValidationInfo) -> str:
        files = {
            "ssl_ca_certs": info.data.get("redis_ca_file"),
            "ssl_certfile": info.data.get("redis_cert_file"),
            "ssl_keyfile": info.data.get("redis_key_file"),
        }
        if is_sentinel(url):
            sentinels(url)
            return verified(url, files)
        try:
            parts = urlsplit(url)
            known = parts.scheme in _REDIS_SCHEMES
            place = parts.path if parts.scheme == "unix" else parts.hostname
            # Reading the port checks it.
            port = parts.port or 6379
        except ValueError:
            raise ValueError("not a URL") from None
        if not (known and place and port):
            raise ValueError(
                "expected redis://, rediss://, unix:// or sentinel://, then a host or a path"
            )
        return verified(url, files)


class StorageSettings(_Settings):
    """How object storage is reached; credentials come from the usual AWS variables."""

    # `BULKSCORE_S3_ENDPOINT_URL` goes before the variables of the AWS tools.
    s3_endpoint_url: str | None = Field(
        default_factory=lambda: (
            os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None
        ),
        validate_default=True,
    )
    # Where objects may be read and written: locations, separated by commas, each with all that lies
    # below it. Unset: everywhere.
    allowed_uris: str = ""
    # Every object is written with server-side encryption (SSE-KMS) by this key.
    s3_sse_kms_key_id: str | None = None
    s3_connect_timeout_seconds: float = Field(default=3.0, gt=0)
    s3_read_timeout_seconds: float = Field(default=20.0, gt=0)
    # s3fs multiplies: requests = retries² + 1 for one call that always fails.
    s3_retries: int = Field(default=2, ge=1, le=5)

    @property
    def allowed(self) -> tuple[str, ...]:
        """The locations of `allowed_uris`, none for everywhere."""
        return tuple(uri.strip() for uri in self.allowed_uris.split(",") if uri.strip())

    @field_validator("allowed_uris")
    @classmethod
    def _must_be_locations(cls, uris: str) -> str:
        for uri in filter(None, map(str.strip, uris.split(","))):
            if not uri.startswith(("s3://", "file:///", "/")) or uri == "s3://":
                raise ValueError(f"{uri}: expected s3://bucket/…, file:///… or an absolute path")
        return uris

    @field_validator("s3_endpoint_url")
    @classmethod
    def _must_be_an_http_url(cls, url: str | None) -> str | None:
        try:
            parts = urlsplit(url or "")
            # Reading the port checks it.
            sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            sound = False
        if url is not None and not sound:
            raise ValueError("expected http:// or https:// and a host, here or in AWS_ENDPOINT_URL")
        return url


class RegistrySettings(_Settings):
    """Where registered models are."""

    models_uri: str | None = None


class EndpointSettings(_Settings):
    """Where a long-running process answers probes and shows metrics."""

    http_port: int | None = Field(default=None, ge=1, le=65_535)  # None: nowhere
    http_address: str = "127.0.0.1"
    # Files that say how a worker is; a temporary folder when None.
    run_dir: Path | None = None


class ScheduleSettings(_Settings):
    """How chunks are fed to the queue and how long an attempt may keep one."""

    # Messages of one job on the queue at most: enough to keep a large fleet busy between two
    # passes of the reconciler, and all that a lost Redis can forget.
    window_chunks: int = Field(default=256, ge=1)
    reconcile_seconds: float = Field(default=2.0, gt=0)
    lease_seconds: float = Field(default=45.0, gt=0)
    # An enqueued chunk that nobody began within this time, while messages are missing from the
    # queue, is enqueued again.
    enqueue_grace_seconds: float = Field(default=90.0, gt=0)
    max_attempts: int = Field(default=4, ge=1)
    retry_base_seconds: float = Field(default=2.0, gt=0)
    retry_cap_seconds: float = Field(default=300.0, gt=0)


class WorkerSettings(_Settings):
    """What one worker process is given."""

    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    # Wall time after which a chunk is ended between two batches; the hard limit that kills the
    # child lies a minute above it.
    chunk_time_limit_seconds: int = Field(default=3600, ge=1)
    # Without an advance for so long (loading the model counts as one) the lease runs out.
    stall_seconds: float = Field(default=600.0, gt=0)
    # Time after which the broker hands a message out again when its worker vanished; a live worker
    # keeps extending it, so this is the recovery time and no bound on the length of a chunk. The
    # same for all workers of a broker.
    visibility_seconds: float = Field(default=DEFAULT_VISIBILITY_SECONDS, ge=1)
    torch_threads: int = Field(default=0, ge=0)  # 0: one per core that the process may use
    model_cache_dir: Path = Field(
        default_factory=lambda: Path(tempfile.gettempdir()) / f"bulkscore-models-{os.getuid()}"
    )
    # Where lifecycle tasks work; a training that is taken again finds its checkpoints here. On a
    # volume that workers share, whichever of them takes it.
    task_dir: Path = Field(
        default_factory=lambda: Path(tempfile.gettempdir()) / f"bulkscore-tasks-{os.getuid()}"
    )
    # Wall time after which an attempt at a lifecycle task is ended.
    task_time_limit_seconds: int = Field(default=7 * 24 * 3600, ge=1)
    models_in_memory: int = Field(default=2, ge=1)
    log_format: str = Field(default="auto", pattern=r"^(auto|json|human)$")
    log_level: str = Field(default="INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$")


def load(settings: type[SettingsT], **overrides: Any) -> SettingsT:
    """Read settings from the environment; `overrides` that are None are left out.

    Raises:
        ConfigurationError: A variable has a value that makes no sense.
    """
    try:
        return settings(**{k: v for k, v in overrides.items() if v is not None})
    except SettingsError as error:
        if isinstance(error.__cause__, ConfigurationError):
            raise error.__cause__ from None
        raise ConfigurationError(str(error)) from error
    except ValidationError as error:
        problems = "; ".join(
            f"{PREFIX}{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}"
            for e in error.errors(include_input=False, include_url=False)
        )
        raise ConfigurationError(f"settings not understood: {problems}") from None


def redact(url: str) -> str:
    """Return `url` without passwords, which may also stand in the query, and options of TLS.

    Of kombu's form for sentinels, which are several URLs, each.
    """
    several = re.split(r";(?=sentinel://)", url)
    if len(several) > 1:
        return ";".join(map(redact, several))
    url = re.sub(r"[?&]ssl_[^&]*", "", url)
    parts = urlsplit(url)
    if parts.password is not None:
        host = parts.netloc.rpartition("@")[2]
        url = url.replace(parts.netloc, f"{parts.username or ''}:***@{host}", 1)
    return re.sub(r"(?i)([?&](?:sentinel_)?password=)[^&]*", r"\1***", url)
