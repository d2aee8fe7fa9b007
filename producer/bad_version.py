"""Finds what a bad model version wrote, across jobs, and has it scored again by another.

The record comes first, and `resume` does what it says: a reprocess that was broken off in between
is completed by any `resume`, and by the same command again.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from producer.ahead import map_ahead
from producer.corpus import is_hidden
from producer.deployment import Deployment
from producer.manifest import manifest_if_there
from schemas import layout
from schemas.errors import BulkError, UsageError
from schemas.generation import Generation, read_generations
from schemas.job import JobId, Manifest, ModelPin, Record
from schemas.locations import canonical
from schemas.manifest import read_manifest
from schemas.model_files import choose_max_length, pin_model, require_precision
from schemas.resume import resume
from schemas.settings import RegistrySettings, load
from schemas.storage import Storage
from schemas.supersede import unfinished
from schemas.survey import accounts, survey

CONCURRENT_JOBS = 8
_DIGEST = re.compile(r"[0-9a-f]{12,64}")


class BadResults(Record):
    """What a bad version wrote in one job, and what is to score it again.

    Attributes:
        chunks: Results that the version wrote, by their own account.
        rows: What they hold; None where setting them aside was broken off.
        bad: The version as the job pinned it.
        model: What takes its place, None where there is nothing to be done.
        problem: Why the job cannot be scored again now.
        generation: The one it was sent again as.
        broken_off: It was sent again before, and the older results are not all set aside.
    """

    job_id: JobId
    output: str
    chunks: int
    rows: int | None = None
    bad: str
    model: str | None = None
    problem: str | None = None
    generation: int | None = None
    broken_off: bool = False


@dataclass(slots=True)
class Replacement:
    """Which model takes the place of a bad one in a job.

    Args:
        storage: Where models lie.
        ref: The model, or None for what the job's own reference stands for now.
    """

    storage: Storage
    ref: str | None
    _pins: dict[str, ModelPin] = field(default_factory=dict)

    def of(self, manifest: Manifest, place: int) -> ModelPin:
        """Return the model for the place of a bad one among the job's models.

        Raises:
            UsageError: There is none that differs, or it cannot do what the job asks for.
            BulkError: It cannot be used.
        """
        bad, asked = manifest.models[place], self.ref or manifest.spec.models[place]
        if asked not in self._pins:
            self._pins[asked] = pin_model(self.storage, asked, load(RegistrySettings).models_uri)
        pin = self._pins[asked]
        if pin.digest == bad.digest:
            raise UsageError(
                f"{asked} is {bad.ref} itself, so that scoring again would change nothing: move "
                "the alias (`bulkscore models rollback`), or name another with --model REF"
            )
        choose_max_length(pin, manifest.spec.max_length)
        require_precision(pin, manifest.spec.dtype)
        return pin


def find(
    storage: Storage, prefixes: Sequence[str], bad: str, instead: Replacement
) -> list[BadResults]:
    """Return the jobs below the prefixes in which the version `bad` wrote results.

    Args:
        storage: Where the jobs lie.
        prefixes: Outputs, collections or folders above them.
        bad: `name@version`, or at least 12 digits of its digest.
        instead: What takes its place.

    Raises:
        UsageError: There is no job below a prefix.
        ManifestMissing: The manifest of a job is damaged.
    """
    outputs = [output for prefix in prefixes for output in jobs_below(storage, canonical(prefix))]
    found = map_ahead(
        lambda output: _look(storage, output, bad, instead),
        dict.fromkeys(outputs),
        threads=CONCURRENT_JOBS,
        name="bad-version",
    )
    return [results for results in found if results is not None]


def send_again(deployment: Deployment, found: BadResults, instead: Replacement) -> BadResults:
    """Have the results of a job scored again in a new generation; return what was found, with it.

    Raises:
        BulkError: The model cannot be used, or a server does not answer.
    """
    storage, output = deployment.storage, found.output
    number = found.generation
    if not found.broken_off:
        number = _record(storage, output, found.bad, instead).number
    # Read again: the models of the record count from now on.
    manifest = read_manifest(storage, output)
    resume(storage, deployment.ledger, manifest)
    deployment.reconciler.run_once(only=manifest.job_id)
    return found.model_copy(update={"generation": number})


def jobs_below(storage: Storage, prefix: str) -> list[str]:
    """Return the outputs of the jobs at or below a folder.

    Raises:
        UsageError: There is none.
    """
    found = list(_jobs(storage, prefix))
    if not found:
        raise UsageError(f"there is no job at or below {prefix}")
    return found


def _jobs(storage: Storage, folder: str) -> Iterator[str]:
    if storage.exists(layout.manifest(folder)):
        yield folder
        return
    for below in storage.list_folders(folder):
        if not is_hidden(below.rstrip("/").rpartition("/")[2]):
            yield from _jobs(storage, below.rstrip("/"))


def _look(storage: Storage, output: str, bad: str, instead: Replacement) -> BadResults | None:
    manifest = manifest_if_there(storage, output)
    if manifest is None:
        return None
    for record in unfinished(storage, output):
        if record.replaces is not None and is_version(record.replaces, bad):
            return BadResults(
                job_id=manifest.job_id,
                output=output,
                chunks=len(record.chunks),
                bad=record.replaces.ref,
                model=manifest.model_refs,
                generation=record.number,
                broken_off=True,
            )
    places = [n for n, model in enumerate(manifest.models) if is_version(model, bad)]
    if not places:
        return None
    results = survey(storage, manifest).results
    written = [account for _, account in accounts(storage, manifest, results)]
    model, problem = None, _why_not(storage, manifest)
    try:
        model = instead.of(manifest, places[0]).ref
    except BulkError as error:
        problem = problem or str(error)
    return BadResults(
        job_id=manifest.job_id,
        output=output,
        chunks=len(written),
        rows=sum(account.rows for account in written),
        bad=manifest.models[places[0]].ref,
        model=model,
        problem=problem,
    )


def is_version(model: ModelPin, bad: str) -> bool:
    """Say whether a pinned model is the version that `bad` names."""
    return model.ref == bad or (_DIGEST.fullmatch(bad) is not None and model.digest.startswith(bad))


def _why_not(storage: Storage, manifest: Manifest) -> str | None:
    """Return why a job cannot be scored again now."""
    output = manifest.spec.output
    if storage.exists(layout.cancelled(output)):
        return "it was cancelled; `bulkscore resume --uncancel` lets it come to its end first"
    if not storage.exists(layout.summary(output)):
        return "it has not ended: wait for its end, or cancel it"
    return None


def _record(storage: Storage, output: str, bad: str, instead: Replacement) -> Generation:
    """Write down which models count from now on, and which chunks they are to score again."""
    while True:
        earlier = read_generations(storage, output)
        manifest = read_manifest(storage, output)
        replaced = [model for model in manifest.models if model.ref == bad]
        if not replaced:
            raise UsageError(f"somebody else has just replaced {bad} in job {manifest.job_id}")
        record = Generation(
            job_id=manifest.job_id,
            number=max((g.number for g in earlier), default=0) + 1,
            created_at=datetime.now(UTC),
            chunks=tuple(sorted(survey(storage, manifest).results)),
            models=tuple(
                instead.of(manifest, place) if model.ref == bad else model
                for place, model in enumerate(manifest.models)
            ),
            replaces=replaced[0],
        )
        body = record.model_dump_json().encode()
        if storage.create(layout.generation(output, record.number), body):
            return record
        # Somebody else changed the job at the same time: look again.
