"""The averaged weights in fairseq's own trainer, in every precision, and what is refused."""

import copy

import pytest
import torch
from fairseq import options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.optim import FP16Optimizer
from fairseq.trainer import Trainer

from fairseq_bas.errors import UserError
from tests.toys import tiny_lstm_lm


def copies(weights):
    return [w.detach().clone() for w in weights]


def same_bits(ours, theirs):
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


class Run:
    """A real trainer on the toy corpus that averages from the first update on."""

    def __init__(self, toy_lm, *extra):
        flags = [*tiny_lstm_lm(toy_lm, "unused"), "--optimizer", "bas_nt_asgd", "--lr", 2]
        parser = options.get_training_parser()
        cfg = convert_namespace_to_omegaconf(
            options.parse_args_and_arch(parser, [str(f) for f in (*flags, *extra)])
        )
        flat = "--fp16" in extra and "--fp16-no-flatten-grads" not in extra
        cfg.common.cpu = not flat  # fairseq flattens on GPUs only
        cfg.common.tpu = False  # which fairseq's parser takes --bf16 without a GPU for
        task = tasks.setup_task(cfg.task)
        torch.manual_seed(0)
        model, criterion = task.build_model(cfg.model), task.build_criterion(cfg.criterion)
        self.trainer = Trainer(cfg, task, model, criterion)
        batches = self.trainer.get_train_iterator(1).next_epoch_itr(shuffle=False)
        self.samples = list(batches)

    def update(self, times):
        for _ in range(times):
            self.trainer.train_step([copy.deepcopy(self.samples[0])])
        return copies(self.trainer.model.parameters())


GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]
HALF = ("--fp16-init-scale", 4)


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--share-decoder-input-output-embed",),
        ("--bf16",),
        ("--fp16", *HALF, "--fp16-no-flatten-grads"),
        pytest.param(("--fp16", *HALF), marks=GPU),
    ],
)
def test_trainer_evaluates_the_average_and_trains_the_iterate(toy_lm, flags):
    precision = {"--bf16": torch.bfloat16, "--fp16": torch.float16}.get((*flags, "")[0])
    plain = Run(toy_lm, "--bas-average-now", *flags)
    iterates = [plain.update(1) for _ in range(4)]

    ours = Run(toy_lm, "--bas-average-now", *flags)
    ours.update(3)
    ours.trainer.begin_valid_epoch(1)
    evaluated = copies(ours.trainer.model.parameters())
    if precision:
        assert isinstance(ours.trainer.optimizer, FP16Optimizer)
        assert all(p.dtype == precision for p in evaluated)
    means = [torch.stack(w).float().mean(0) for w in zip(*iterates[:3], strict=True)]
    limit = 1e-2 if precision else 1e-6
    torch.testing.assert_close([p.float() for p in evaluated], means, rtol=limit, atol=limit / 10)
    assert not same_bits(evaluated, iterates[2])
    assert same_bits(ours.update(1), iterates[3])


def test_trainer_evaluates_an_average_of_late_iterates(toy_lm):
    flags = ("--bas-average-now", "--bas-average-power", 1)
    plain, ours = Run(toy_lm, *flags), Run(toy_lm, *flags)
    first, second, third = (plain.update(1) for _ in range(3))
    ours.update(3)
    ours.trainer.begin_valid_epoch(1)
    evaluated = copies(ours.trainer.model.parameters())
    expected = [(a + 2 * b + 3 * c) / 6 for a, b, c in zip(first, second, third, strict=True)]
    torch.testing.assert_close(evaluated, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--bas-nonmono", -1], "negative"),
        (["--bas-average-power", -1], "average_power"),
        (["--bf16", "--memory-efficient-bf16"], "half precision"),
        (["--use-bmuf"], "--use-bmuf"),
    ],
)
def test_runs_that_cannot_be_averaged_are_refused_in_one_line(toy_lm, flags, problem):
    with pytest.raises(UserError, match=problem):
        Run(toy_lm, *flags).update(1)


@pytest.mark.parametrize(
    ("option", "value"), [("zero_sharding", "os"), ("ddp_backend", "fully_sharded")]
)
def test_weights_split_between_workers_are_refused(toy_lm, option, value):
    trainer = Run(toy_lm).trainer
    optimizer = trainer.optimizer
    trainer.cfg.distributed_training[option] = value
    with pytest.raises(UserError, match=option.replace("_", "-")):
        optimizer.begin_run(trainer.cfg)
