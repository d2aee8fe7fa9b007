"""Whether a version's recorded metrics are good enough for an alias."""

from schemas.gate import Amount, Gate, Metrics, Threshold, check, value_at

# What a metric may lose against the version that the alias points to, unless a gate says more.
DEFAULT_MAX_DROP = 0.01

# Of these the version must have recorded one at least.
DEFAULT_GATE = Gate(
    {name: Threshold(max_drop=Amount(value=DEFAULT_MAX_DROP)) for name in ("accuracy", "macro_f1")}
)


def failures(gate: Gate | None, metrics: Metrics | None, before: Metrics | None) -> list[str]:
    """Return what is not good enough, nothing for a version that passes.

    Args:
        gate: What is asked; None for the default, which counts the metrics that there are.
        metrics: Those of the version, None when none were recorded.
        before: Those of the version that the alias points to, None when it points to none.
    """
    if metrics is None:
        return ["no metrics were recorded"]
    asked = gate or DEFAULT_GATE
    if gate is None:
        there = {n: t for n, t in asked.root.items() if value_at(metrics, n) is not None}
        if not there:
            return [f"none of {', '.join(DEFAULT_GATE.root)} was recorded"]
        asked = Gate(there)
    # A metric that is only compared must be there even when there is nothing to compare with.
    missing = [name for name in asked.root if value_at(metrics, name) is None]
    return [f"{name}: not recorded" for name in missing] + [
        f"{found.metric}: {found.problem}"
        for found in check(asked, metrics, before)
        if not found.passed and found.metric not in missing
    ]
