#!/usr/bin/env bash
# English to German news of WMT 2016, Transformer base or big, plain or with batch augmentation:
# from nothing to the BLEU of newstest2014 and newstest2016.
#
# Goal (baseline, newstest2014): big with the large batch 28.6 sacreBLEU, 29.3 tokenised with split
#   compounds (Scaling Neural Machine Translation, Ott et al. 2018); base 27.3 so tokenised (Vaswani
#   et al. 2017, on WMT 2014). newstest2016 is scored too. Not reproduced here so far.
# Text: Europarl v7, Common Crawl, News Commentary v11, of which Google made the text of that paper,
#   tokenised and in 32,000 BPE subwords; here raw text and sentencepiece. Valid newstest2013, test
#   sacreBLEU's wmt14/full and wmt16. 1.7 GB to download, about 10 GB on disk.
# Hardware: 8 GPUs in the papers; fewer take as many passes more, the batch stays. Time of the papers:
#   base 12 hours on 8 P100; big with the large batch 9,600 updates in 5.2 hours on 8 V100, so about
#   13 for 24,000. M copies take about M times as long. Not measured here.
#
#   bash scripts/wmt16_en_de.sh [options]
#     --size S          base (default) or big
#     --batch B         small or, for big, large (default: large for big)
#     --recipe NAME     copies (default), baseline, few-updates, growth or growth-copies: see
#                       docs/recipes.md
#     --replicas M      copies of every sentence (default 2)
#     --rows R          copies side by side in a pass (default 1: the memory of plain training)
#     --max-tokens T    tokens of a pass on one device (default 4096, big 3584)
#     --precision P     fp16, bf16 or float32 (default fp16 on a GPU, float32 without)
#     --devices N       GPUs, without any cores (default: all GPUs, else 1)
#     --machines K      with --rank-of-machine R and --meet HOST:PORT: docs/recipes.md
#     --stage A,B,...   only these of: get clean subword binarise train average generate score
#     --mirror URL      folder to download from before others; what comes is verified
#     --downloads DIR   where archives are kept (default OUT/downloads)
#     --seed S          default 1
#     --out DIR         where to work (default runs/wmt16_en_de)
#     --budget small    all stages on toy text and a tiny model: a test of the set-up
#
# Safe to interrupt: call it again and it goes on where it was.
source "$(dirname "${BASH_SOURCE[0]}")/lib_wmt.sh"

task=wmt16_en_de
tests=(wmt14/full wmt16)
wmt_recipe "$@"
