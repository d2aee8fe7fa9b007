"""The servers that a command talks to: Redis, the object store, the queue. Each at first use."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from schemas.locations import is_s3, s3_path
from schemas.settings import BrokerSettings, ScheduleSettings, StorageSettings, load
from schemas.storage import Storage

if TYPE_CHECKING:
    from producer.broker import Broker
    from schemas.ledger import Ledger
    from schemas.reconciler import Reconciler

# Redis gets so long for a connection when a command starts, three times at most, so that the
# user is told within 15 seconds that it is not there.
PROBE_CONNECT_SECONDS = 3.0


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """Where Redis and the object store are, and the clients for them."""

    broker_settings: BrokerSettings
    storage_settings: StorageSettings
    schedule: ScheduleSettings

    @classmethod
    def from_environment(cls) -> "Deployment":
        """Read the settings from the environment.

        Raises:
            ConfigurationError: A variable has a value that makes no sense.
        """
        return cls(
            broker_settings=load(BrokerSettings),
            storage_settings=load(StorageSettings),
            schedule=load(ScheduleSettings),
        )

    @cached_property
    def storage(self) -> Storage:
        """The door to objects."""
        return Storage(self.storage_settings)

    @cached_property
    def ledger(self) -> "Ledger":
        """The live record in Redis."""
        from schemas.ledger import Ledger

        return Ledger(self.broker_settings)

    @cached_property
    def broker(self) -> "Broker":
        """The queue; importing Celery takes a moment, so only what sends messages asks for it."""
        from producer.broker import Broker

        return Broker(self.broker_settings.redis_url)

    @cached_property
    def reconciler(self) -> "Reconciler":
        """What keeps pending chunks on the queue."""
        from schemas.reconciler import Reconciler

        return Reconciler(
            self.ledger,
            self.storage,
            lambda messages, priority: self.broker.publish(messages, priority),
            self.schedule,
        )

    def require_broker(self) -> None:
        """Raise BrokerUnavailable, within about 10 seconds, when Redis cannot be used."""
        from schemas.ledger import Ledger

        timeout = min(PROBE_CONNECT_SECONDS, self.broker_settings.redis_connect_timeout_seconds)
        quick = {
            "redis_connect_timeout_seconds": timeout,
            "redis_socket_timeout_seconds": timeout,
        }
        Ledger(self.broker_settings.model_copy(update=quick)).ping()

    def require_storage(self, *uris: str) -> None:
        """Raise, within about 10 seconds, when a bucket behind these URIs cannot be used.

        Raises:
            StorageUnavailable: Nothing answers.
            AccessDenied: The store refuses the credentials.
            InputMissing: There is no such bucket.
        """
        buckets = {s3_path(uri).partition("/")[0]: uri for uri in uris if is_s3(uri)}
        for uri in buckets.values():
            self.storage.probe(uri)
