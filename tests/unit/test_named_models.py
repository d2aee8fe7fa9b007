"""What `--model` says, given once or several times."""

import pytest

from schemas.errors import UsageError
from schemas.named_models import named_models


@pytest.mark.parametrize("ref", ["models/sentiment", "s3://bucket/run=5", "run=5"])
def test_a_model_alone_is_a_reference_and_has_no_name(ref: str) -> None:
    found = named_models([ref])

    assert (found.refs, found.names) == ((ref,), ())


@pytest.mark.parametrize(
    ("given", "ref", "name"),
    [
        ("models/sentiment@2", "models/sentiment@2", "sentiment_2"),
        ("s3://bucket/all-MiniLM-L6-v2/", "s3://bucket/all-MiniLM-L6-v2/", "all_MiniLM_L6_v2"),
        ("new=models/sentiment", "models/sentiment", "new"),
        ("./run=5", "./run=5", "run_5"),
        ("s3://bucket/run=5/model", "s3://bucket/run=5/model", "model"),
    ],
)
def test_each_of_several_is_called_as_it_says_or_by_the_end_of_its_reference(
    given: str, ref: str, name: str
) -> None:
    found = named_models(["first=a", given])

    assert (found.refs, found.names) == (("a", ref), ("first", name))


@pytest.mark.parametrize(
    "given", [["v1/m", "v2/m"], ["old=a", "OLD=b"], ["a-b", "a_b"], ["m", "m"]]
)
def test_two_models_of_one_name_are_told_how_to_get_others(given: list[str]) -> None:
    with pytest.raises(UsageError, match=r"would both fill label_.*--model old=.* --model new="):
        named_models(given)


@pytest.mark.parametrize("ref", ["..", "/", "模型"])
def test_a_reference_that_gives_no_name_is_told_how_to_get_one(ref: str) -> None:
    with pytest.raises(UsageError, match="--model first="):
        named_models(["a", ref])
