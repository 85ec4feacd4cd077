"""Real runs with layer-wise optimizers: ratios in the log, resume, and what is refused."""

from concurrent.futures import ThreadPoolExecutor

import torch

from tests.processes import json_log, run_cli
from tests.toys import tiny_transformer

# All within one epoch, since fairseq itself mixes the batches of later epochs anew on resume.
DATA = ("--max-tokens", 40, "--save-interval-updates", 3, "--disable-validation")
LAMB = ("--optimizer", "bas_lamb", "--bas-rowwise-embeddings", "--lr", 0.02, "--wd", 0.01)


def train(toy, save_dir, *flags, updates=6, **kwargs):
    flags = (*tiny_transformer(toy, save_dir, task="bas_translation"), *DATA, *flags)
    return run_cli("fairseq_cli.train", *flags, "--max-update", updates, **kwargs)


def model_at(folder, update):
    (path,) = folder.glob(f"checkpoint_*_{update}.pt")
    return torch.load(path, weights_only=False)["model"]


def in_two_parts(toy, save_dir):
    return [train(toy, save_dir, *LAMB, updates=updates) for updates in (3, 6)]


def test_lamb_logs_trust_ratios_learns_and_resumes_bit_equal(toy, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        parts = pool.submit(in_two_parts, toy, tmp_path / "parts")
        log = json_log(train(toy, tmp_path / "whole", *LAMB), "train_inner")
        parts.result()
    assert float(log[-1]["loss"]) < float(log[0]["loss"])
    for part in ("encoder", "decoder", "embedding"):
        ratios = [float(record[f"bas_trust_ratio_{part}"]) for record in log]
        # A first update of Adam is a sign for each element, so that the ratio starts as the root
        # mean square of the weights: about 0.25 at this width.
        assert 0.1 < ratios[0] < 0.5
        assert len(set(ratios)) > 1
    whole, parts = model_at(tmp_path / "whole", 6), model_at(tmp_path / "parts", 6)
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_wrapper_is_refused_in_one_line(toy, tmp_path):
    refused = train(toy, tmp_path, *LAMB, "--use-bmuf", check=False)
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert refused.stderr.splitlines()[-1] == (
        "--optimizer bas_lamb needs whole weights that all workers share, which --use-bmuf does "
        "not give; leave --use-bmuf out"
    )
