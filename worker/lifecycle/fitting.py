"""The training itself, on the Trainer of transformers: base in, fitted weights out."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from schemas.errors import ModelIncompatible
from schemas.model_config import require_safe
from schemas.model_families import FAMILIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """Numbers of a training; `warmup_share` is of all steps, `batch_rows` of one step."""

    epochs: float
    learning_rate: float
    warmup_share: float
    weight_decay: float
    batch_rows: int
    max_length: int
    seed: int
    progress_lines: int


def load_base(base: Path, names: Sequence[str], *, seed: int, freeze: bool) -> tuple[Any, Any]:
    """Return model and tokenizer of `base`, with a head for these labels.

    A head that is missing or of another size starts from random weights drawn with `seed`; any
    other weight must be there.

    Raises:
        ModelIncompatible: It is no encoder of a known family with all its weights.
    """
    model_type = _model_type(base)
    disable_progress_bar()
    set_verbosity_error()  # it would warn that the head is new, which is the point
    set_seed(seed)
    try:
        model, info = AutoModelForSequenceClassification.from_pretrained(
            base,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            attn_implementation=FAMILIES[model_type].attention,
            dtype=torch.float32,
            id2label=dict(enumerate(names)),
            label2id={name: i for i, name in enumerate(names)},
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(
            base, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, RuntimeError, LookupError, ImportError) as error:
        raise ModelIncompatible(f"{base} does not load: {type(error).__name__}: {error}") from error
    _require_only_head_new(base, model, info)
    model.config.problem_type = "single_label_classification"
    tokenizer.padding_side = FAMILIES[model_type].padding_side
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    if freeze:
        model.base_model.requires_grad_(False)
    return model, tokenizer


def fit(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str],
    targets: Sequence[int],
    fitting: Fitting,
    scratch: Path,
) -> float:
    """Train `model` in place and return the mean loss."""
    ids = tokenizer(list(texts), truncation=True, max_length=fitting.max_length)["input_ids"]
    rows = [{"input_ids": i, "labels": t} for i, t in zip(ids, targets, strict=True)]
    steps = max(int(len(rows) / fitting.batch_rows * fitting.epochs), 1)
    arguments = TrainingArguments(
        output_dir=str(scratch),
        num_train_epochs=fitting.epochs,
        per_device_train_batch_size=fitting.batch_rows,
        learning_rate=fitting.learning_rate,
        warmup_steps=fitting.warmup_share,
        weight_decay=fitting.weight_decay,
        train_sampling_strategy="group_by_length",
        dataloader_num_workers=0,
        dataloader_pin_memory=torch.cuda.is_available(),
        use_cpu=not torch.cuda.is_available(),
        logging_steps=max(steps // fitting.progress_lines, 1),
        save_strategy="no",
        disable_tqdm=True,
        report_to="none",
        seed=fitting.seed,
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        data_collator=DataCollatorWithPadding(tokenizer),
        callbacks=[_Progress()],
    )
    trainer.remove_callback(_printer())
    return float(trainer.train().training_loss)


class _Progress(TrainerCallback):  # type: ignore[misc]
    """One line on stderr now and then."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def on_log(self, _args: Any, state: Any, _control: Any, logs: Any = None, **_: Any) -> None:
        """Print step, loss and time."""
        if logs and "loss" in logs:
            seconds = time.monotonic() - self._started
            print(
                f"step {state.global_step}/{state.max_steps}  epoch {state.epoch:.2f}  "
                f"loss {float(logs['loss']):.4f}  {seconds:.0f} s",
                file=sys.stderr,
                flush=True,
            )


def _printer() -> Any:
    """Return the callback that prints logs to stdout, where our metrics go."""
    from transformers import PrinterCallback

    return PrinterCallback


def _model_type(base: Path) -> str:
    try:
        config = json.loads((base / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise ModelIncompatible(f"{base} has no config.json that can be read") from error
    require_safe(config, f"{base}/config.json")
    model_type = config.get("model_type")
    if model_type not in FAMILIES:
        raise ModelIncompatible(
            f"{base} is of type {model_type!r}; known are {', '.join(sorted(FAMILIES))}"
        )
    return str(model_type)


def _require_only_head_new(base: Path, model: Any, info: Any) -> None:
    """Refuse a base that lacks weights of the encoder itself; a pooler belongs to the head."""
    prefix = f"{model.base_model_prefix}."
    mismatched = [entry[0] for entry in info["mismatched_keys"]]
    lacking = [
        name
        for name in (*info["missing_keys"], *mismatched)
        if name.startswith(prefix) and not name.startswith(f"{prefix}pooler.")
    ]
    if lacking:
        raise ModelIncompatible(f"{base} lacks weights of the encoder: {sorted(lacking)[:5]}")
