"""The memory of a plan against what a forward pass and an optimizer of the real model take."""

import pytest
import torch
from fairseq import optim

from fairseq_bas.config import Clock
from fairseq_bas.tool.plan_activations import Activations, collate, largest_batches
from fairseq_bas.tool.plan_memory import estimate_memory, state_bytes
from fairseq_bas.tool.plan_run import plan
from fairseq_bas.tool.plan_setup import PlannedSetup, read_flags
from tests.toys import tiny_awd_lstm_lm, tiny_bas_lstm, tiny_lstm, tiny_transformer

LATE = Clock(updates=99, epochs=9)


def planned(flags, *extra):
    once = ("--max-epoch", 1, "--disable-validation")
    return plan(PlannedSetup(read_flags([str(flag) for flag in (*flags, *once, *extra)])))


def pieces(toy_pieces, save_dir):
    flags = tiny_transformer(toy_pieces, save_dir, task="bas_translation")
    sampled = ("--bas-source-noise", "subword=0.3", "--bas-target-noise", "subword=0.3")
    return [*flags, *sampled, "--bas-subword-model", toy_pieces.text / "spm.model"]


KINDS = {
    "rows": lambda toy, *_: tiny_transformer(toy, ".", task="bas_translation"),
    "encoder": lambda toy, *_: [
        *tiny_transformer(toy, ".", task="bas_translation"),
        *("--bas-share", "encoder"),
    ],
    "lstm": lambda toy, *_: tiny_bas_lstm(toy, "."),
    "pieces": lambda toy, toy_lm, toy_pieces: pieces(toy_pieces, "."),
    "streams": lambda toy, toy_lm, _: [
        *tiny_awd_lstm_lm(toy_lm, "."),
        *("--batch-size", 9, "--bas-offset-copies"),
    ],
}


@pytest.mark.parametrize("kind", KINDS)
def test_activations_of_all_sentences_follow_from_three(toy, toy_lm, toy_pieces, kind):
    """Up to 3 copies side by side, from update 5 on: within 2 % of what all sentences keep."""
    schedule = "3" if kind in ("streams", "pieces") else "1@0,3@5u"
    run = planned(KINDS[kind](toy, toy_lm, toy_pieces), "--bas-replicas", schedule)
    for indices, rows in largest_batches(run.setup, run.iterator):
        assert len(indices) == rows > 4
        activations = Activations(run.setup, collate(run.iterator), LATE)
        real = activations.count(indices)
        assert activations.of(indices, rows) == pytest.approx(real, rel=0.02)
        alone = Activations(run.setup, collate(run.iterator), Clock()).count(indices)
        assert alone < real / 2 or "@" not in schedule


def test_what_is_counted_is_what_the_graph_holds(toy, tmp_path):
    """The tensors that the nodes of the graph have, found by walking through it."""
    run = planned(tiny_lstm(toy, tmp_path), "--dropout", 0.3)
    ((indices, _), *_) = largest_batches(run.setup, run.iterator)
    make = collate(run.iterator)
    counted = Activations(run.setup, make, Clock()).count(indices)
    model, criterion = run.setup.model.train(), run.setup.criterion.train()
    with torch.backends.mkldnn.flags(enabled=False):
        loss, _, _ = criterion(model, make(indices))
    held, seen, nodes = {}, set(), [loss.grad_fn]
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        nodes += [following for following, _ in node.next_functions]
        for name in dir(node):
            saved = getattr(node, name) if name.startswith("_saved_") else None
            for tensor in saved if isinstance(saved, tuple | list) else [saved]:
                if isinstance(tensor, torch.Tensor):
                    held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    for parameter in model.parameters():
        held.pop(parameter.untyped_storage().data_ptr(), None)
    assert counted == pytest.approx(sum(held.values()), abs=64) and counted > 10_000


@pytest.mark.parametrize(
    "flags",
    [
        ("--optimizer", "adam"),
        ("--optimizer", "sgd", "--momentum", 0.9),
        ("--optimizer", "adafactor"),
        ("--optimizer", "bas_lamb"),
        ("--optimizer", "bas_nt_asgd", "--bas-average-now"),
    ],
)
def test_state_is_that_of_a_real_step(toy, tmp_path, flags):
    run = planned(tiny_transformer(toy, tmp_path, task="bas_translation"), *flags)
    parameters = list(run.setup.model.parameters())
    real = optim.build_optimizer(run.setup.cfg.optimizer, parameters)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    real.optimizer.step()
    tensors = [value for state in real.optimizer.state.values() for value in state.values()]
    expected = sum(t.nbytes for t in tensors if isinstance(t, torch.Tensor) and t.numel() > 1)
    numel = sum(p.numel() for p in parameters)
    parts, notes = state_bytes(run.setup)
    assert (parts["optimizer state"], parts["gradients"], notes) == (expected, 4 * numel, [])


def test_half_precision_by_hand(toy, tmp_path):
    """Weights and gradients of 2 bytes, both again in 4, two moments of 4, activations halved."""
    flags = tiny_transformer(toy, tmp_path, task="bas_translation")
    full, half, efficient = (
        planned(flags, *extra) for extra in ((), ("--fp16",), ("--memory-efficient-bf16",))
    )
    numel = sum(p.numel() for p in half.setup.model.parameters())
    known = {
        name: estimate_memory(run.setup, run.iterator, Clock(), 1)
        for name, run in {"full": full, "half": half, "efficient": efficient}.items()
    }
    parts = known["half"].parts
    assert parts["gradients"] == 2 * numel
    assert parts["float32 copies of both"] == 8 * numel
    assert parts["optimizer state"] == 8 * numel
    assert parts["parameters"] * 2 == known["full"].parts["parameters"] > 4 * numel
    assert "float32 copies of both" not in known["efficient"].parts
    share = parts["activations"] / known["full"].parts["activations"]
    assert 0.5 < share < 0.7  # log-probabilities and token numbers stay as they are
    assert known["half"].total == sum(parts.values())


def test_workers_and_averages_cost_memory(toy, tmp_path):
    flags = tiny_transformer(toy, tmp_path, task="bas_translation")
    run = planned(flags, "--distributed-world-size", 2, "--store-ema", "--zero-sharding", "os")
    parts, _ = state_bytes(run.setup)
    alone, _ = state_bytes(planned(flags).setup)
    assert parts["gradients to send"] == parts["gradients"]
    assert parts["moving average"] == parts["parameters"]
    assert parts["optimizer state"] * 2 == alone["optimizer state"]


def test_larger_passes_hold_more_sentences(toy, tmp_path):
    """As many of the longest sentence as fit, and no more than an update has."""
    flags = tiny_transformer(toy, tmp_path, task="bas_translation")
    run = planned(flags, "--bas-max-tokens-per-pass", 90, "--batch-size", 4)
    sizes = run.iterator.dataset.sizes
    for micro_batches in (1, 3, 99):
        for indices, rows in largest_batches(run.setup, run.iterator, micro_batches):
            assert rows == min(4 * micro_batches, 90 // sizes[indices].max())
    assert estimate_memory(run.setup, run.iterator, Clock(), 3).sentences > 4


class NeedsAnotherDevice(torch.nn.Module):
    def forward(self, model, sample):
        raise RuntimeError("this loss runs on its own device only")


def test_a_model_that_does_not_run_here_leaves_the_rest(toy, tmp_path):
    run = planned(tiny_transformer(toy, tmp_path))
    run.setup.criterion = NeedsAnotherDevice()
    memory = estimate_memory(run.setup, run.iterator, Clock(), 1)
    assert memory.parts["activations"] == 0 and memory.parts["optimizer state"] > 0
    assert memory.notes == [
        "activations are left out: the forward pass does not run here (this loss runs on its own "
        "device only)"
    ]
