"""What is kept of a job's result to tell drift: counts of labels, scores and lengths."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import polars as pl

from producer.compare_side import Side
from producer.compare_sketch import Sketch

ERROR = "(error)"

Progress = Callable[[int, int], None]


@dataclass(slots=True, kw_only=True)
class Profile:
    """Counts over the rows of a result, by one model.

    Attributes:
        labels: Rows by label; those with an error count as one.
        scores: What a label lacks of certainty (1 - score), which tells many confident rows apart;
            of a regression, its values.
        lengths: Tokens of the rows that are scored.
        tokens: Tokens by whether the tokenizer has a word for what they stand for; empty where a
            result of an older worker does not say.
    """

    side: Side
    labels: Counter[str] = field(default_factory=Counter)
    scores: Sketch = field(default_factory=Sketch)
    lengths: Sketch = field(default_factory=Sketch)
    tokens: Counter[str] = field(default_factory=Counter)

    @property
    def is_regression(self) -> bool:
        """Whether rows have values instead of labels."""
        return self.side.pin.problem_type == "regression"

    @property
    def rows(self) -> int:
        """Rows that were counted."""
        return self.labels.total()

    def add(self, rows: pl.DataFrame) -> None:
        """Take rows with their `label`, `score`, `n_tokens` and `error`."""
        names = pl.coalesce(
            pl.when(pl.col("error").is_not_null()).then(pl.lit(ERROR)), "label", pl.lit("value")
        )
        counted = rows.select(name=names).group_by("name").len()
        self.labels.update(dict(counted.iter_rows()))
        scored = rows.filter(pl.col("error").is_null())
        score = scored["score"].cast(pl.Float64)
        self.scores.add(score if self.is_regression else 1 - score)
        self.lengths.add(scored["n_tokens"])


def profile(side: Side, progress: Progress = lambda _done, _all: None) -> Profile:
    """Count the rows of a result, a few chunks in memory at a time.

    Raises:
        InputCorrupt: A result cannot be read.
    """
    found = Profile(side=side, tokens=_tokens(side))
    of_all = sum(map(side.rows_in, side.chunks_of_file))
    for rows in side.read(sorted(side.results)):
        found.add(rows)
        progress(found.rows, of_all)
    return found


def _tokens(side: Side) -> Counter[str]:
    found: Counter[str] = Counter()
    for account in side.accounts():
        if account.unknown_tokens is None:
            return Counter()
        found["unknown"] += account.unknown_tokens
        found["known"] += account.tokens - account.unknown_tokens
    return found
