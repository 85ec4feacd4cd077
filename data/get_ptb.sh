#!/usr/bin/env bash
# Fetch the Penn Treebank for language models into a folder: bash data/get_ptb.sh --out DIR
# train.txt, valid.txt and test.txt; 929,589, 73,760 and 82,430 tokens with the ends of lines.
exec "${BAS_PYTHON:-python3}" "$(dirname "${BASH_SOURCE[0]}")/fetch_text.py" ptb "$@"
