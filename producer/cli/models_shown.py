"""`models list` and `models show`: what is registered, and what is known of it."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from producer.cli.options import Json
from producer.cli.terminal import print_facts, print_json, print_line, print_table, say, size

if TYPE_CHECKING:
    from schemas.registry import Registry

Ref = Annotated[str, typer.Argument(metavar="REF", help="NAME@VERSION or NAME@ALIAS.")]


def list_models(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Its versions.")] = None,
    as_json: Json = False,
) -> None:
    """List the models, or the versions of one with the aliases that point to them.

    Example: bulkscore models list sentiment
    """
    registry = open_registry()
    names = [name] if name else registry.names()
    versions = [version for each in names for version in registry.versions(each)]
    if as_json:
        print_json(versions)
        return
    if not versions:
        say(f"nothing is registered in {registry.root}")
        return
    aliases: dict[tuple[str, str], list[str]] = {}
    for alias in (alias for each in names for alias in registry.aliases(each)):
        aliases.setdefault((alias.name, alias.version), []).append(alias.alias)
    print_table(
        ("model", "registered", "by", "aliases"),
        (
            (v.ref, f"{v.created_at:%Y-%m-%d %H:%M}", v.created_by, ", ".join(pointing))
            for v in versions
            for pointing in (aliases.get((v.name, v.version), []),)
        ),
    )


def show(ref: Ref, as_json: Json = False) -> None:
    """Show a version: files, labels, metrics, last evaluation, parent, and the model's history.

    Example: bulkscore models show sentiment@prod
    """
    from producer.registry import metrics_of
    from schemas.evaluations import last_evaluation

    registry = open_registry()
    version = registry.resolve(ref)
    evaluation = last_evaluation(registry, version)
    signature, metrics = registry.signature(version), metrics_of(registry, version)
    events = registry.history(version.name)
    if as_json:
        print_json(
            {
                "version": version,
                "signature": signature,
                "metrics": metrics,
                "evaluation": evaluation,
                "history": events,
            }
        )
        return
    print_facts(
        {
            "model": version.ref,
            "digest": version.digest,
            "folder": registry.folder(version),
            "labels": ", ".join(signature.labels),
            "reads": f"{signature.max_length} tokens",
            "parent": version.parent and version.parent.ref,
            "registered": f"{version.created_at:%Y-%m-%d %H:%M:%S} by {version.created_by}",
            **{
                f"as in fp32, {dtype}": f"{found.same:.2%} of {found.texts} texts"
                for dtype, found in signature.precisions.items()
            },
            **{f"  {key}": str(value) for key, value in (metrics or {}).items()},
            **_evaluation_facts(evaluation or {}),
        }
    )
    print_line("\nhistory")
    print_table(
        ("at", "action", "version", "alias", "by", "reason"),
        (
            (f"{e.at:%Y-%m-%d %H:%M:%S}", e.action, e.version, e.alias, e.by, e.reason)
            for e in events
        ),
    )


def _evaluation_facts(evaluation: dict[str, Any]) -> dict[str, str]:
    """Return when a version was evaluated, on how many rows, and its quality."""
    if not evaluation:
        return {}
    quality = evaluation.get("quality", {})
    return {
        "evaluated": f"{evaluation.get('at')}, {evaluation['data']['rows']:,} rows",
        **{f"  quality.{k}": f"{v:.4f}" for k, v in quality.items() if isinstance(v, float)},
    }


def say_unfinished(registry: "Registry", name: str) -> None:
    """Tell what was left of publishing a model, if anything was."""
    from producer.unfinished import find_unfinished

    left = find_unfinished(registry, name)
    for each in left:
        say(f"of no version: {each.uri}, {size(each.size)}, written {each.written:%Y-%m-%d %H:%M}")
    if left:
        say(f"once nobody publishes there: bulkscore models rm {name} --unfinished")


def remove_leftovers(name: str, hours: float) -> list[str]:
    """Remove what was left of publishing a model, tell what is too young, return what is gone."""
    from datetime import timedelta

    from producer.unfinished import remove_unfinished

    registry = open_registry()
    gone = [u.uri for u in remove_unfinished(registry, name, older_than=timedelta(hours=hours))]
    say_unfinished(registry, name)
    return gone


def open_registry() -> "Registry":
    """Return the registry that is configured, which answers."""
    from producer.deployment import Deployment
    from schemas.registry import Registry
    from schemas.settings import RegistrySettings, load

    registry = Registry(Deployment.from_environment().storage, load(RegistrySettings).models_uri)
    registry.storage.probe(registry.root)
    return registry
