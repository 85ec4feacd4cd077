#!/usr/bin/env bash
# Your own text, from files to a score: two files that are translations of each other, a sentence a
# line, or one file for a language model. Cleaned, split, in subwords, trained, averaged, translated.
#
# Goal: a model and its score on text that it was not trained on. Expected score: not known; compare
#   with --recipe baseline on the same --out, by: fairseq-bas score --ref OUT/corpus/test.tgt
#   OUT/runs/baseline-seed1/test.gen OUT/runs/copies-seed1/test.gen
# Hardware: one GPU for a million pairs, two cores for ten thousand. Time: not known.
#
#   bash scripts/own_corpus.sh --train PREFIX [options]           PREFIX.src and PREFIX.tgt
#   bash scripts/own_corpus.sh --src FILE --tgt FILE [options]
#     --valid PREFIX    text to validate on; or --valid-src FILE --valid-tgt FILE
#     --test PREFIX     text to score on; or --test-src FILE --test-tgt FILE (default for both: runs
#                       of 20 neighbouring pairs of the training text, chosen by a hash of their
#                       place, up to a twentieth of it and 1,000 pairs. Whatever is held out, pairs
#                       with the same letters on either side are removed from the training text.)
#     --text-size S     low-resource: read tens of times; medium; large: hardly read twice (default:
#                       by the number of lines, up to 10,000, up to 1,000,000, or more)
#     --vocab V         subwords of both languages together (default 8000)
#     --updates U       of plain training (default 20000)
#     --recipe NAME     copies (default), baseline, few-updates, growth or growth-copies: see
#                       docs/recipes.md
#     --replicas M      copies of every sentence (default: by --text-size)
#     --rows R          copies side by side in a pass (default all; fewer take less memory)
#     --max-tokens T    tokens of a pass on one device (default 4096); the batch stays what it is
#     --precision P     fp16, bf16 or float32 (default fp16 on a GPU, float32 without)
#   bash scripts/own_corpus.sh --text FILE [options]              a language model
#     --valid-text FILE, --test-text FILE    (default: two twentieths of the lines, from the end)
#     --min-count N     words seen fewer times in train are <unk> (default 2)
#     --epochs E        of training (default 100)
#     --replicas M      copies of every stream (default 1)
#   both
#     --devices N       GPUs, without any cores (default: all GPUs, else 1)
#     --machines K      with --rank-of-machine R and --meet HOST:PORT: docs/recipes.md
#     --stage A,B,...   only these of: get clean subword binarise train average generate score;
#                       of a language model: get clean binarise train score
#     --seed S          default 1
#     --out DIR         where to work (default runs/own_corpus)
#     --budget small    a tiny model and few updates, on toy text if you give none
#
# Safe to interrupt: call it again and it goes on where it was.
source "$(dirname "${BASH_SOURCE[0]}")/lib_translation.sh"

train="" src="" tgt="" valid="" valid_src="" valid_tgt="" test="" test_src="" test_tgt=""
text_size=""
max_tokens=4096 batch=4096 updates="" out="$BAS_ROOT/runs/own_corpus"
for option in "$@"; do
    [ "$option" != --text ] || exec bash "$BAS_ROOT/scripts/own_text.sh" "$@"
done
read_options "$TRANSLATION_OPTIONS train src tgt valid valid-src valid-tgt test test-src test-tgt \
text-size vocab updates" "$@"

both_sides() { # both_sides NAME: --NAME PREFIX or --NAME-src and --NAME-tgt into sources and targets
    local prefix="${!1}" s="${1}_src" t="${1}_tgt"
    [ "$1" != train ] || s=src t=tgt
    [ -z "$prefix" ] || printf -v "$s" %s "$prefix.src"
    [ -z "$prefix" ] || printf -v "$t" %s "$prefix.tgt"
    [ -n "${!s}" ] || [ -n "${!t}" ] || return 0
    [ -s "${!s}" ] || die "--${s//_/-} ${!s:-(none)} is missing or empty; give a text, a sentence a line"
    [ -s "${!t}" ] || die "--${t//_/-} ${!t:-(none)} is missing or empty; give a text, a sentence a line"
    files+=("$1.src" "${!s}" "$1.tgt" "${!t}")
}

need_whole ${vocab:+"$vocab"} ${updates:+"$updates"}
files=()
for split in train valid test; do both_sides "$split"; done
[ -n "$src" ] || [ "$budget" = small ] || die "--train PREFIX, --src and --tgt, or --text is needed"
[ -n "$src" ] || [ ${#files[@]} = 0 ] || die "the training text is missing; see --help"
lines=0
if [ -n "$src" ]; then
    own_text=1
    lines="$(wc -l <"$src")"
    got="$(sums "${files[@]}")"
    get=(copy_text "${files[@]}")
fi
text_size="${text_size:-$([ "$lines" -gt 1000000 ] && echo large ||
    { [ "$lines" -gt 10000 ] && echo medium || echo low-resource; })}"
case "$text_size" in
low-resource | medium | large) ;;
*) die "--text-size $text_size is not one of: low-resource medium large" ;;
esac

# settings: those of fairseq's IWSLT recipe (examples/translation/README.md), for want of better
clean=(--max-words 250 --max-ratio 3 --by-letters)
subword=("${vocab:-8000}" --type unigram --lines 4000000)
variant=""
model=(--arch transformer_iwslt_de_en --share-all-embeddings --dropout 0.3
    --criterion bas_cross_entropy --label-smoothing 0.1
    --optimizer adam --adam-betas "(0.9, 0.98)" --weight-decay 0.0001)
own_updates="$updates"
lr=5e-4 warmup=4000 updates="${updates:-20000}" save_every=997 keep=5
copies=(--bas-recipe "$text_size")
beam=(--beam 5 --max-len-a 1.2 --max-len-b 10)
score=()
tests=("own text")
translation_recipe
