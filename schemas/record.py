"""What every record that is kept as JSON has in common."""

from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from schemas.errors import BulkError, ManifestMissing, VersionUnknown


class Record(BaseModel):
    """A frozen record that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


RecordT = TypeVar("RecordT", bound=Record)


def parse_record(kind: type[RecordT], body: bytes, uri: str) -> RecordT:
    """Return the record that the object at `uri` holds.

    Raises:
        ManifestMissing: It is damaged.
        VersionUnknown: A later release wrote it.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise refusal(kind, error, uri) from None


def refusal(kind: type[Record], error: ValidationError, uri: str) -> BulkError:
    """Return what is wrong with the object at `uri` that should have been a record."""
    problems = "; ".join(f"{e['loc']}: {e['msg']}" for e in error.errors(include_input=False))
    if of_later_version(kind, error) or has_unknown_fields(error):
        return VersionUnknown(
            f"{uri} was written by a later release of bulkscore, upgrade this one: {problems}"
        )
    return ManifestMissing(f"{uri} is damaged or of another version: {problems}")


def of_later_version(kind: type[Record], error: ValidationError) -> bool:
    """Say whether what was refused calls itself of a version above ours."""
    field = kind.model_fields.get("version")
    found = [e["input"] for e in error.errors() if field and e["loc"] == ("version",)]
    return any(type(version) is int and field and version > field.default for version in found)


def has_unknown_fields(error: ValidationError) -> bool:
    """Say whether nothing was wrong but fields that we do not know."""
    return all(e["type"] == "extra_forbidden" for e in error.errors())
