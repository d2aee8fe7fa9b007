"""Faults of the network between workers and servers; each hits one worker or all of them."""

import random
from collections.abc import Sequence

from support.chaos.stack import Stack
from support.tcp_proxy import Link

AWAY_SECONDS = (1.0, 8.0)
# Beyond the longest socket time-out of Redis' clients (10 s) and within that of S3 (20 s).
HUNG_SECONDS = (4.0, 14.0)
SLOW_SECONDS = (3.0, 8.0)
# Each way, for every packet.
DELAY_SECONDS = (0.05, 0.4)


def cut_redis(stack: Stack, draw: random.Random) -> None:
    """Connections to Redis are reset and new ones refused for a while."""
    _cut(stack, draw, _some([worker.redis for worker in stack.workers], draw))


def hang_redis(stack: Stack, draw: random.Random) -> None:
    """The network to Redis swallows every packet for a while; connections stay open."""
    _hang(stack, draw, _some([worker.redis for worker in stack.workers], draw))


def slow_redis(stack: Stack, draw: random.Random) -> None:
    """The network to Redis holds every packet up for a while."""
    _slow(stack, draw, _some([worker.redis for worker in stack.workers], draw))


def cut_s3(stack: Stack, draw: random.Random) -> None:
    """Connections to S3 are reset and new ones refused for a while."""
    _cut(stack, draw, _some([worker.s3 for worker in stack.workers], draw))


def hang_s3(stack: Stack, draw: random.Random) -> None:
    """The network to S3 swallows every packet for a while; connections stay open."""
    _hang(stack, draw, _some([worker.s3 for worker in stack.workers], draw))


def slow_s3(stack: Stack, draw: random.Random) -> None:
    """The network to S3 holds every packet up for a while."""
    _slow(stack, draw, _some([worker.s3 for worker in stack.workers], draw))


def _some(links: Sequence[Link], draw: random.Random) -> Sequence[Link]:
    """Return one of the links, or all."""
    return draw.choice([*([link] for link in links), list(links)])


def _cut(stack: Stack, draw: random.Random, links: Sequence[Link]) -> None:
    for link in links:
        link.cut()
    _heal_after(stack, draw.uniform(*AWAY_SECONDS), links)


def _hang(stack: Stack, draw: random.Random, links: Sequence[Link]) -> None:
    for link in links:
        link.hang()
    _heal_after(stack, draw.uniform(*HUNG_SECONDS), links)


def _slow(stack: Stack, draw: random.Random, links: Sequence[Link]) -> None:
    delay = draw.uniform(*DELAY_SECONDS)
    for link in links:
        link.slow(delay)
    _heal_after(stack, draw.uniform(*SLOW_SECONDS), links)


def _heal_after(stack: Stack, seconds: float, links: Sequence[Link]) -> None:
    stack.pause(seconds)
    for link in links:
        link.heal()
