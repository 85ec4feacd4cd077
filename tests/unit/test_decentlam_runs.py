"""``--optimizer bas_decentlam`` in fairseq's own loop with one worker, and what it refuses."""

import copy

import pytest
from fairseq import options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import OmegaConf

from fairseq_bas.errors import UserError
from fairseq_bas.optim.decentralised_checks import check_run, check_task
from tests.in_process import train_here
from tests.toys import tiny_transformer

OURS = ("--optimizer", "bas_decentlam")


def test_one_worker_is_momentum_sgd(toy, tmp_path):
    common = (
        "--lr",
        0.2,
        "--momentum",
        0.8,
        "--weight-decay",
        0.01,
        "--max-update",
        5,
        "--no-save",
    )

    def losses(name, *optimizer):
        model = tiny_transformer(toy, tmp_path / name, task="bas_translation")
        return [entry["loss"] for entry in train_here([*model, *optimizer, *common])]

    ours, plain = losses("ours", *OURS), losses("sgd", "--optimizer", "sgd")
    assert len(ours) == 5
    assert ours == pytest.approx(plain, abs=2e-3)  # losses are logged with three digits


@pytest.fixture(scope="module")
def config(toy):
    """Return fairseq's config of four workers."""
    joined = ("--distributed-world-size", 4, "--distributed-init-method", "tcp://127.0.0.1:1")
    model = tiny_transformer(toy, toy.bin, task="bas_translation")
    arguments = [*model, *joined, "--ddp-backend", "legacy_ddp", *OURS]
    parser = options.get_training_parser()
    parsed = options.parse_args_and_arch(parser, [str(argument) for argument in arguments])
    return convert_namespace_to_omegaconf(parsed)


@pytest.mark.parametrize(
    ("flag", "field", "value"),
    [
        ("--ddp-backend pytorch_ddp", "distributed_training.ddp_backend", "pytorch_ddp"),
        ("--use-bmuf", "optimization.use_bmuf", True),
        ("--zero-sharding os", "distributed_training.zero_sharding", "os"),
        ("--fp16", "common.fp16", True),
        ("--amp", "common.amp", True),
        ("--store-ema", "ema.store_ema", True),
        ("--model-parallel-size", "common.model_parallel_size", 2),
        ("--pipeline-model-parallel", "distributed_training.pipeline_model_parallel", True),
        ("--bas-placement workers", "task.bas_placement", "workers"),
        ("--bas-adversarial stale", "task.bas_adversarial", "stale"),
    ],
)
def test_flags_that_need_equal_weights_are_refused_by_name(config, flag, field, value):
    check_run(config)
    changed = copy.deepcopy(config)
    OmegaConf.update(changed, field, value, force_add=True)
    with pytest.raises(ValueError, match=flag):
        check_run(changed)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("bas_batch_schedule", "noise-scale:fraction=1,max=4x", "--bas-batch-schedule noise-scale"),
        ("bas_batch_schedule", "norm-test:max=4x,extend", "--bas-batch-schedule norm-test"),
        ("bas_measure_every", 5, "--bas-measure-every"),
    ],
)
def test_schedules_that_need_the_whole_gradient_are_refused(config, field, value, reason):
    check_task(tasks.setup_task(config.task))
    changed = copy.deepcopy(config)
    OmegaConf.update(changed.task, field, value)
    with pytest.raises(ValueError, match=reason):
        check_task(tasks.setup_task(changed.task))


def test_directed_graphs_are_refused(toy, tmp_path):
    model = tiny_transformer(toy, tmp_path, task="bas_translation")
    with pytest.raises(UserError, match="--optimizer bas_decentlam: 'one-peer' is no topology"):
        train_here([*model, *OURS, "--bas-topology", "one-peer", "--max-update", 1])
