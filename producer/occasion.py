"""What a job is submitted for: a name, a date of a schedule, or what is new. Decides its id.

Jobs of a schedule are named after their spec and date, so that one that is started twice, or by
two submitters at once, is one job: its manifest is created once, under the same name.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime

from schemas.errors import UsageError
from schemas.job import JobSpec, spec_digest

PLACEHOLDER = "{logical_date}"
DIGEST_CHARACTERS = 10

_DATE = re.compile(r"\d{4}(-?)\d\d\1\d\d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """How a job comes by its name.

    Attributes:
        given_id: The job's id as the user gave it.
        logical_date: The date of the schedule that the job is for, as `normal_date` spells it.
        incremental: The output collects jobs, and this one is about the files that are new to it.
    """

    given_id: str | None = None
    logical_date: str | None = None
    incremental: bool = False

    def dated(self, spec: JobSpec) -> JobSpec:
        """Return the spec with `{logical_date}` filled in wherever an input or the output has it.

        Raises:
            UsageError: There is no date to fill in.
        """
        places = (*spec.inputs, spec.output)
        if self.logical_date is None:
            for place in places:
                if PLACEHOLDER in place:
                    raise UsageError(f"{place} asks for the option --logical-date DATE")
            return spec
        *inputs, output = (place.replace(PLACEHOLDER, self.logical_date) for place in places)
        return spec.model_copy(update={"inputs": tuple(inputs), "output": output})

    def job_id(self, spec: JobSpec, model_digest: str) -> str | None:
        """Return the id of the job, or None when nothing decides it beforehand.

        Args:
            spec: What the job shall do, its dates filled in.
            model_digest: That of the pinned models together.
        """
        if self.logical_date is None:
            return self.given_id
        return f"{self.logical_date}-{spec_digest(spec, model_digest)[:DIGEST_CHARACTERS]}"


def occasion(
    *, job_id: str | None = None, logical_date: str | None = None, incremental: bool = False
) -> Occasion:
    """Return the occasion that a command was given.

    Raises:
        UsageError: Two names for one job, or a date that is none.
    """
    if job_id is not None and logical_date is not None:
        raise UsageError("--logical-date names the job by itself: leave out --job-id, or the date")
    named = logical_date if logical_date is None else normal_date(logical_date)
    return Occasion(given_id=job_id, logical_date=named, incremental=incremental)


def normal_date(text: str) -> str:
    """Return the one spelling of a date or a moment: `2025-06-01` or `2025-06-01t043000z`.

    A moment without a time zone is taken as UTC; the letters are small because job ids are.

    Raises:
        UsageError: It is neither.
    """
    text = text.strip()
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text).isoformat()
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--logical-date {text}: give a date such as 2025-06-01, or a moment such as "
            "2025-06-01T04:30:00+00:00"
        ) from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    fraction = f".{moment.microsecond:06}" if moment.microsecond else ""
    return f"{moment:%Y-%m-%dt%H%M%S}{fraction}z"
