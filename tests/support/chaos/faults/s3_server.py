"""Faults of the S3 server: killed, throttling, failing, answering in half or not at all."""

import random

from support.chaos.stack import Stack

AWAY_SECONDS = (1.0, 8.0)
SPOILT_SECONDS = (2.0, 6.0)
# The share of requests that is spoilt.
RATE = (0.2, 0.9)


def kill_s3(stack: Stack, draw: random.Random) -> None:
    """SIGKILL for the S3 server's gateway, in the midst of bodies; its objects stay."""
    stack.front.kill()
    stack.pause(draw.uniform(*AWAY_SECONDS))
    stack.front.start()


def slow_down(stack: Stack, draw: random.Random) -> None:
    """S3 answers many requests with 503 SlowDown."""
    _spoil(stack, draw, "slow_down")


def internal_errors(stack: Stack, draw: random.Random) -> None:
    """S3 answers many requests with 500 InternalError."""
    _spoil(stack, draw, "internal_error")


def torn_bodies(stack: Stack, draw: random.Random) -> None:
    """S3 breaks many connections off in the middle of a body."""
    _spoil(stack, draw, "torn_body")


def lost_answers(stack: Stack, draw: random.Random) -> None:
    """S3 does what it is asked and the answer is lost: was the result created, or not?"""
    _spoil(stack, draw, "lost_answer")


def access_denied(stack: Stack, draw: random.Random) -> None:
    """S3 refuses the credentials; once they are good again the user resumes the job."""
    assert stack.job is not None
    stack.front.spoil("access_denied", 1.0)
    stack.pause(draw.uniform(*SPOILT_SECONDS))
    stack.front.heal()
    stack.job.cli("resume", stack.job.output)
    if stack.job.submitter.poll() is not None:  # it gave up when it was refused
        stack.job.submit()


def _spoil(stack: Stack, draw: random.Random, how: str) -> None:
    stack.front.spoil(how, draw.uniform(*RATE))
    stack.pause(draw.uniform(*SPOILT_SECONDS))
    stack.front.heal()
