"""`reprocess --model-version`: show what a bad model version wrote, and score it again."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from producer.cli.terminal import number_of, print_json, print_table, say
from schemas.errors import BulkError, ExitCode

if TYPE_CHECKING:
    from producer.bad_version import BadResults


def reprocess_version(
    prefixes: Sequence[str], bad: str, model: str | None, *, dry_run: bool, as_json: bool
) -> None:
    """Find the results of a version below the prefixes and have them scored again.

    A job that cannot be scored again keeps none of the others back.
    """
    from producer.bad_version import Replacement, find, send_again
    from producer.deployment import Deployment

    deployment = Deployment.from_environment()
    deployment.require_storage(*prefixes)
    if not dry_run:
        deployment.require_broker()
    instead = Replacement(deployment.storage, model)
    found = find(deployment.storage, prefixes, bad, instead)
    done = found
    if not dry_run:
        done = []
        for results in found:
            try:
                sent = send_again(deployment, results, instead) if not results.problem else results
            except BulkError as error:
                sent = results.model_copy(update={"problem": str(error)})
            done.append(sent)
    if as_json:
        print_json({"would_send" if dry_run else "sent": done})
    elif done:
        print_table(
            ("job", "#results", "#rows", "by", "again by", "generation", "output"),
            ((r.job_id, r.chunks, r.rows, r.bad, r.model, r.generation, r.output) for r in done),
        )
    _tell(done, bad, dry_run=dry_run)
    if any(results.problem for results in done):
        raise typer.Exit(ExitCode.USAGE)


def _tell(done: "Sequence[BadResults]", bad: str, *, dry_run: bool) -> None:
    """Say what came of it: jobs that are left as they are, with the reason, last."""
    sent = [results for results in done if not results.problem]
    count = number_of(sum(results.chunks for results in sent), "result")
    jobs = number_of(len(sent), "job")
    if not done:
        say(f"{bad} wrote no result there")
    elif dry_run:
        say(f"{count} of {jobs} would be scored again; nothing was changed")
    elif sent:
        say(f"{count} of {jobs} set aside and sent again; each job ends anew")
    for results in done:
        if results.problem:
            say(f"job {results.job_id} is left as it is: {results.problem}")
