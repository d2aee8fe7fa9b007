#!/usr/bin/env bash
# From labelled texts to a released model, its scores, a better version, and back again.
#
#     bash docs/road.sh FOLDER
#
# FOLDER holds train.csv and test.csv (text, label) and corpus.parquet (id, text); all that is made
# goes below FOLDER/road. BASE names the encoder to start from. Everything runs on this machine; on a
# cluster `run` is `submit --wait`.
set -euo pipefail
cd "${1:?give the folder with train.csv, test.csv and corpus.parquet}"
base=${BASE:-tiny-bert} rate=${LEARNING_RATE:-1e-3}
mkdir road
export BULKSCORE_MODELS_URI=$PWD/road/models
score() { bulkscore run -i corpus.parquet --text-column text --id-column id "$@"; }

echo "--- what the labelled texts are like"
bulkscore profile --data train.csv --test-data test.csv

echo "--- a first model, evaluated, registered and released"
bulkscore train --model "$base" --learning-rate "$rate" --epochs 4 \
  --data train.csv --test-data test.csv --out ./road/first
bulkscore evaluate ./road/first --data test.csv --report road/first.html
bulkscore models register ./road/first --name sentiment --version 1 --precision-data test.csv
bulkscore models promote sentiment@1 --alias prod --reason "the first one"
score --model sentiment@prod --output road/scored-by-1

echo "--- a smaller one, held against it"
bulkscore compress sentiment@prod --method prune-ffn --max-drop 0.05 --learning-rate "$rate" \
  --data test.csv --train-data train.csv --out ./road/smaller
bulkscore evaluate ./road/smaller --data test.csv --baseline sentiment@prod
bulkscore models register ./road/smaller --name sentiment --version 2 --parent sentiment@1
bulkscore models promote sentiment@2 --alias prod --reason "smaller" --no-gate

echo "--- the same corpus by the new one, and what has changed"
score --model sentiment@prod --output road/scored-by-2
bulkscore compare road/scored-by-1 road/scored-by-2

echo "--- back to the first"
bulkscore models rollback sentiment --alias prod --reason "to see that it works"
bulkscore models show sentiment@prod
