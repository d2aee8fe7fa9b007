"""Faults of processes: killed, told to stop, frozen."""

import random
import signal

from support.chaos.stack import Stack
from support.chaos.workers import DRAIN_SECONDS, freeze

# Longer than the lease by so much: another worker takes the chunk before the frozen one wakes up.
BEYOND_LEASE_SECONDS = 3.0
# The reconciler is elected for so many of its periods.
ELECTION_PERIODS = 5


def kill_child(stack: Stack, draw: random.Random) -> None:
    """SIGKILL for the process of a worker that computes, as the kernel's OOM killer does."""
    worker = draw.choice(stack.workers)
    worker.signal(signal.SIGKILL, worker.child())


def kill_main(stack: Stack, draw: random.Random) -> None:
    """SIGKILL for the main process of a worker; its child is left behind."""
    worker = draw.choice(stack.workers)
    worker.signal(signal.SIGKILL, worker.main())


def kill_machine(stack: Stack, draw: random.Random) -> None:
    """SIGKILL for all processes of a worker at once, as when its machine loses power."""
    worker = draw.choice(stack.workers)
    worker.signal(signal.SIGKILL, worker.main(), worker.child())


def drain_worker(stack: Stack, draw: random.Random) -> None:
    """SIGTERM for a worker, which must leave within Kubernetes' grace period of 30 s."""
    worker = draw.choice(stack.workers)
    main = worker.main()
    if main is None:  # it is just being started
        return
    worker.signal(signal.SIGTERM, main)
    if not stack.wait_for(lambda: worker.main() != main, DRAIN_SECONDS):
        stack.note(f"{worker.name} did not end within {DRAIN_SECONDS:.0f} s of SIGTERM")
        worker.signal(signal.SIGKILL, main)


def freeze_child(stack: Stack, draw: random.Random) -> None:
    """SIGSTOP for the process that computes, for longer than the lease, then SIGCONT."""
    worker = draw.choice(stack.workers)
    thaw = freeze(worker, worker.child())
    stack.pause(stack.schedule.lease_seconds + BEYOND_LEASE_SECONDS)
    thaw()


def freeze_worker(stack: Stack, draw: random.Random) -> None:
    """SIGSTOP for all processes of a worker, for longer than the lease, then SIGCONT."""
    worker = draw.choice(stack.workers)
    thaw = freeze(worker, worker.main(), worker.child())
    stack.pause(stack.schedule.lease_seconds + BEYOND_LEASE_SECONDS)
    thaw()


def freeze_mains(stack: Stack, draw: random.Random) -> None:
    """SIGSTOP for the main process of every worker, one of them the elected reconciler."""
    thaws = [freeze(worker, worker.main()) for worker in stack.workers]
    stack.pause(draw.uniform(1, 2) * ELECTION_PERIODS * stack.schedule.reconcile_seconds)
    for thaw in thaws:
        thaw()


def kill_submitter(stack: Stack, draw: random.Random) -> None:
    """SIGKILL for `submit --wait`; after a while the user gives the same command again."""
    assert stack.job is not None
    if stack.job.submitter.poll() is None:
        stack.job.submitter.kill()
    stack.pause(draw.uniform(0, 3))
    stack.job.submit()
