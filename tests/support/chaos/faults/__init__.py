"""What breaks, and how it heals. One function a fault; its docstring says what is done.

A fault gets the stack and its own source of chance, does harm, lets time pass with `stack.pause`,
and has healed what it broke when it returns. A worker that ends is started again by the stack.
"""

import random
from collections.abc import Callable

from support.chaos.faults import machines, networks, processes, redis_server, s3_server
from support.chaos.stack import Stack

Fault = Callable[[Stack, random.Random], None]

FAULTS: tuple[Fault, ...] = (
    # processes
    processes.kill_child,
    processes.kill_main,
    processes.kill_machine,
    processes.drain_worker,
    processes.freeze_child,
    processes.freeze_worker,
    processes.freeze_mains,
    processes.kill_submitter,
    # Redis
    redis_server.kill_redis,
    redis_server.restart_redis_empty,
    redis_server.fail_over_redis,
    redis_server.freeze_redis,
    redis_server.flush_redis,
    redis_server.fill_redis,
    redis_server.drop_connections,
    redis_server.double_messages,
    redis_server.lose_messages,
    # networks
    networks.cut_redis,
    networks.hang_redis,
    networks.slow_redis,
    networks.cut_s3,
    networks.hang_s3,
    networks.slow_s3,
    # the S3 server
    s3_server.kill_s3,
    s3_server.slow_down,
    s3_server.internal_errors,
    s3_server.torn_bodies,
    s3_server.lost_answers,
    s3_server.access_denied,
    # machines
    machines.full_disk,
    machines.step_clock,
    machines.short_lease,
    machines.poison_row,
)

BY_NAME = {fault.__name__: fault for fault in FAULTS}


def meaning(fault: Fault) -> str:
    """Return the first line of what a fault says of itself."""
    return (fault.__doc__ or "").strip().partition("\n")[0]


class Draws:
    """Deals faults from a shuffled deck, which is shuffled again when it is used up.

    The same seed deals the same faults with the same chance, whatever happens in between.
    """

    def __init__(self, seed: int, kinds: tuple[Fault, ...]) -> None:
        self._seed = seed
        self._kinds = kinds
        self._chance = random.Random(seed)
        self._deck: list[Fault] = []
        self._dealt = 0

    def __iter__(self) -> "Draws":
        return self

    def __next__(self) -> tuple[Fault, random.Random]:
        """Deal the next fault, and the chance that is its own."""
        if not self._deck:
            self._deck = list(self._kinds)
            self._chance.shuffle(self._deck)
        self._dealt += 1
        return self._deck.pop(), random.Random(f"{self._seed}/{self._dealt}")
