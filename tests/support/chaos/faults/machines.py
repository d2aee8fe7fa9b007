"""Faults of machines and their settings: full disks, wrong clocks, short leases, deadly rows."""

import random
import signal

from support.chaos.mounts import full
from support.chaos.stack import Stack

FULL_SECONDS = (2.0, 6.0)
WRONG_SECONDS = (3.0, 8.0)
AN_HOUR_SECONDS = 3600.0
# A text of so many words is in the corpus once.
WORDS_OF_ONE_ROW = 12


def full_disk(stack: Stack, draw: random.Random) -> None:
    """The disk of a worker's temporary files is full for a while."""
    worker = draw.choice(stack.workers)
    with full(worker.temporary):
        stack.pause(draw.uniform(*FULL_SECONDS))


def step_clock(stack: Stack, draw: random.Random) -> None:
    """The clock of a worker jumps by up to an hour, forward or back, and later back again."""
    worker = draw.choice(stack.workers)
    skew = draw.uniform(-1, 1) * AN_HOUR_SECONDS
    worker.order(**stack.orders, clock_skew_seconds=skew)
    stack.pause(draw.uniform(*WRONG_SECONDS))
    worker.order(**stack.orders)


def short_lease(stack: Stack, draw: random.Random) -> None:
    """A worker is started again with a lease that is far too short."""
    worker = draw.choice(stack.workers)
    worker.start_differently(BULKSCORE_LEASE_SECONDS="0.5")
    worker.signal(signal.SIGKILL, worker.main(), worker.child())


def poison_row(stack: Stack, draw: random.Random) -> None:
    """A row of a chunk that waits kills, from now on, every process that scores it."""
    assert stack.job is not None
    row = draw.choice(stack.rows_of_waiting_chunks(min_words=WORDS_OF_ONE_ROW))
    stack.job.poisoned.add(row.id)
    poison = [*stack.orders.get("poison_ids", []), row.token_ids]
    stack.order(**{**stack.orders, "poison_ids": poison})
