"""What the text of an option stands for, where it is more than a word or a number."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from schemas.errors import UsageError

if TYPE_CHECKING:
    from schemas.job import Canary, ErrorBudget


def parse_error_budget(option: str, text: str | None) -> "ErrorBudget | None":
    """Return the budget that `option` was given: a number, or a share such as `0.5%`.

    Raises:
        UsageError: It is neither.
    """
    from pydantic import ValidationError

    from schemas.job import ErrorBudget

    if text is None:
        return None
    number, percent = text.strip().removesuffix("%"), text.strip().endswith("%")
    try:
        return ErrorBudget(percent=float(number)) if percent else ErrorBudget(count=int(number))
    except (ValueError, ValidationError):
        raise UsageError(
            f"{option} {text}: give a number such as 100, or a share of all such as 0.5%"
        ) from None


def parse_canary(models: Sequence[str], ref: str | None, share: str, seed: int) -> "Canary | None":
    """Return which rows a canary scores, None without one.

    Raises:
        UsageError: The share is none, or there are several models beside it.
    """
    from schemas.job import Canary

    if ref is None:
        return None
    if len(models) > 1:
        raise UsageError("--canary goes with one --model: several score every row anyhow")
    try:
        percent = float(share.strip().removesuffix("%")) if share.strip().endswith("%") else 0.0
    except ValueError:
        percent = 0.0
    if not 0 < percent <= 100:
        raise UsageError(f"--canary-share {share}: give a share of the rows such as 5%")
    return Canary(percent=percent, seed=seed)
