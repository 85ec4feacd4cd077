"""The criterion against fairseq's own, on real models of several families."""

import copy
import math

import pytest
import torch
from fairseq import tasks
from fairseq.logging import metrics

from fairseq_bas.criterion.bas_cross_entropy import BasCrossEntropy
from fairseq_bas.criterion.projection import output_layer_replaced, projection_of
from fairseq_bas.replicate import replicate
from tests.in_process import parts_of
from tests.processes import free_port
from tests.toys import tiny_lstm, tiny_transformer


class Setup:
    """One model in float64, and criteria built from command-line flags."""

    def __init__(self, toy, flags, *extra):
        self.args = [*flags(toy, "unused", task="bas_translation"), "--dropout", 0, *extra]
        cfg = self.config()
        self.task = tasks.setup_task(cfg.task)
        torch.manual_seed(0)
        self.model = self.task.build_model(cfg.model).double()
        self.task.load_dataset("train")
        dataset = self.task.dataset("train")
        self.sample = dataset.collater([dataset[i] for i in (4, 9, 2, 11, 7)])

    def config(self, *extra):
        return parts_of((*self.args, *extra))

    def criterion(self, name, *extra):
        cfg = self.config("--criterion", name, *extra)
        return self.task.build_criterion(cfg.criterion)

    def run(self, criterion, sample=None):
        """Return loss, normaliser, log and the gradient of every parameter."""
        self.model.zero_grad()
        loss, size, log = criterion(self.model, sample or self.sample)
        loss.backward()
        return loss, size, log, {n: p.grad for n, p in self.model.named_parameters()}


def untied_lstm(toy, save_dir, task):
    return tiny_lstm(toy, save_dir, task=task)


def tied_lstm(toy, save_dir, task):
    return (*tiny_lstm(toy, save_dir, task=task), "--share-decoder-input-output-embed")


def adaptive_lstm(toy, save_dir, task):
    flags = [str(x) for x in tiny_lstm(toy, save_dir, task=task)]
    loss = flags.index("--criterion")
    adaptive = ("--criterion", "adaptive_loss", "--adaptive-softmax-cutoff", "8")
    return (*flags[:loss], *adaptive, *flags[loss + 4 :])


def convolution(toy, save_dir, task):
    shape = ("--encoder-layers", "[(8, 3)]", "--decoder-layers", "[(8, 3)]")
    flags = [str(x) for x in tiny_lstm(toy, save_dir, task=task)]
    keep = flags[: flags.index("--arch")] + flags[flags.index("--criterion") :]
    sizes = ("--encoder-embed-dim", 16, "--decoder-embed-dim", 16, "--decoder-out-embed-dim", 16)
    return (*keep, "--arch", "fconv", *shape, *sizes)


FAMILIES = [tiny_transformer, untied_lstm, tied_lstm, convolution]


@pytest.mark.parametrize("flags", FAMILIES)
@pytest.mark.parametrize(
    "extra", [(), ("--sentence-avg",), ("--ignore-prefix-size", 1), ("--report-accuracy",)]
)
def test_equals_fairseqs_criterion(toy, flags, extra):
    setup = Setup(toy, flags, *extra)
    theirs = setup.run(setup.criterion("label_smoothed_cross_entropy"))
    ours = setup.run(setup.criterion("bas_cross_entropy", "--bas-chunk-tokens", 4))
    assert ours[1] == theirs[1]
    assert ours[2].keys() == theirs[2].keys()
    limit = {"rtol": 3e-7, "atol": 0}  # fairseq's log-softmax is in float32
    for key, value in theirs[2].items():
        torch.testing.assert_close(
            torch.as_tensor(ours[2][key]).double(), torch.as_tensor(value).double(), **limit
        )
    scale = max(gradient.norm() for gradient in theirs[3].values())
    for name, gradient in theirs[3].items():
        assert (ours[3][name] - gradient).norm() <= 1e-6 * scale, name


def test_which_models_are_chunked(toy):
    chunked = {f: projection_of(Setup(toy, f).model) is not None for f in FAMILIES}
    assert list(chunked.values()) == [True, True, True, False]
    transformer = Setup(toy, tiny_transformer).model
    wrapped = torch.nn.Module()
    wrapped.module = transformer
    assert projection_of(wrapped).weight is transformer.decoder.output_projection.weight
    hook = transformer.decoder.output_projection.register_forward_pre_hook(lambda *_: None)
    assert projection_of(transformer) is None
    hook.remove()
    transformer.decoder.output_projection = torch.nn.Sequential(torch.nn.Linear(16, 14))
    assert projection_of(transformer) is None
    assert projection_of(Setup(toy, adaptive_lstm).model) is None


def test_output_layer_comes_back_even_after_an_error(toy):
    decoder = Setup(toy, tiny_transformer).model.decoder
    with pytest.raises(RuntimeError, match="stop"), output_layer_replaced(decoder, len):
        assert decoder.output_layer("four") == 4
        raise RuntimeError("stop")
    assert "output_layer" not in vars(decoder)


@pytest.mark.parametrize("flags", [tiny_transformer, convolution])
def test_nll_by_replica_is_that_of_its_rows(toy, flags):
    """Rows of replica m alone give M times its key; absent replicas give zero."""
    setup = Setup(toy, flags)
    criterion = setup.criterion("bas_cross_entropy")
    copies = replicate(setup.sample, range(1, 3), num_replicas=4)
    shape = copies["target"].shape
    copies["target"][1::2] = copies["target"][1::2].flip(1)  # replica 2 has another target
    before = copy.deepcopy(copies)
    log = setup.run(criterion, copies)[2]
    assert str(copies) == str(before)
    assert [k for k in log if k.startswith("bas_")] == [f"bas_nll_replica_{m}" for m in range(4)]
    for replica, rows in ((1, slice(0, None, 2)), (2, slice(1, None, 2))):
        alone = {**setup.sample, "target": copies["target"][rows].contiguous()}
        assert alone["target"].shape == (shape[0] // 2, shape[1])
        truth = 4 * setup.run(criterion, alone)[2]["nll_loss"]
        torch.testing.assert_close(log[f"bas_nll_replica_{replica}"], truth, rtol=1e-6, atol=0)
    assert log["bas_nll_replica_0"] == log["bas_nll_replica_3"] == 0


def test_spread_by_hand():
    """Three replicas with nll 2, 4 and 6 bits a token: standard deviation 2."""
    bits = {f"bas_nll_replica_{m}": 10 * b * math.log(2) for m, b in enumerate((2, 4, 6))}
    log = {"loss": 1.0, "nll_loss": 1.0, "ntokens": 10, "sample_size": 10, **bits}
    with metrics.aggregate(new_root=True) as values:
        BasCrossEntropy.reduce_metrics([log])
    assert values.get_smoothed_value("replica_std") == pytest.approx(2.0)
    with metrics.aggregate(new_root=True) as values:
        BasCrossEntropy.reduce_metrics([{k: v for k, v in log.items() if k not in bits}])
    assert "replica_std" not in values.get_smoothed_values()


def test_validation_logs_no_replicas(toy):
    setup = Setup(toy, tiny_transformer)
    log = setup.task.valid_step(setup.sample, setup.model, setup.criterion("bas_cross_entropy"))[2]
    assert not any(key.startswith("bas_") for key in log)


def test_untied_weight_under_a_wrapper_that_looks_for_unused_parameters(toy):
    """The output layer must be used inside the wrapped forward, or its gradient counts twice."""
    setup = Setup(toy, tiny_lstm)
    criterion = setup.criterion("bas_cross_entropy")
    truth = setup.run(criterion)[3]
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{free_port()}", world_size=1, rank=0
    )
    try:
        wrapped = torch.nn.parallel.DistributedDataParallel(
            setup.model, find_unused_parameters=True
        )
        wrapped.get_targets = setup.model.get_targets
        setup.model.zero_grad()
        criterion(wrapped, setup.sample)[0].backward()
        del wrapped  # before its process group
    finally:
        torch.distributed.destroy_process_group()
    for name, parameter in setup.model.named_parameters():
        torch.testing.assert_close(parameter.grad, truth[name])
