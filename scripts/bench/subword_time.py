"""Compare subword sampling of a sentence with sentencepiece's plain encoding of it, in turns.

    python scripts/bench/subword_time.py [TEXT] [--sentences 2000] [--vocab 8000] [--replicas 4]
        [--max-tokens 4096] [--rounds 5] [--short] [--json FILE]

``plain`` is ``processor.encode(text)`` of each sentence in a Python loop; ``plain, from ids`` takes
a stored sentence, puts its text together, encodes it and makes a tensor, as a worker would have to.
Ours is what a loader's worker does for a micro-batch of stored sentences: derive the keys of their
copies and draw a segmentation for each, distinct ones, as tensors of the dictionary's ids. One
copy, and all copies as the time of each; for a unigram model (alpha 0.2) and a BPE model (p 0.1)
learnt from the text. Prints microseconds of CPU time a sentence and copy (median, minimum, maximum
over rounds, each an epoch), and that divided by ``plain`` in the same round. ``first epoch`` is one
run with nothing remembered. TEXT has one sentence a line; without it sentences of made-up words
that follow Zipf's law are drawn.
"""

import argparse
import functools
import random
import string
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import sentencepiece
import torch
from turns import compare, run_in_turns, write

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fairseq_bas.noise.subword import SubwordSampler, copy_keys

STRENGTHS = {"unigram": 0.2, "bpe": 0.1}
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


def sentences_of(args: argparse.Namespace) -> list[str]:
    """Read the first sentences of the text, or make some up."""
    if args.text is not None:
        with args.text.open(encoding="utf-8") as lines:
            found = [line for line in map(str.strip, lines) if line]
        return found[: args.sentences]
    generator = random.Random(1)
    letters = string.ascii_lowercase + "eeeettaaooiinnss"
    words = [
        "".join(generator.choices(letters, k=generator.randint(2, 11)))
        for _ in range(2 * args.vocab)
    ]
    weights = [1 / (rank + 3) for rank in range(len(words))]
    return [
        " ".join(generator.choices(words, weights, k=generator.randint(8, 40)))
        for _ in range(args.sentences)
    ]


def learn(sentences: list[str], kind: str, folder: Path, vocab: int) -> Path:
    """Learn a model and return its file."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_prefix=str(folder / kind),
        model_type=kind,
        vocab_size=vocab,
        hard_vocab_limit=False,
        character_coverage=1.0,
        num_threads=1,
        minloglevel=2,
    )
    return folder / f"{kind}.model"


def batches_of(stored: list[torch.Tensor], max_tokens: int) -> list[list[int]]:
    """Group sentences of like lengths into micro-batches, as fairseq does."""
    batches: list[list[int]] = [[]]
    for number in sorted(range(len(stored)), key=lambda number: len(stored[number])):
        if (len(batches[-1]) + 1) * len(stored[number]) > max_tokens:
            batches.append([])
        batches[-1].append(number)
    return batches


def compare_kind(sentences: list[str], kind: str, args: argparse.Namespace) -> dict:
    """Time a kind of model."""
    with tempfile.TemporaryDirectory() as folder:
        path = learn(sentences, kind, Path(folder), args.vocab)
        processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
        size = processor.get_piece_size()
        symbols = SPECIAL + [processor.id_to_piece(i) for i in range(3, size)]
        make_sampler = functools.partial(SubwordSampler, path, symbols, STRENGTHS[kind])
        sampler, fresh = make_sampler(), make_sampler()
    ids = {symbol: number for number, symbol in enumerate(symbols)}
    eos = ids["</s>"]
    stored = [
        torch.tensor([*(ids.get(p, 3) for p in processor.encode(s, out_type=str)), eos])
        for s in sentences
    ]
    batches = batches_of(stored, args.max_tokens)
    epochs = iter(range(1, 10**9))

    def plain() -> None:
        for sentence in sentences:
            processor.encode(sentence)

    def from_ids() -> None:
        for sentence in stored:
            text = "".join([symbols[i] for i in sentence.tolist()[:-1]]).replace("\u2581", " ")
            torch.tensor(processor.encode(text))

    def sample(sampler: SubwordSampler, copies: int) -> None:
        epoch = next(epochs)
        for batch in batches:
            keys = copy_keys(1, epoch, 0, batch, range(copies))
            sampler.sample_batch([stored[number] for number in batch], keys, distinct=True)

    def timed(run: Callable[[], None], copies: int) -> float:
        start = time.process_time()
        run()
        return (time.process_time() - start) / (copies * len(sentences)) * 1000

    # Reported as milliseconds, so milliseconds a thousand sentences are microseconds a sentence.
    ways = {"plain": functools.partial(timed, plain, 1)}
    ways["plain, from ids"] = functools.partial(timed, from_ids, 1)
    for copies in sorted({1, args.replicas}):
        run = functools.partial(sample, sampler, copies)
        ways[f"M = {copies}"] = functools.partial(timed, run, copies)
    first = timed(functools.partial(sample, fresh, 1), 1)
    length = sum(map(len, stored)) / len(stored)
    print(f"{kind}, {size} pieces, {len(stored)} sentences of {length:.1f} pieces; us a sentence:")
    seconds = run_in_turns(ways, args.rounds)
    sides = compare(seconds, "plain", unit="us")
    print(f"first epoch {1000 * first:.1f} us")
    return {"sides": sides, "first_epoch_us": 1000 * first}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("text", nargs="?", type=Path, help="one sentence a line")
    parser.add_argument("--sentences", type=int, default=2000)
    parser.add_argument("--vocab", type=int, default=8000, help="pieces, an upper bound")
    parser.add_argument("--replicas", type=int, default=4, help="M")
    parser.add_argument("--max-tokens", type=int, default=4096, help="of a micro-batch")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds, after one warm-up")
    parser.add_argument("--short", action="store_true", help="few sentences, small models")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    args = parser.parse_args()
    if args.short:
        args.sentences, args.vocab, args.rounds = 300, 1000, 3
    torch.set_num_threads(1)
    sentences = sentences_of(args)
    write(args, kinds={kind: compare_kind(sentences, kind, args) for kind in STRENGTHS})


if __name__ == "__main__":
    main()
