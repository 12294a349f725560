#!/usr/bin/env bash
# Everything that a GPU should answer in ten minutes, each question within its own time.
#
#     benchmarks/gpu_plan.sh FOLDER [--quick]
#
# In an environment with '.[dev,cuda13]' (or cuda12) and, for its yardstick, PyTorch. FOLDER gets the rows of every
# question as JSON, its output, how long each took, and the table of targets. A question that runs out of its time
# leaves what it has printed, and the others are asked all the same. --quick shows that everything runs, on any machine
# and in five times the time where that is slow; what needs a GPU is then only collected, and says so.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:?"usage: benchmarks/gpu_plan.sh FOLDER [--quick]"}
quick=${2:-}
patience=${quick:+5}
python=${PYTHON:-.venv/bin/python}
mkdir -p "$out"
printf 'question\tseconds\tstatus\n' > "$out/asked.tsv"
failed=0

ask() {  # name, seconds, command
  local name=$1 budget=$(($2 * ${patience:-1})) begin=$SECONDS status
  shift 2
  echo "== $name, at most $budget s"
  timeout --kill-after=10 "$budget" "$@" > "$out/$name.log" 2>&1
  status=$?
  tail -n 20 "$out/$name.log"
  printf '%s\t%d\t%d\n' "$name" $((SECONDS - begin)) "$status" >> "$out/asked.tsv"
  [ "$status" -eq 0 ] || failed=1
}

bench() {  # name, seconds, further words
  local name=$1 budget=$2 module=${1%%.*}
  shift 2
  ask "$name" "$budget" "$python" -m "benchmarks.$module" --json "$out/$name.json" "$@" ${quick:+--quick}
}

ask device 30 "$python" -c 'import jax; from benchmarks import common; print(common.machine())'
if [ -n "$quick" ]; then
  echo "the tests need a GPU: only collected"
  ask tests 80 "$python" -m pytest -q -m gpu --collect-only tests/test_gpu.py
else
  ask tests 80 env JAX_PLATFORMS=cuda,cpu "$python" -m pytest -q -m gpu tests/test_gpu.py
fi
bench inner_step 130 --networks digits cnn --precisions float32 tf32 bf16
bench inner_step.resnet18 80 --networks resnet18 --precisions bf16
bench convolution 50
bench scaling 50
bench learner 50
bench door 40
bench door_size 60 --batches 256
bench memory 30
"$python" -m benchmarks.run --json "$out" --only-targets | tee "$out/targets.txt"
exit $failed
