#!/usr/bin/env bash
# Your own text, from a file to the perplexity of a language model; bash scripts/own_corpus.sh --text
# calls this. Words are what is separated by spaces: tokenise beforehand what should be apart.
#
# Goal: an AWD-LSTM and its perplexity on text that it was not trained on. Expected score: not known;
#   on 57,000 words of a novel it was 57 where a Kneser-Ney 5-gram was 77 (docs/results.md).
# Hardware: two cores for 100,000 words, one GPU for millions. Time: not known.
#
#   bash scripts/own_corpus.sh --text FILE [options]
#     --valid-text FILE, --test-text FILE    (default: the last twentieth of the lines is test, the
#                       one before it valid; lines with the same letters leave the training text)
#     --replicas M      copies of every stream, each with its own masks and state (default 1)
#     --recipe NAME     baseline: one copy; copies: --replicas, or 4
#     --epochs E        of training (default 100)
#     --min-count N     words seen fewer times in train are <unk> (default 2)
#     --devices N       GPUs, without any cores (default: all GPUs, else 1)
#     --machines K      with --rank-of-machine R and --meet HOST:PORT: docs/recipes.md
#     --stage A,B,...   only these of: get clean binarise train score
#     --seed S          default 1
#     --out DIR         where to work (default runs/own_text)
#     --budget small    a tiny model and two epochs: a test of the set-up
#
# Safe to interrupt: call it again and it goes on where it was.
source "$(dirname "${BASH_SOURCE[0]}")/lib_lm.sh"

text_file="" valid_text="" test_text="" arguments=()
while [ $# -gt 0 ]; do # the others are those of every language-model recipe
    case "$1" in
    --text) text_file="${2:?--text needs a file}" ;;
    --valid-text) valid_text="${2:?--valid-text needs a file}" ;;
    --test-text) test_text="${2:?--test-text needs a file}" ;;
    --corpus) die "unknown option $1; see --help" ;;
    *) arguments+=("$1" "${@:2:1}") ;;
    esac
    shift $(($# > 1 ? 2 : 1))
done
for file in "$text_file" "$valid_text" "$test_text"; do
    [ -z "$file" ] || [ -s "$file" ] || die "$file is missing or empty; give a text"
done
text=(${text_file:+train.txt "$text_file"} ${valid_text:+valid.txt "$valid_text"}
    ${test_text:+test.txt "$test_text"})
clean=yes
full_epochs=100 streams=20 min_count=2
# settings: those measured on a novel in docs/results.md ("quality of LSTM language models")
train_flags=(
    --arch bas_awd_lstm_lm_small --bas-variable-bptt
    --criterion bas_cross_entropy --bas-ar 2 --bas-tar 1
    --optimizer bas_nt_asgd --lr 30 --clip-norm 0.25 --weight-decay 1.2e-6
)
fine_tune_flags=()
small_flags=(--bas-embed-dim 64 --bas-hidden-dim 64)
lm_recipe "${arguments[@]}"
