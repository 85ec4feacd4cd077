#!/usr/bin/env bash
# The checks that need a GPU: tests, then all benchmarks (run.sh) and what is not in its table.
#
#   bash scripts/bench/gpu.sh [DATA_BIN]     (default: a generated corpus)
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
bin="${1:-$BAS_ROOT/runs/gpu/bin}"
if [ $# -eq 0 ]; then
    "$BAS_PYTHON" "$BAS_ROOT/data/make_toy.py" --out "$BAS_ROOT/runs/gpu/corpus" \
        --train 20000 --valid 200 --test 200
    prepare "$BAS_ROOT/runs/gpu/corpus" "$BAS_ROOT/runs/gpu" 400
fi
cd "$BAS_ROOT"
"$BAS_PYTHON" -m pytest tests/gpu
say "time and memory against plain fairseq, R-Drop, losses, noise, LSTM layers: fp16 and bf16"
bash scripts/bench/run.sh --out "$BAS_ROOT/runs/gpu/bench"
say "half precision against float32, and overflows against plain fairseq at equal rows"
"$BAS_PYTHON" scripts/bench/half_precision.py "$bin" --device cuda
say "partial replication"
"$BAS_PYTHON" scripts/bench/share_time.py "$bin" --width 512
say "LSTM language models: shapes of Penn Treebank and WikiText-2"
for precision in fp32 fp16 bf16; do
    "$BAS_PYTHON" scripts/bench/lstm.py --device cuda --precision "$precision" --rounds 20
    "$BAS_PYTHON" scripts/bench/lstm.py --device cuda --precision "$precision" --rounds 20 \
        --batch 80 --vocab 33278
done
"$BAS_PYTHON" scripts/bench/lstm.py --device cuda --compiled --only zoneout --rounds 20
say "a small language model, trained whole"
bash scripts/train_ptb_awd_lstm.sh --budget small --epochs 20 --out "$BAS_ROOT/runs/gpu/lm"
