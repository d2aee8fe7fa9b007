"""What every record that is kept as JSON has in common."""

from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from schemas.errors import ManifestMissing


class Record(BaseModel):
    """A frozen record that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


RecordT = TypeVar("RecordT", bound=Record)


def parse_record(kind: type[RecordT], body: bytes, uri: str) -> RecordT:
    """Return the record that the object at `uri` holds.

    Raises:
        ManifestMissing: It is damaged or of a version we do not know.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        problems = "; ".join(f"{e['loc']}: {e['msg']}" for e in error.errors(include_input=False))
        raise ManifestMissing(f"{uri} is damaged or of another version: {problems}") from None
