"""Sums over the results and dead letters of a job."""

from array import array
from collections import Counter
from dataclasses import dataclass, field

from schemas.dead_letter import Buried, DeadLetter
from schemas.model_account import ModelAccount, both
from schemas.result_table import ResultTable
from schemas.results import ResultFooter


@dataclass(slots=True, kw_only=True)
class Tally:
    """Sums over results and dead letters.

    `models` has those of each of several models by name.
    `unknown_tokens` is None where a result does not say.
    `damaged` says of a chunk why its result cannot be counted: it is unreadable, or of another.
    """

    rows_scored: int = 0
    rows_error: int = 0
    tokens: int = 0
    truncated_rows: int = 0
    unknown_tokens: int | None = 0
    scoring_seconds: float = 0.0
    row_errors: Counter[str] = field(default_factory=Counter)
    models: dict[str, ModelAccount] = field(default_factory=dict)
    buried: dict[int, Buried] = field(default_factory=dict)
    workers: set[str] = field(default_factory=set)
    damaged: dict[int, str] = field(default_factory=dict)
    _counted: "array[int]" = field(default_factory=lambda: array("i"))
    _footers: bytearray = field(default_factory=bytearray)

    @property
    def rows_dead(self) -> int:
        """Rows of dead chunks."""
        return sum(dead.rows for dead in self.buried.values())

    @property
    def dead_by_code(self) -> Counter[str]:
        """How many chunks died of what."""
        return Counter(dead.code for dead in self.buried.values())

    @property
    def unknown_token_rate(self) -> float | None:
        """Share of the tokens that stand for what the tokenizer has no word for."""
        if self.unknown_tokens is None or not self.tokens:
            return None
        return self.unknown_tokens / self.tokens

    @property
    def results(self) -> ResultTable:
        """The results that were added."""
        return ResultTable(self._counted, bytes(self._footers))

    def add_result(self, footer: ResultFooter) -> None:
        """Add what one result object says of itself; chunks come in rising order."""
        account = footer.account
        self._counted.append(account.chunk)
        self._footers += footer.sha256
        self.rows_scored += account.rows_scored
        self.rows_error += account.rows - account.rows_scored
        self.tokens += account.tokens
        self.truncated_rows += account.truncated_rows
        self.unknown_tokens = both(self.unknown_tokens, account.unknown_tokens)
        self.scoring_seconds += account.seconds
        self.row_errors.update(account.errors)
        self.workers.add(account.worker)
        for model in account.models:
            before = self.models.get(model.name)
            self.models[model.name] = before.plus(model) if before else model

    def add_dead_letter(self, letter: DeadLetter) -> None:
        """Add one buried chunk."""
        self.buried[letter.chunk] = Buried(rows=letter.rows, code=letter.code)

    def counters(self) -> dict[str, float]:
        """Return the sums over results under the names that the ledger uses."""
        numbers = {
            "rows_scored": self.rows_scored,
            "rows_error": self.rows_error,
            "tokens": self.tokens,
            "truncated_rows": self.truncated_rows,
            "scoring_seconds": self.scoring_seconds,
        }
        codes = {f"row:{code}": count for code, count in self.row_errors.items()}
        return {**numbers, **codes}
