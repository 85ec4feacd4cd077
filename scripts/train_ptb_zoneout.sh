#!/usr/bin/env bash
# A zoneout LSTM on Penn Treebank, plain or with batch augmentation: from nothing to perplexity.
#
# Goal: perplexity 81.4 valid / 77.4 test, against 120.7 / 114.5 without regularisation (Krueger et
#   al. 2017, Zoneout; numbers quoted second-hand, not checked against the paper). Not reproduced
#   here so far.
# Settings: from the authors' word-level script (teganmaharaj/zoneout, zoneout_word_ptb.py) are one
#   layer of 256 units, Adam with rate 0.002, 20 streams, 35 words of back-propagation and, from
#   its README, zoneout 0.5 on cells and 0.05 on hidden states; the paper's word-level numbers may
#   have 0.25 and 0.025. Not known and chosen here: embeddings of 256, an output layer of its own,
#   the norm of gradients, and when to stop.
# Hardware: one GPU. Time: not measured here.
#
#   bash scripts/train_ptb_zoneout.sh [options]
#     --replicas M      copies of every stream, each with its own zoneout and state (default 1)
#     --corpus DIR      your own train.txt, valid.txt and test.txt (default: data/get_ptb.sh)
#     --out DIR         where to work (default runs/ptb_zoneout)
#     --seed S          default 1
#     --devices N       GPUs, without any cores (default: all GPUs, else 1); with those of other
#                       machines they share the copies where their number divides M, else the streams
#     --machines K      with --rank-of-machine R and --meet HOST:PORT: docs/recipes.md
#     --recipe NAME     baseline: one copy; copies: --replicas, or 4
#     --stage A,B,...   only these of: get binarise train score
#     --epochs E        at most; it stops after 10 without a gain on valid (default 100)
#     --min-count N     words seen fewer times in train are <unk> (default 1)
#     --budget small    a tiny model on prose of the Python manual: a test of the set-up
#
# Safe to interrupt: call it again and it goes on where it was.
source "$(dirname "${BASH_SOURCE[0]}")/lib_lm.sh"

getter=get_ptb.sh full_epochs=100 streams=20
train_flags=(
    --arch bas_awd_lstm_lm --bas-layers 1 --bas-embed-dim 256 --bas-hidden-dim 256 --bas-untied
    --bas-zoneout-cell 0.5 --bas-zoneout-hidden 0.05 --bas-weight-drop 0
    --bas-dropout-embedding 0 --bas-dropout-input 0 --bas-dropout-hidden 0 --bas-dropout-output 0
    --tokens-per-sample 35 --criterion bas_cross_entropy
    --optimizer adam --lr 0.002 --clip-norm 1.0 --patience 10
)
fine_tune_flags=()
small_flags=(--bas-embed-dim 64 --bas-hidden-dim 64)
lm_recipe "$@"
