"""What each model came to, where a job has several."""

from collections import Counter

from schemas.job import ModelName, Record


class ModelAccount(Record):
    """What one of several models came to, in a result or in a whole job.

    The rows are `rows_scored` + the sum of `errors`. `name` is what its columns are called by,
    `dtype` what it computed in.
    """

    name: ModelName
    model: str
    model_digest: str
    rows_scored: int
    errors: dict[str, int]
    tokens: int
    truncated_rows: int
    dtype: str

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
            }
        )
