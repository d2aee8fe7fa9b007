"""What each model came to, where a job has several."""

from collections import Counter

from pydantic import Field

from schemas.job import Record


def is_none(value: object) -> bool:
    """Say whether a field has nothing to say, and is left out."""
    return value is None


class ModelAccount(Record):
    """What one of several models came to, in a result or in a whole job.

    The rows are `rows_scored` + the sum of `errors`, of a canary those of its sample. `name` is
    what its columns are called by, empty where they are plain, `dtype` what it computed in. To
    `rows_compared` both this model and the first gave a label, to `rows_agreed` the same one; they
    are None of the first itself. `unknown_tokens` are those of `tokens` that stand for what the
    tokenizer has no word for, None where a result of an older worker does not say.
    """

    name: str
    model: str
    model_digest: str
    rows_scored: int
    errors: dict[str, int]
    tokens: int
    truncated_rows: int
    dtype: str
    unknown_tokens: int | None = Field(default=None, exclude_if=is_none)
    rows_compared: int | None = Field(default=None, exclude_if=is_none)
    rows_agreed: int | None = Field(default=None, exclude_if=is_none)

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
                "unknown_tokens": both(self.unknown_tokens, other.unknown_tokens),
                "rows_compared": both(self.rows_compared, other.rows_compared),
                "rows_agreed": both(self.rows_agreed, other.rows_agreed),
            }
        )


def both(one: int | None, other: int | None) -> int | None:
    """Add what is known of both; a result of an older worker does not say everything."""
    return None if one is None or other is None else one + other
