#!/usr/bin/env bash
# Fetch WikiText-2 into a folder: bash data/get_wikitext2.sh --out DIR
# train.txt, valid.txt and test.txt; 2,088,628, 217,646 and 245,569 tokens with the ends of lines.
exec "${BAS_PYTHON:-python3}" "$(dirname "${BASH_SOURCE[0]}")/fetch_text.py" wikitext2 "$@"
