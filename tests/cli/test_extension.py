"""The worked example of docs/extending.md: short, and a real process trains with it."""

import torch

from fairseq_bas.noise.keyed import row_keys
from fairseq_bas.noise.policy import NOISES
from fairseq_bas.noise.vocabulary import vocabulary_of
from fairseq_bas.noise.words import words_of
from tests.processes import ROOT, json_log, run_cli
from tests.toys import tiny_transformer

EXTENSION = ROOT / "docs/extension"


def test_each_part_is_a_file_of_less_than_40_lines():
    files = sorted(EXTENSION.glob("*.py"))
    assert len(files) == 4
    assert all(len(path.read_text().splitlines()) < 40 for path in files)


def test_run_has_the_noise_the_batches_and_the_learning_rate(toy, tmp_path):
    flags = [
        "--task=bas_translation",
        *("--bas-replicas", 2, "--bas-source-noise", "echo=0.5", "--log-interval", 1),
        *("--batch-size", 10, "--bas-batch-schedule", "cyclic:every=3u,max=2x"),
        *("--lr-scheduler", "triangle_lr", "--triangle-updates", 8, "--max-update", 9),
    ]
    command = [*tiny_transformer(toy, tmp_path), *flags, "--user-dir", EXTENSION]
    result = run_cli("fairseq_cli.train", *command)
    updates = json_log(result, "train_inner")
    # The fifth update has what the 60 sentences of the epoch have left.
    assert [float(update["bsz"]) for update in updates] == [10, 10, 10, 20, 10, 20, 10, 10, 10]
    rates = [float(update["lr"]) for update in updates]
    peak = max(rates)
    assert [round(rate / peak, 3) for rate in rates[:8]] == [0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25]
    assert all(0 < float(update["bas_distinct"]) <= 2 for update in updates[:3])
    refused = run_cli("fairseq_cli.train", *command, "--bas-target-noise", "echo=2", check=False)
    assert refused.returncode == 1
    assert "--bas-target-noise echo=2: the value is out of range" in refused.stderr


def test_echo_repeats_tokens_of_text_at_its_rate(monkeypatch):
    """On one long row, in exactly the places where a word was chosen, and not after </s>."""
    monkeypatch.syspath_prepend(str(EXTENSION))
    monkeypatch.setattr("fairseq_bas.noise.policy.NOISES", dict(NOISES))
    import echo_noise

    vocabulary = vocabulary_of(["<pad>", "</s>", *"abcdefgh"], [1] * 10, 2, 0, 1)
    tokens = torch.randint(2, 10, (4, 5000), generator=torch.manual_seed(1))
    tokens[:, ::50] = 1
    words = words_of(tokens, vocabulary)
    keys = row_keys(1, "source_noise", 3, torch.arange(4), torch.zeros(4, dtype=torch.long))
    rate = torch.tensor([0.0, 0.2, 0.5, 1.0], dtype=torch.float64)
    noisy = echo_noise.echo(tokens, words, keys, rate, vocabulary)
    before, is_text = tokens.roll(1, 1), words.editable & words.editable.roll(1, 1)
    changed = noisy != tokens
    assert torch.equal(noisy[changed], before[changed]) and not changed[~is_text].any()
    differs = is_text & (before != tokens)
    share = (changed & differs).sum(1) / differs.sum(1)
    assert torch.allclose(share.double(), rate, atol=0.03)
