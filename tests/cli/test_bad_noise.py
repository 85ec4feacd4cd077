"""Law 7 for noise: bad policies end in one sentence before training."""

import pytest

from fairseq_bas.errors import UserError
from tests.cli.test_bad_input import refusal, train
from tests.processes import run_workers
from tests.toys import tiny_transformer
from tests.unit.test_update import Setup

MODEL = "--bas-subword-model"
OURS = ("--criterion", "bas_cross_entropy")
M4 = ("--bas-replicas", "4")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            ("--bas-source-noise", "dorp=0.1"),
            "--bas-source-noise dorp=0.1: there is no noise 'dorp'; use drop, mask, replace, "
            "cutoff, shuffle, switchout, bigram, feature-cutoff, span-cutoff, jitter, mix, subword",
        ),
        (
            ("--bas-target-noise", "mask=1.5"),
            "--bas-target-noise mask=1.5: the value is out of range; give a rate in [0, 1)",
        ),
        (
            ("--bas-target-noise", "drop=0.1"),
            "--bas-target-noise drop=0.1: drop is no noise of the target side, what is dropped "
            "there would no longer be aligned with its label; use it on the other side or leave it "
            "out",
        ),
        (
            ("--bas-source-noise", "subword=0.2"),
            "--bas-source-noise subword=0.2 has no model to draw segmentations from; pass "
            "--bas-subword-model with the sentencepiece model that made the data",
        ),
        (
            ("--bas-source-noise", "mask=0.1", "--bas-clean-replica"),
            "--bas-clean-replica has no meaning with --bas-replicas 1; raise it or leave the flag "
            "out",
        ),
        (
            (*M4, "--bas-source-noise", "mask=0.3", "--bas-complementary-noise"),
            "--bas-source-noise mask=0.3 hides 0.3 of the words in each of 4 copies, too many for "
            "--bas-complementary-noise; lower the rates to a sum of at most 0.25",
        ),
        (
            (*M4, "--bas-source-noise", "mask=0.3", "--bas-share", "encoder"),
            "--bas-source-noise mask=0.3 would be the same in all copies, which share that side "
            "with --bas-share encoder; leave one of the two out",
        ),
        (
            ("--bas-source-noise", "mix=0.2"),
            "mix is 0.2 for the source and 0 for the target, but it mixes whole pairs; give the "
            "same mix to --bas-source-noise and --bas-target-noise",
        ),
        (
            ("--bas-source-noise", "mix=0.2", "--bas-target-noise", "mix=0.2"),
            "mix changes labels, which this criterion does not know; pass --criterion "
            "bas_cross_entropy",
        ),
        (
            (*OURS, "--bas-consistency", "rdrop"),
            "--bas-consistency rdrop compares copies, and there is one; raise --bas-replicas",
        ),
        (
            (*OURS, *M4, "--bas-consistency", "clean"),
            "--bas-consistency clean needs a clean copy; pass --bas-clean-replica and a noise",
        ),
        (
            (*OURS, "--bas-consistency-weight", "2"),
            "--bas-consistency-weight 2.0 has nothing to weigh; pass --bas-consistency too",
        ),
        (
            (*OURS, *M4, "--bas-consistency", "rdrop", "--bas-target-noise", "bigram-labels=0.1"),
            "--bas-consistency rdrop needs copies with the same labels, and --bas-target-noise "
            "bigram-labels changes them; leave one of the two out",
        ),
    ],
)
def test_bad_flags(toy, flags, sentence):
    """In this process, for time; the process below shows how a refusal ends a run."""
    with pytest.raises(UserError) as refused:
        Setup(toy, tiny_transformer, *flags)
    assert str(refused.value) == sentence


def test_a_refusal_ends_the_run_before_its_first_update(toy, tmp_path):
    said = refusal(train(toy, tmp_path / "ck", "--bas-source-noise", "drop=2"))
    assert said.startswith("--bas-source-noise drop=2: the value is out of range")


def test_models_that_do_not_fit(toy, toy_pieces, tmp_path):
    sample = ("--bas-source-noise", "subword=0.2", MODEL)
    model = toy_pieces.text / "spm.model"
    said = refusal(train(toy, tmp_path / "ck", *sample, model))
    assert "the dictionary lacks 41 of the 41 pieces" in said and "--srcdict" in said
    said = refusal(train(toy_pieces, tmp_path / "ck", *sample, tmp_path / "none.model"))
    assert str(tmp_path / "none.model") in said
    text = toy_pieces.text / "dict.txt"
    said = refusal(train(toy_pieces, tmp_path / "ck", *sample, text))
    assert str(text) in said and "sentencepiece" in said


def test_consistency_on_workers_is_refused(toy, tmp_path):
    flags = tiny_transformer(toy, tmp_path / "ck", task="bas_translation")
    extra = (*OURS, *M4, "--bas-placement", "workers", "--bas-consistency", "rdrop")
    results = run_workers(2, "fairseq_cli.train", *flags, *extra, check=False)
    told = [refusal(result).endswith("pass --bas-placement rows or passes") for result in results]
    assert any(told)  # one that fails after the other has told ends quietly
