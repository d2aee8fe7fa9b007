"""Flower, the dashboard of Celery, against our broker and behind a login.

It shows what travels: job, chunk and generation of a message, never text. It can also stop
workers, so it listens on loopback unless told otherwise, and its login cannot be switched off.
Only `/healthcheck`, which says OK, answers without one.

`python -m producer.flower` runs it from `BULKSCORE_*` variables alone, for `bulkscore up`.
"""

import ipaddress
import os
import secrets

from pydantic import Field, SecretStr

from producer.processes import require_installed
from schemas.errors import ConfigurationError
from schemas.settings import BrokerSettings, load

# 5.5 kB each (three events): some 55 MB, where Flower's own 100,000 would take 550.
MAX_TASKS = 10_000
# Otherwise a worker that was killed stays in the list as offline.
PURGE_OFFLINE_SECONDS = 60
# Without the name, which is the same for all, and with the result: it says how the attempt ended,
# where the state only says that the worker lived.
TASK_COLUMNS = "kwargs,result,state,worker,received,started,runtime,uuid"


class FlowerSettings(BrokerSettings):
    """Which broker the dashboard looks at, where it listens and who may see it."""

    flower_address: str = "127.0.0.1"
    flower_port: int = Field(default=5555, ge=1, le=65_535)
    # Flower wants a login of ASCII, and a comma would end it.
    flower_user: str = Field(default="bulkscore", pattern=r"^[!-+\--9;-~]+$")
    flower_password: SecretStr | None = None
    flower_read_only: bool = False

    @property
    def url(self) -> str:
        """Where the dashboard is, without the login."""
        host = f"[{self.flower_address}]" if ":" in self.flower_address else self.flower_address
        return f"http://{host}:{self.flower_port}/"

    @property
    def password(self) -> str:
        """The password in clear; `with_password` has seen to it that there is one."""
        if self.flower_password is None:
            raise AssertionError("bug: a dashboard without a password")
        return self.flower_password.get_secret_value()


def with_password(settings: FlowerSettings) -> FlowerSettings:
    """Return the settings with a password, a random one when none is given.

    Raises:
        ConfigurationError: The password cannot be used, or there is none and the address is open
            to others.
    """
    if settings.flower_password is None:
        if not _is_loopback(settings.flower_address):
            raise ConfigurationError(
                f"{settings.flower_address} is open to other machines: choose a password "
                "(BULKSCORE_FLOWER_PASSWORD or BULKSCORE_FLOWER_PASSWORD_FILE)"
            )
        generated = SecretStr(secrets.token_urlsafe(18))
        return settings.model_copy(update={"flower_password": generated})
    password = settings.flower_password.get_secret_value()
    if not password or not (password.isascii() and password.isprintable()) or " " in password:
        raise ConfigurationError("BULKSCORE_FLOWER_PASSWORD must be printable ASCII without blanks")
    return settings


def run_flower(settings: FlowerSettings) -> None:
    """Run the dashboard in this process until SIGTERM or Ctrl-C.

    Raises:
        ConfigurationError: Flower is not installed, or the port is taken.
        BrokerUnavailable: Redis does not answer.
    """
    require_flower()
    from flower.options import default_options

    from producer.broker import celery_app
    from schemas.ledger import Ledger

    Ledger(settings).ping()
    # Not an argument, which `ps` would show; nor may a variable of Flower's own undo it.
    for name in ("FLOWER_BASIC_AUTH", "FLOWER_AUTH", "FLOWER_UNAUTHENTICATED_API"):
        os.environ.pop(name, None)
    default_options.basic_auth = [f"{settings.flower_user}:{settings.password}"]
    _close_metrics()
    try:
        celery_app(settings.redis_url).start(_arguments(settings))
    except OSError as error:
        raise ConfigurationError(
            f"{settings.flower_address}:{settings.flower_port}: {error.strerror}"
        ) from error


def require_flower() -> None:
    """Raise ConfigurationError when Flower is not installed."""
    require_installed("flower", "flower")


def _close_metrics() -> None:
    """Have the login protect `/metrics`, which Flower leaves open to everybody."""
    from flower.views.monitor import Metrics
    from tornado.web import authenticated

    Metrics.get = authenticated(Metrics.get)


def _arguments(settings: FlowerSettings) -> list[str]:
    return [
        "flower",
        f"--address={settings.flower_address}",
        f"--port={settings.flower_port}",
        f"--max_tasks={MAX_TASKS}",
        f"--purge_offline_workers={PURGE_OFFLINE_SECONDS}",
        f"--tasks_columns={TASK_COLUMNS}",
        f"--read_only={settings.flower_read_only}",
        # Flower would run a `flowerconfig.py` of the current folder as code.
        f"--conf={os.devnull}",
    ]


def _is_loopback(address: str) -> bool:
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


if __name__ == "__main__":
    run_flower(with_password(load(FlowerSettings)))
