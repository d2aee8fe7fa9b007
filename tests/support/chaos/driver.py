"""The run: jobs one after the other, faults drawn by the seed, a recount after each job."""

import random
import time
from collections import Counter
from collections.abc import Callable

from support.chaos.checks import Rows, check, last_line, settle
from support.chaos.faults import FAULTS, Draws, Fault, machines
from support.chaos.job import Job
from support.chaos.report import JobRecord, Report, Strike
from support.chaos.stack import Stack

SECONDS_A_ROW = 0.02
# A job with fewer chunks left is let come to its end, and the next fault strikes the next job.
LEAST_CHUNKS_LEFT = 6
# Without a new result for so long after a fault has healed, the job is stuck.
STUCK_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 2.0
UNREACHABLE = 69

Tell = Callable[[str], None]


def undisturbed_rows(stack: Stack) -> Rows:
    """Score the corpus without faults, as fast as it goes, and return the result rows by id."""
    stack.order()
    job = stack.new_job("undisturbed")
    job.submit()
    for finding in settle(stack, job):
        raise AssertionError(f"not even undisturbed: {finding}")
    job.close()
    return {row["id"]: row for row in job.rows()}


class Driver:
    """Drives one run on a stack.

    Args:
        stack: What runs.
        undisturbed: The result rows of the corpus without faults.
        seed: Decides the faults and what chance they have.
        kinds: The faults to draw from.
        tell: Takes a line about what happens.
    """

    def __init__(
        self,
        stack: Stack,
        undisturbed: Rows,
        seed: int,
        *,
        kinds: tuple[Fault, ...] = FAULTS,
        tell: Tell = print,
    ) -> None:
        self._stack = stack
        self._undisturbed = undisturbed
        self._draws = Draws(seed, possible(stack, kinds, tell))
        self._tell = tell
        self._report = Report(seed=seed)
        self._began = time.monotonic()

    def run(self, enough: Callable[[Report], bool]) -> Report:
        """Strike until it is enough, check every job, and return what was found."""
        report = self._report
        while not enough(report):
            self._run_job(f"chaos-{report.seed}-{len(report.jobs) + 1}", enough)
        report.worker_starts = sum(worker.starts for worker in self._stack.workers)
        report.seconds = time.monotonic() - self._began
        return report

    def _run_job(self, job_id: str, enough: Callable[[Report], bool]) -> None:
        began = time.monotonic()
        first, found = len(self._report.strikes), len(self._stack.findings)
        self._stack.order(seconds_a_row=SECONDS_A_ROW)
        job = self._stack.new_job(job_id)
        job.submit()
        while not enough(self._report) and _has_enough_left(job):
            fault, chance = next(self._draws)
            self._strike(job, fault, chance)
        for finding in (*settle(self._stack, job), *check(self._stack, job, self._undisturbed)):
            self._stack.note(finding)
        for strike in self._report.strikes[first:]:
            times = [job.seen[chunk] for chunk in strike.under_way if chunk in job.seen]
            if times:
                struck = self._began + strike.at_seconds
                strike.under_way_seconds = round(max(0.0, max(times) - struck), 2)
        findings = self._stack.findings[found:]
        self._report.findings += findings
        record = JobRecord(
            job=job_id,
            seconds=round(time.monotonic() - began, 1),
            rows=len(self._undisturbed),
            attempts=dict(Counter(account.attempt for account in job.accounts())),
            poisoned_rows=len(job.poisoned),
            findings=findings,
        )
        self._report.jobs.append(record)
        job.close()
        self._tell(f"{job_id}: {len(job.seen)} chunks, attempts {record.attempts}")
        for finding in findings:
            self._tell(f"FOUND: {finding}")

    def _strike(self, job: Job, fault: Fault, chance: random.Random) -> None:
        stack = self._stack
        stack.pause(chance.uniform(0, LONGEST_PAUSE_SECONDS))
        self._repeat_submission(job)
        struck = time.monotonic()
        strike = Strike(
            number=len(self._report.strikes) + 1,
            fault=fault.__name__,
            job=job.job_id,
            at_seconds=round(struck - self._began, 2),
            under_way=sorted(stack.running_chunks() - self._left_by_earlier(job)),
        )
        self._report.strikes.append(strike)
        fault(stack, chance)
        healed = time.monotonic()
        strike.fault_seconds = round(healed - struck, 2)
        if job.complete:
            pass
        elif stack.wait_for(lambda: self._has_new_result(job, healed), STUCK_SECONDS):
            strike.next_result_seconds = round(max(job.seen.values()) - healed, 2)
        else:
            stack.note(f"{job.job_id}: no result for {STUCK_SECONDS:.0f} s after {strike}")
            self._tell(f"STUCK: {strike}\n{job.submitter}")
        self._tell(
            f"{strike.at_seconds:7.1f} s  {strike.number:3}  {strike.fault:<20} "
            f"lasted {strike.fault_seconds:5.1f} s, next result after "
            f"{strike.next_result_seconds} s, {len(job.seen)} chunks done"
        )

    def _left_by_earlier(self, job: Job) -> set[int]:
        """Return the chunks that earlier strikes hit: a dead worker may still hold them."""
        strikes = (strike for strike in self._report.strikes if strike.job == job.job_id)
        return {chunk for strike in strikes for chunk in strike.under_way}

    def _has_new_result(self, job: Job, healed: float) -> bool:
        self._repeat_submission(job)
        return any(seen > healed for seen in job.seen.values())

    def _repeat_submission(self, job: Job) -> None:
        """Give the command again when it said that broker or store cannot be reached."""
        if job.submitter.poll() == UNREACHABLE:
            self._tell(f"{job.job_id}: submitted again after {last_line(job.submitter.stderr)}")
            job.submit()


def _has_enough_left(job: Job) -> bool:
    return job.chunks is None or len(job.waiting) > LEAST_CHUNKS_LEFT


def possible(stack: Stack, kinds: tuple[Fault, ...], tell: Tell) -> tuple[Fault, ...]:
    """Leave out the full disk where no small disk can be mounted, and say so."""
    if stack.disks_are_small or machines.full_disk not in kinds:
        return kinds
    tell("NOT TESTED: full_disk, because only root may mount a small disk")
    return tuple(kind for kind in kinds if kind is not machines.full_disk)
