"""Time noise: of one batch against fairseq's class, and of an update with it against without it.

    python scripts/bench/noise_time.py [data-bin] [--batch 4096] [--tokens 1500] [--json FILE]

The first part takes one batch on the CPU. Ours and fairseq's ``UnsupervisedMTNoising`` drop 10 %
of the words, mask 10 % and move words by less than 3 places, in turns. Ours is timed with both
marks of subwords, for the same tokens and words; fairseq's class knows ``@@`` alone, and takes a
sentence at a time. The second part, where a data-bin is given, trains the quickstart's model on M
copies with and without noise, in turns, on the same batches. Prints milliseconds a batch or an
update (median, minimum, maximum over rounds) and the ratio of the medians to the first line.
"""

import argparse
import itertools
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from fairseq.data import Dictionary
from fairseq.data.noising import UnsupervisedMTNoising
from share_time import add_timing_flags, alternate, conclude, print_rows, summarise  # beside this
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from update_time import ROOT, Side, build

sys.path.insert(0, str(ROOT))

POLICY = "drop=0.1,mask=0.1,shuffle=3"
SOURCE_NOISE, TARGET_NOISE = "drop=0.1,mask=0.05,shuffle=3", "mask=0.1"
PLACES = ("whole", "first", "middle", "last")
MARKS = {"@@": ("{}", "{}@@", "{}@@", "{}"), "\u2581": ("\u2581{}", "\u2581{}", "{}", "{}")}
"""How a piece is written by its place in its word, in subword-nmt's and sentencepiece's way."""


@dataclass(frozen=True)
class Batch:
    """One batch of sentences, padded on the right.

    Args:
        tokens: (B, T) int64; ids are those of both dictionaries.
        lengths: (B,) int64, with the end of the sentence.
        dictionaries: mark of subwords -> fairseq dictionary.
    """

    tokens: Tensor
    lengths: Tensor
    dictionaries: Mapping[str, Dictionary]


def main() -> None:
    """Measure and print both parts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", nargs="?", help="folder written by fairseq-preprocess")
    parser.add_argument("--batch", type=int, default=4096, help="tokens of the first part's batch")
    parser.add_argument("--vocab", type=int, default=8000, help="its pieces, a multiple of 4")
    parser.add_argument("--calls", type=int, default=10, help="calls of a round in the first part")
    parser.add_argument("--replicas", type=int, default=4, help="M in the second part")
    parser.add_argument("--tokens", type=int, default=1500, help="its --max-tokens")
    add_timing_flags(parser)
    args = parser.parse_args()
    batch = make_batch(args.batch, args.vocab // len(PLACES))
    print(f"{POLICY}, {len(batch.lengths)} sentences of {int(batch.lengths.sum())} tokens:")
    results = {"batch": time_batch(batch, args.calls, args.rounds)}
    print_rows(results["batch"])
    if args.data:
        noise = ("--bas-source-noise", SOURCE_NOISE, "--bas-target-noise", TARGET_NOISE)
        sides = {"without noise": small_model(args), "with noise": small_model(args, *noise)}
        print(f"\nupdate with M = {args.replicas}, {' '.join(noise)}:")
        results["update"] = alternate(sides, args.updates, args.rounds)
        print_rows(results["update"])
    conclude(args, **results)


def make_batch(num_tokens: int, words: int) -> Batch:
    """Draw sentences of 5 to 60 tokens until there are enough, words of 1 to 4 pieces.

    Args:
        num_tokens: tokens in all, at least; padding is not counted.
        words: distinct pieces for each of the four places in a word; Zipf's law holds for them.
    """
    generator = random.Random(1)
    weights = [1 / (rank + 1) for rank in range(words)]
    dictionaries = {mark: Dictionary() for mark in MARKS}
    for mark, dictionary in dictionaries.items():
        for form, place in zip(MARKS[mark], PLACES, strict=True):
            for rank, weight in enumerate(weights):
                dictionary.add_symbol(form.format(f"{place}{rank}"), n=1 + int(1e6 * weight))
    special = Dictionary()
    sentences: list[Tensor] = []
    while sum(map(len, sentences)) < num_tokens:
        length = generator.randint(5, 60)
        ids: list[int] = []
        while len(ids) < length - 1:
            pieces = generator.choices((1, 2, 3, 4), weights=(60, 25, 10, 5))[0]
            pieces = min(pieces, length - 1 - len(ids))
            places = [0] if pieces == 1 else [1, *[2] * (pieces - 2), 3]
            ranks = generator.choices(range(words), weights=weights, k=pieces)
            pairs = zip(places, ranks, strict=True)
            ids += [special.nspecial + place * words + rank for place, rank in pairs]
        sentences.append(torch.tensor([*ids, special.eos()]))
    tokens = pad_sequence(sentences, batch_first=True, padding_value=special.pad())
    return Batch(tokens, torch.tensor([len(ids) for ids in sentences]), dictionaries)


def time_batch(batch: Batch, calls: int, rounds: int) -> dict[str, dict[str, float]]:
    """Noise the batch each way, in turns; return milliseconds a batch as `summarise` does."""
    ways = {"fairseq, @@": fairseq_noise(batch, "@@")}
    ways |= {f"ours, {mark}": our_noise(batch, mark) for mark in MARKS}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, noise in ways.items():
            start = time.perf_counter()
            for _ in range(calls):
                noise()
            if turn > 0:
                seconds[name].append((time.perf_counter() - start) / calls)
    return summarise(seconds)


def fairseq_noise(batch: Batch, mark: str) -> Callable[[], object]:
    """Return fairseq's noise of each sentence, as its ``NoisingDataset`` calls it.

    In a padded batch its word dropout takes padding for words and may drop the end of a sentence.
    """
    noising = UnsupervisedMTNoising(batch.dictionaries[mark], 3, 0.1, 0.1, bpe_cont_marker=mark)
    columns = [
        (row[:length, None], length[None])
        for row, length in zip(batch.tokens, batch.lengths, strict=True)
    ]
    return lambda: [noising.noising(column, length) for column, length in columns]


def our_noise(batch: Batch, mark: str) -> Callable[[], object]:
    """Return a call of ours, which draws other noise each time."""
    from fairseq_bas.noise.keyed import row_keys
    from fairseq_bas.noise.pipeline import NoisePipeline
    from fairseq_bas.noise.policy import parse_noise
    from fairseq_bas.noise.vocabulary import vocabulary_of

    dictionary = batch.dictionaries[mark]
    vocabulary = vocabulary_of(
        dictionary.symbols,
        dictionary.count,
        dictionary.nspecial,
        padding=dictionary.pad(),
        unknown=dictionary.unk(),
    )
    pipeline = NoisePipeline(parse_noise(POLICY, "--bas-source-noise", "source"), vocabulary)
    sentence, replica = torch.arange(len(batch.tokens)), torch.zeros(len(batch.tokens)).long()
    update = itertools.count()

    def noise() -> Tensor:
        keys = row_keys(1, "source_noise", next(update), sentence, replica)
        return pipeline.tokens(batch.tokens, keys, num_replicas=1, left_pad=False).tokens

    return noise


def small_model(args: argparse.Namespace, *flags: str) -> Side:
    """Build the quickstart's model, whose flags are in ``scripts/lib.sh``, on M copies."""
    script = 'source "$1" && printf "%s\\0" "${SMALL_MODEL[@]}"'
    printed = subprocess.run(
        ["bash", "-c", script, "bash", str(ROOT / "scripts/lib.sh")],
        env={**os.environ, "BAS_PYTHON": sys.executable},
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    small = printed.split("\0")[:-1]
    given = argparse.Namespace(
        data=args.data, arch="transformer", criterion="bas_cross_entropy", precision="fp32"
    )
    copies = ("--bas-replicas", str(args.replicas))
    return build(given, "bas_translation", args.tokens, *small, *copies, *flags)


if __name__ == "__main__":
    main()
