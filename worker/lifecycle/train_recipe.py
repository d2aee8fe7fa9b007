"""What a training is told: how to train, on which data, from which base."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from schemas.errors import UsageError
from schemas.labelled import LabelledColumns, Problem

OptimizerName = Literal["adamw", "adam", "adagrad", "sgd"]
ScheduleName = Literal["linear", "cosine", "polynomial", "inverse_sqrt", "constant"]
ClassWeights = Literal["none", "balanced"]
Precision = Literal["auto", "fp32", "bf16"]
Device = Literal["auto", "cpu", "cuda"]

# Customary for small pretrained encoders; what has no adaptive step size needs larger ones.
LEARNING_RATES: dict[OptimizerName, float] = {
    "adamw": 1e-4,
    "adam": 1e-4,
    "adagrad": 1e-3,
    "sgd": 1e-2,
}
MAX_LENGTH = 128  # tokens
# Validation metrics by problem; the first one decides unless another is asked for.
METRIC_NAMES: dict[Problem, tuple[str, ...]] = {
    "single-label": ("macro_f1", "accuracy", "loss"),
    "multi-label": ("macro_f1", "micro_f1", "exact_match", "loss"),
    "regression": ("rmse", "mae", "r2", "spearman", "loss"),
}
SMALLER_IS_BETTER = frozenset({"loss", "rmse", "mae"})
# Bases that are no folder but an architecture with random weights, its vocabulary from the data.
Architecture = Literal["tiny-bert", "bilstm"]
ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the labelled texts are; see `read_labelled`."""

    data: tuple[str, ...]
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    columns: LabelledColumns = field(default_factory=LabelledColumns)

    @property
    def problem(self) -> Problem:
        """What a label is."""
        return self.columns.problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to train.

    Attributes:
        base: Folder, `s3://` prefix or registry reference of an encoder or classifier, or one of
            `ARCHITECTURES`.
        epochs: Passes over the data, at most.
        learning_rate: Largest step; None for what suits the optimizer.
        batch_rows: Rows of one forward pass.
        accumulate: Forward passes of one step.
        max_length: Tokens at which texts are cut; None for `MAX_LENGTH` or what the base reads.
        labels: Names in the order of the logits; None for those of the data.
        new_head: Start the head of a classifier anew, for other labels.
        freeze_encoder: Train the head alone.
        freeze_layers: Keep embeddings and so many layers, from below, as they are.
        warmup: Share of all steps in which the learning rate grows from 0.
        weight_decay: Of matrices, not of biases and norms; decoupled with AdamW, L2 otherwise.
        dropout: Of all layers; None for what the base has.
        clip: Norm to which a gradient is cut; 0 for none.
        patience: Validations without gain after which training stops; None for never.
        metric: What validation goes by; None for the first of `METRIC_NAMES`.
        validations: Validations in an epoch.
        validation_share: Share of the data to validate on where that is asked for and no
            validation data are given.
        search: Trials of other batch sizes and learning rates before the training.
    """

    base: str | Path
    epochs: float = 3.0
    learning_rate: float | None = None
    batch_rows: int = 32
    accumulate: int = 1
    max_length: int | None = None
    seed: int = 0
    labels: tuple[str, ...] | None = None
    new_head: bool = False
    freeze_encoder: bool = False
    freeze_layers: int = 0
    optimizer: OptimizerName = "adamw"
    schedule: ScheduleName = "linear"
    warmup: float = 0.1
    weight_decay: float = 0.01
    dropout: float | None = None
    label_smoothing: float = 0.0
    clip: float = 1.0
    class_weights: ClassWeights = "none"
    patience: int | None = None
    metric: str | None = None
    validations: int = 1
    validation_share: float = 0.1
    precision: Precision = "auto"
    device: Device = "auto"
    search: int = 0

    @property
    def largest_step(self) -> float:
        """The learning rate, given or by default."""
        given = self.learning_rate
        return LEARNING_RATES[self.optimizer] if given is None else given

    def validates(self, sources: Sources) -> bool:
        """Say whether validation data are needed, or given."""
        return bool(sources.validation) or self.patience is not None or self.search > 0

    def metric_for(self, problem: Problem) -> str:
        """Return the validation metric that decides.

        Raises:
            UsageError: The problem has no metric of this name.
        """
        names = METRIC_NAMES[problem]
        if self.metric is not None and self.metric not in names:
            raise UsageError(f"--metric {self.metric}: of {problem} there are {', '.join(names)}")
        return self.metric or names[0]

    def require_fit(self, problem: Problem) -> None:
        """Refuse options that mean nothing for the problem, or nothing together.

        Raises:
            UsageError: There is one.
        """
        self.metric_for(problem)
        if problem == "regression":
            for option, given in (
                ("--labels", self.labels is not None),
                ("--label-smoothing", self.label_smoothing > 0),
                ("--class-weights", self.class_weights != "none"),
            ):
                if given:
                    raise UsageError(f"{option} is for labels, and --problem regression has none")
        if self.freeze_encoder and self.freeze_layers:
            raise UsageError("--freeze-encoder keeps all layers: leave --freeze-layers out")
        if self.base in ARCHITECTURES and (self.freeze_encoder or self.freeze_layers):
            raise UsageError(f"--model {self.base} begins with random weights: freeze none of them")

    def as_json(self) -> dict[str, Any]:
        """Return the recipe as a JSON object, which tells it from every other one."""
        labels = list(self.labels) if self.labels else None
        return asdict(self) | {
            "base": str(self.base),
            "labels": labels,
            "learning_rate": self.largest_step,
        }
