"""What each model came to, where a job has several."""

from collections import Counter

from pydantic import Field

from schemas.job import Record


def _is_none(value: object) -> bool:
    return value is None


class ModelAccount(Record):
    """What one of several models came to, in a result or in a whole job.

    The rows are `rows_scored` + the sum of `errors`, of a canary those of its sample. `name` is
    what its columns are called by, empty where they are plain, `dtype` what it computed in. To
    `rows_compared` both this model and the first gave a label, to `rows_agreed` the same one; they
    are None of the first itself.
    """

    name: str
    model: str
    model_digest: str
    rows_scored: int
    errors: dict[str, int]
    tokens: int
    truncated_rows: int
    dtype: str
    rows_compared: int | None = Field(default=None, exclude_if=_is_none)
    rows_agreed: int | None = Field(default=None, exclude_if=_is_none)

    def plus(self, other: "ModelAccount") -> "ModelAccount":
        """Return what the model came to in both."""
        dtypes = {*self.dtype.split(", "), *other.dtype.split(", ")}
        return self.model_copy(
            update={
                "rows_scored": self.rows_scored + other.rows_scored,
                "errors": dict(sorted((Counter(self.errors) + Counter(other.errors)).items())),
                "tokens": self.tokens + other.tokens,
                "truncated_rows": self.truncated_rows + other.truncated_rows,
                "dtype": ", ".join(sorted(dtypes)),
                "rows_compared": _sum(self.rows_compared, other.rows_compared),
                "rows_agreed": _sum(self.rows_agreed, other.rows_agreed),
            }
        )


def _sum(one: int | None, other: int | None) -> int | None:
    """Add what is known of both; a result of an older worker knows of no agreement."""
    return None if one is None or other is None else one + other
