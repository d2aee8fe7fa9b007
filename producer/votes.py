"""Votes of rules on texts: every rule has one, the majority decides, a tie is no label.

Many cheap and partly wrong rules make labels good enough to start a model with: data programming
(Ratner et al. 2016), made popular by Snorkel (Ratner et al. 2017), whose measures of a rule these
are. Its model that weighs rules by how far they agree is left out: each vote counts the same.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from producer.rules import Rules
from schemas.labelled import TEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleReport:
    """What a rule did; shares are None where they would be of no rows.

    Attributes:
        rows: Rows in which it found something.
        coverage: Their share of all rows.
        overlap: Share of all rows that another rule voted on as well.
        conflict: Share of all rows on which another rule voted for another label.
        agreement: Of its rows that got a label, the share that got its label.
        precision: Of the labelled rows it votes on, the share that has its label.
        precision_rows: How many labelled rows that are.
    """

    name: str
    label: str
    rows: int
    coverage: float | None
    overlap: float | None
    conflict: float | None
    agreement: float | None
    precision: float | None = None
    precision_rows: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelReport:
    """What became of a corpus.

    Attributes:
        labelled: Rows that got a label, by label.
        tied_rows: Rows whose votes were equal for two labels: no label.
        silent_rows: Rows that no rule voted on: no label.
        accuracy: Of the labelled rows that the rules label, the share with the right label.
        accuracy_rows: How many labelled rows that are.
    """

    rows: int
    labelled: dict[str, int]
    tied_rows: int
    silent_rows: int
    rules: tuple[RuleReport, ...]
    accuracy: float | None = None
    accuracy_rows: int | None = None
    objects: tuple[str, ...] = ()


class Voting:
    """Votes of all rules on texts, and their sums so far."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._totals: dict[str, int] = {}
        self._hits = [
            pl.col(TEXT).str.contains(rule.pattern).fill_null(False).alias(f"rule {i}")
            for i, rule in enumerate(rules.rules)
        ]

    def label(self, texts: pl.Series) -> pl.Series:
        """Return the label that most rules vote for, null where none or two have most."""
        return self.count(texts, None)

    def count(self, texts: pl.Series, truth: pl.Series | None) -> pl.Series:
        """Return labels as `label` does, and hold the votes against the true labels, if any."""
        voted = pl.DataFrame({TEXT: texts}).lazy().select(self._hits)
        voted = voted.with_columns(
            pl.sum_horizontal(self._of_label(label)).alias(f"votes {j}")
            for j, label in enumerate(self._rules.labels)
        )
        votes = [f"votes {j}" for j in range(len(self._rules.labels))]
        voted = voted.with_columns(most=pl.max_horizontal(votes), all=pl.sum_horizontal(votes))
        winners = [pl.col(name) == pl.col("most") for name in votes]
        clear = (pl.col("most") > 0) & (pl.sum_horizontal(winners) == 1)
        chosen = pl.coalesce(
            pl.when(clear & wins).then(pl.lit(label))
            for wins, label in zip(winners, self._rules.labels, strict=True)
        )
        table = voted.with_columns(label=chosen).collect()
        if truth is not None:
            table = table.with_columns(truth.alias("truth"))
        sums = table.select(self._sums(with_truth=truth is not None)).row(0, named=True)
        for name, value in sums.items():
            self._totals[name] = self._totals.get(name, 0) + (value or 0)
        return table["label"]

    def _of_label(self, label: str) -> list[pl.Expr]:
        found = [
            pl.col(f"rule {i}").cast(pl.UInt32)
            for i, rule in enumerate(self._rules.rules)
            if rule.label == label
        ]
        return found or [pl.lit(0, dtype=pl.UInt32)]

    def _sums(self, *, with_truth: bool) -> Iterator[pl.Expr]:
        labelled = pl.col("label").is_not_null()
        yield pl.len().alias("rows")
        yield ((pl.col("all") > 0) & ~labelled).sum().alias("tied")
        yield (pl.col("all") == 0).sum().alias("silent")
        for j, label in enumerate(self._rules.labels):
            yield (pl.col("label") == label).sum().alias(f"label {j}")
        if with_truth:
            yield labelled.sum().alias("truth rows")
            yield (pl.col("label") == pl.col("truth")).sum().alias("right")
        for i, rule in enumerate(self._rules.rules):
            hit, own = pl.col(f"rule {i}"), pl.col(f"votes {self._rules.labels.index(rule.label)}")
            yield hit.sum().alias(f"hits {i}")
            yield (hit & (pl.col("all") > 1)).sum().alias(f"overlaps {i}")
            yield (hit & (pl.col("all") > own)).sum().alias(f"conflicts {i}")
            yield (hit & labelled).sum().alias(f"decided {i}")
            yield (hit & (pl.col("label") == rule.label)).sum().alias(f"agrees {i}")
            if with_truth:
                yield (hit & (pl.col("truth") == rule.label)).sum().alias(f"right {i}")

    def report(self, labelled: "Voting | None" = None, objects: Sequence[str] = ()) -> LabelReport:
        """Return the account so far, with precision by the votes on labelled texts, if any."""
        total, truth = self._totals, labelled._totals if labelled else {}
        rows = total.get("rows", 0)
        return LabelReport(
            rows=rows,
            labelled={
                label: total.get(f"label {j}", 0) for j, label in enumerate(self._rules.labels)
            },
            tied_rows=total.get("tied", 0),
            silent_rows=total.get("silent", 0),
            rules=tuple(
                RuleReport(
                    name=rule.name,
                    label=rule.label,
                    rows=total.get(f"hits {i}", 0),
                    coverage=_share(total.get(f"hits {i}", 0), rows),
                    overlap=_share(total.get(f"overlaps {i}", 0), rows),
                    conflict=_share(total.get(f"conflicts {i}", 0), rows),
                    agreement=_share(total.get(f"agrees {i}", 0), total.get(f"decided {i}", 0)),
                    precision=_share(truth.get(f"right {i}", 0), truth.get(f"hits {i}", 0)),
                    precision_rows=truth.get(f"hits {i}"),
                )
                for i, rule in enumerate(self._rules.rules)
            ),
            accuracy=_share(truth.get("right", 0), truth.get("truth rows", 0)),
            accuracy_rows=truth.get("truth rows"),
            objects=tuple(objects),
        )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
