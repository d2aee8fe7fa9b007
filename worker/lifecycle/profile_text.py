"""A data profile as lines of text that a person reads."""

from collections.abc import Iterator

from worker.lifecycle.profile import DataProfile, Lengths, Profile, Share

LABELS_SHOWN = 20


def profile_lines(found: Profile) -> Iterator[str]:
    """Yield the lines of a whole profile, warnings last."""
    yield from _set_lines("data", found.data)
    if found.test:
        yield ""
        yield from _set_lines("test data", found.test)
    if found.leakage:
        yield _fact("in training too", f"{found.leakage.rows:,} ({found.leakage.share:.1%})")
        yield _fact("  letter for letter", f"{found.leakage.exact_rows:,}")
    if found.warnings:
        yield ""
    yield from (f"warning: {warning}" for warning in found.warnings)


def _set_lines(name: str, found: DataProfile) -> Iterator[str]:
    yield _fact(name, f"{found.rows:,} rows")
    yield _fact("without a text", f"{found.blank_rows:,}")
    yield _fact("without a label", f"{found.unlabelled_rows:,}")
    yield _fact("repeated texts", f"{found.repeats.rows:,}")
    yield _fact("  letter for letter", f"{found.repeats.exact_rows:,}")
    if found.problem != "regression":
        yield _fact("texts with two labels", f"{found.repeats.conflicting_texts:,}")
    yield _fact("characters", _lengths(found.characters))
    if tokens := found.tokens:
        yield _fact("tokens", _lengths(tokens.lengths))
        yield _fact(
            f"  more than {tokens.limit}",
            f"{tokens.truncated_rows:,} ({tokens.truncated_share:.1%})",
        )
    if values := found.values:
        yield _fact(
            "values",
            f"{values.smallest:g} to {values.largest:g}, mean {values.mean:.4g}, "
            f"deviation {values.deviation:.4g}",
        )
    yield from _share_lines("label", found.labels)
    yield from _share_lines("script, roughly the language", found.scripts)


def _share_lines(title: str, shares: tuple[Share, ...]) -> Iterator[str]:
    if not shares:
        return
    yield _fact(title, "")
    shown = shares[:LABELS_SHOWN]
    width = max(len(share.name) for share in shown)
    for share in shown:
        yield f"  {share.name:<{width}}  {share.rows:>9,}  {share.share:>6.1%}"
    if len(shares) > LABELS_SHOWN:
        yield f"  … and {len(shares) - LABELS_SHOWN:,} more"


def _lengths(found: Lengths) -> str:
    return f"p50 {found.p50:,}  p90 {found.p90:,}  p99 {found.p99:,}  longest {found.longest:,}"


def _fact(name: str, value: str) -> str:
    return f"{name:<21}  {value}".rstrip()
