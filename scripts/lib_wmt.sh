# Shared by the recipes for English to German news: published settings of two models.
# shellcheck shell=bash
source "$(dirname "${BASH_SOURCE[0]}")/lib_translation.sh"

# The recipe sets task, a name of data/get_parallel.py, and tests, and calls wmt_recipe.
wmt_recipe() { # wmt_recipe ARGS...
    local size=base large=""
    mirror="" downloads=""
    out="$BAS_ROOT/runs/$task"
    read_options "$TRANSLATION_OPTIONS size batch mirror downloads" "$@"
    large="${batch:-$([ "$size" = big ] && echo large || echo small)}"
    variant="$size-$large"
    downloads="${downloads:-$out/downloads}"
    get=("$BAS_PYTHON" "$BAS_ROOT/data/get_parallel.py" "$task" --downloads "$downloads"
        ${mirror:+--mirror "$mirror"} --out)
    got="$task"
    # fairseq's prepare-wmt14en2de.sh: at most 250 subwords, ratio 1.5. Here of words.
    clean=(--max-words 250 --max-ratio 1.5)
    # 32,000 joint subwords of BPE (Vaswani et al. 2017: 37,000). Learnt on four million lines.
    subword=(32000 --type bpe --lines 4000000)
    model=(--share-all-embeddings --criterion bas_cross_entropy --label-smoothing 0.1
        --optimizer adam --adam-betas "(0.9, 0.98)")
    # Both papers: beam of 4, length penalty 0.6, at most 50 tokens more than the source.
    beam=(--beam 4 --lenpen 0.6 --max-len-a 1 --max-len-b 50)
    score=()
    # For text that is hardly read twice: two copies, which is the cheapest; not measured.
    copies=(--bas-recipe large)
    rows="${rows:-1}"
    case "$variant" in
    base-small) # Vaswani et al. 2017: 25,000 tokens a side, rate 7e-4 after 4000 updates, 100,000
        # in all, dropout 0.1, the last 5 checkpoints averaged. 8 x 4096 hold 25,000 without padding.
        model+=(--arch transformer_wmt_en_de --dropout 0.1 --adam-eps 1e-9)
        lr=7e-4 warmup=4000 updates=100000 batch=32768 save_every=1499 keep=5
        max_tokens="${max_tokens:-4096}"
        ;;
    big-small) # fairseq's scaling_nmt README: 8 x 3584 tokens, rate 5e-4, dropout 0.3; updates are
        # those of the paper's first row (Ott et al. 2018, table 1).
        model+=(--arch transformer_vaswani_wmt_en_de_big --dropout 0.3)
        lr=5e-4 warmup=4000 updates=192000 batch=28672 save_every=1499 keep=10
        max_tokens="${max_tokens:-3584}"
        ;;
    big-large) # Ott et al. 2018, by the same README: 16 times the batch at twice the rate; 70 epochs
        # or about 24,000 updates (fairseq issue 1976), the last 10 epochs averaged, of which one
        # is about 349 updates.
        model+=(--arch transformer_vaswani_wmt_en_de_big --dropout 0.3)
        lr=1e-3 warmup=4000 updates=24000 batch=458752 save_every=349 keep=10
        max_tokens="${max_tokens:-3584}"
        ;;
    *) die "--size $size --batch $large has no published settings; take --size base --batch small," \
        "or --size big with --batch small or large" ;;
    esac
    translation_recipe
}
