"""What must hold once the faults have ended: everything is there, once, and nothing else is."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from schemas.errors import ExitCode
from schemas.job import PRIORITIES
from schemas.message import queue_name
from support.chaos.job import Job
from support.chaos.stack import Stack

SCORE_TOLERANCE = 1e-4
SUBMIT_SECONDS = 90.0
WAIT_SECONDS = 240
# Messages that are held for a dead worker come back after their visibility, and are then thrown
# away as those of chunks that are done.
QUIET_SECONDS = 45.0

# Rows that kill their process are the only ones that may end otherwise than undisturbed.
KILLED = "killed_worker"

_OBJECTS = re.compile(
    r"part-\d{6}\.parquet|_SUCCESS"
    r"|_bulkscore/(manifest\.json|summary\.json|(chunks|results)-[0-9a-f]+\.table)"
)

Rows = Mapping[str, Mapping[str, Any]]


def settle(stack: Stack, job: Job) -> Iterator[str]:
    """Let the job come to its end as a user would; yield what should not have been necessary."""
    if not stack.wait_for(lambda: job.chunks, SUBMIT_SECONDS):
        yield f"{job.job_id}: not submitted: {job.submitter}"
        return
    done = job.cli("wait", job.output, "--timeout", str(WAIT_SECONDS), "--json", timeout=300)
    if done.exit_code != ExitCode.OK:
        yield f"{job.job_id}: wait ended with {done.exit_code}: {last_line(done.stderr)}"
        letters = job.cli("dead-letters", job.output, "--json")
        with suppress(json.JSONDecodeError):
            yield f"{job.job_id}: dead letters {json.dumps(_short(json.loads(letters.stdout)))}"
        job.cli("resume", job.output)
        job.cli("reprocess", job.output)
        again = job.cli("wait", job.output, "--timeout", str(WAIT_SECONDS), timeout=300)
        if again.exit_code != ExitCode.OK:
            yield f"{job.job_id}: after resume and reprocess still {again.exit_code}"
    stack.tick()
    waited = stack.wait_for(lambda: job.submitter.poll() is not None, 30)
    if not waited or job.submitter.poll() != ExitCode.OK:
        code, said = job.submitter.poll(), last_line(job.submitter.stderr)
        yield f"{job.job_id}: submit --wait ended with {code}: {said}"


def check(stack: Stack, job: Job, undisturbed: Rows) -> Iterator[str]:
    """Yield everything that is wrong with a job that has ended."""
    yield from (f"{job.job_id}: {problem}" for problem in _problems(stack, job, undisturbed))


def _problems(stack: Stack, job: Job, undisturbed: Rows) -> Iterator[str]:
    verified = job.cli("verify", job.output, "--json")
    if verified.exit_code != ExitCode.OK:
        yield f"verify ended with {verified.exit_code}: {verified.stdout[-2000:]}"
    yield from _compare(job, undisturbed)
    yield from (f"object left over: {n}" for n in job.objects() if not _OBJECTS.fullmatch(n))
    if not stack.wait_for(lambda: not any(_left_in_redis(stack, job)), QUIET_SECONDS):
        yield from _left_in_redis(stack, job)


def _compare(job: Job, undisturbed: Rows) -> Iterator[str]:
    """Compare the result row for row."""
    rows = job.rows()
    found = {row["id"]: row for row in rows}
    if len(found) != len(rows):
        yield f"{len(rows) - len(found)} rows are there twice"
    if found.keys() != undisturbed.keys():
        missing, extra = undisturbed.keys() - found.keys(), found.keys() - undisturbed.keys()
        yield f"{len(missing)} rows are missing, {len(extra)} should not be there"
    different = [
        name
        for name in found.keys() & undisturbed.keys()
        if not _same(found[name], undisturbed[name])
        and not (name in job.poisoned and found[name]["error"] == KILLED)
    ]
    if different:
        name = min(different)
        yield f"{len(different)} rows differ: {found[name]} instead of {undisturbed[name]}"


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    def plain(row: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in row.items() if name != "score"}

    if plain(one) != plain(other):
        return False
    if one["score"] is None or other["score"] is None:
        return one["score"] is other["score"]
    return abs(one["score"] - other["score"]) <= SCORE_TOLERANCE


def _left_in_redis(stack: Stack, job: Job) -> Iterator[str]:
    """Yield what a job that has ended left behind: leases, messages."""
    with stack.client() as client:
        for kind in ("leases", "owners", "enqueued", "due", "attempts", "trails"):
            key = f"bulkscore:{kind}:{job.job_id}"
            if client.exists(key):
                yield f"{key} is left"
        for name in map(queue_name, PRIORITIES):
            if count := client.llen(name):
                yield f"{count} messages are left in {name}"
        for name, count in (
            ("unacked", client.hlen("unacked")),
            ("unacked_index", client.zcard("unacked_index")),
        ):
            if count:
                yield f"{count} messages are left in {name}"


def last_line(text: str) -> str:
    """Return what a command said last."""
    return (text.strip().splitlines() or [""])[-1][:300]


def _short(letters: Any) -> Any:
    """Keep of dead letters what says why."""
    listed = letters.get("dead_letters", letters) if isinstance(letters, dict) else letters
    keys = ("chunk", "code", "message", "attempts")
    return [{key: letter.get(key) for key in keys} for letter in listed][:5]
