"""Drift kept in the summary of a job, for those who read it later."""

from producer.drift import DriftReport
from schemas import layout
from schemas.errors import UsageError
from schemas.job import Manifest
from schemas.record import parse_record
from schemas.storage import Storage
from schemas.summary import RecordedDrift, Summary


def record_drift(storage: Storage, manifest: Manifest, found: DriftReport) -> Summary:
    """Enter the drift of a job into its summary, and return that.

    Args:
        storage: Where the job's output lies.
        manifest: The job, which has ended.
        found: What there is to say.

    Raises:
        InputMissing: It has no summary.
        UsageError: The summary was written anew at this very moment.
    """
    uri = layout.summary(manifest.spec.output)
    body, tag = storage.read_tagged(uri)
    drifts = tuple(
        RecordedDrift(
            reference=found.reference,
            of=each.of,
            psi=each.psi,
            by_chance=each.by_chance,
            verdict=each.verdict.value,
        )
        for each in found.drifts
    )
    summary = parse_record(Summary, body, uri).model_copy(update={"drift": drifts})
    if not storage.replace_if(uri, summary.model_dump_json(indent=2).encode(), tag):
        raise UsageError(f"{uri} was written anew at this moment: give the command again")
    return summary
