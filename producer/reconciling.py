"""`bulkscore reconcile --forever`: a reconciler of its own, which also tells how the queues are.

With it queues are fed and measured where no worker runs, which is what scaling from zero needs.
"""

import signal
import threading
import time
from collections.abc import Callable, Mapping

from producer.deployment import Deployment
from producer.drift_janitor import DriftJanitor
from producer.queue_metrics import QueueMetrics
from schemas.election import LONGEST_WORK_SECONDS
from schemas.errors import BrokerRefused, BrokerUnavailable
from schemas.http_endpoint import serving
from schemas.reconcile_metrics import count_passes
from schemas.reconciler import Reconciler
from schemas.settings import EndpointSettings, RegistrySettings, load
from schemas.task_queue import TaskReconciler, task_ledger
from schemas.task_record import tasks_root

LOOK_SECONDS = 5.0
# A pass may take as long as the election lets it; beyond that, and some, the loop hangs.
HUNG_SECONDS = LONGEST_WORK_SECONDS + 60.0
STOP_SECONDS = 20.0
# The loops that must not hang; that of drift may read a large result for long.
FEEDERS = ("reconciler", "task-reconciler")


class _Stop(threading.Event):
    """Tells loops to end, and when one last asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = time.monotonic()

    def wait(self, timeout: float | None = None) -> bool:
        self.asked = time.monotonic()
        return super().wait(timeout)


def reconcile_forever(deployment: Deployment, endpoint: EndpointSettings) -> None:
    """Reconcile jobs and lifecycle tasks until SIGTERM or SIGINT; one of many may do so at a time.

    Raises:
        BrokerRefused: Redis turns us away. One that does not answer is waited for.
        ConfigurationError: The endpoint cannot be opened.
    """
    try:
        deployment.require_broker()
    except BrokerRefused:
        raise
    except BrokerUnavailable:
        pass  # its loops say so, and go on
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    metrics = QueueMetrics(deployment.ledger, task_ledger(deployment.broker_settings))
    loops = {
        "reconciler": _of_jobs(deployment).run_forever,
        "task-reconciler": _of_tasks(deployment).run_forever,
        "drift": DriftJanitor(deployment.ledger, deployment.storage).run_forever,
    }
    stops = {name: _Stop() for name in loops}
    threads = [
        threading.Thread(target=loop, args=(stops[name],), name=name, daemon=True)
        for name, loop in loops.items()
    ]
    with serving(endpoint, _probes({name: stops[name] for name in FEEDERS})):
        for thread in threads:
            thread.start()
        metrics.look()
        while not ended.wait(LOOK_SECONDS):
            metrics.look()
        for stop in stops.values():
            stop.set()
        for thread in threads:
            thread.join(STOP_SECONDS)


def _of_jobs(deployment: Deployment) -> Reconciler:
    return Reconciler(
        deployment.ledger,
        deployment.storage,
        deployment.broker.publish,
        deployment.schedule,
        count_passes,
    )


def _of_tasks(deployment: Deployment) -> TaskReconciler:
    models_uri = load(RegistrySettings).models_uri
    return TaskReconciler(
        task_ledger(deployment.broker_settings),
        deployment.storage,
        tasks_root(models_uri) if models_uri else None,
        deployment.broker.publish_task,
        deployment.schedule,
    )


def _probes(stops: Mapping[str, _Stop]) -> Mapping[str, Callable[[], str]]:
    def live() -> str:
        silent = {name: time.monotonic() - stop.asked for name, stop in stops.items()}
        hung = [f"{n} hangs since {s:.0f} s" for n, s in silent.items() if s > HUNG_SECONDS]
        return "; ".join(hung)

    return {"/livez": live, "/readyz": live, "/startupz": live}
