#!/usr/bin/env bash
# AWD-LSTM on WikiText-2, plain or with batch augmentation: from nothing to perplexity.
#
# Goal: perplexity 68.7 valid / 65.6 test, and 67.4 / 64.7 after fine-tuning (the authors' code,
#   README of salesforce/awd-lstm-lm); 68.6 / 65.8 in the paper, fine-tuned (Merity et al. 2018,
#   Regularizing and Optimizing LSTM Language Models). Not reproduced here so far.
# Hardware: one GPU. Time: not measured here; the authors give 180 s an epoch on a GP100, 750 epochs.
#
#   bash scripts/train_wikitext2_awd_lstm.sh [options]
#     --replicas M      copies of every stream, each with its own masks and state (default 1)
#     --corpus DIR      your own train.txt, valid.txt and test.txt (default: data/get_wikitext2.sh)
#     --out DIR         where to work (default runs/wikitext2_awd_lstm)
#     --seed S          default 1
#     --devices N       GPUs, without any cores (default: all GPUs, else 1); with those of other
#                       machines they share the copies where their number divides M, else the streams
#     --machines K      with --rank-of-machine R and --meet HOST:PORT: docs/recipes.md
#     --recipe NAME     baseline: one copy; copies: --replicas, or 4
#     --stage A,B,...   only these of: get binarise train fine-tune score
#     --epochs E        of training, and at most of fine-tuning (default 750)
#     --min-count N     words seen fewer times in train are <unk> (default 1)
#     --budget small    a tiny model on prose of the Python manual: a test of the set-up
#
# Safe to interrupt: call it again and it goes on where it was.
source "$(dirname "${BASH_SOURCE[0]}")/lib_lm.sh"

getter=get_wikitext2.sh full_epochs=750 streams=80
train_flags=(
    --arch bas_awd_lstm_lm_wikitext2 --tokens-per-sample 70 --bas-variable-bptt
    --criterion bas_cross_entropy --bas-ar 2 --bas-tar 1
    --optimizer bas_nt_asgd --bas-nonmono 5 --lr 30 --clip-norm 0.25 --weight-decay 1.2e-6
)
fine_tune_flags=(--bas-average-now --patience 5)
small_flags=(--arch bas_awd_lstm_lm_small --bas-embed-dim 64 --bas-hidden-dim 64)
lm_recipe "$@"
