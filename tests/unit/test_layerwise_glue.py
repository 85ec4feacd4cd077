"""Layer-wise optimizers in fairseq's own trainer, in every precision, and what is refused."""

import contextlib
import copy

import pytest
import torch
from fairseq import optim, options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.optim import AMPOptimizer, FP16Optimizer
from fairseq.trainer import Trainer

from fairseq_bas.errors import UserError
from fairseq_bas.optim.optimizer_options import parse_betas, parse_options
from tests.toys import tiny_transformer

HALF = ("--fp16", "--fp16-init-scale", 4)
GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]


def configured(toy, *extra):
    """Return fairseq's config of a run with these flags."""
    flags = [*tiny_transformer(toy, "unused"), "--lr", 0.01, "--dropout", 0, "--clip-norm", 0]
    cfg = convert_namespace_to_omegaconf(
        options.parse_args_and_arch(
            options.get_training_parser(), [str(flag) for flag in (*flags, *extra)]
        )
    )
    flat = "--fp16" in extra and "--fp16-no-flatten-grads" not in extra
    cfg.common.cpu = "--amp" not in extra and not flat  # fairseq flattens on GPUs only
    cfg.common.tpu = False  # which fairseq's parser takes --bf16 without a GPU for
    return cfg


def built(toy, *extra, dtype=torch.float32):
    """Return the optimizer that fairseq builds of these flags for a matrix and a bias."""
    weights = [torch.nn.Parameter(torch.ones(shape, dtype=dtype)) for shape in ((3, 4), (3,))]
    return optim.build_optimizer(configured(toy, *extra).optimizer, weights)


class Run:
    """A real trainer of a tiny transformer on the toy corpus."""

    def __init__(self, toy, *extra):
        cfg = configured(toy, *extra)
        task = tasks.setup_task(cfg.task)
        torch.manual_seed(0)
        model, criterion = task.build_model(cfg.model), task.build_criterion(cfg.criterion)
        self.trainer = Trainer(cfg, task, model, criterion)
        iterator = self.trainer.get_train_iterator(1).next_epoch_itr(shuffle=False)
        self.sample = next(iterator)

    @property
    def optimizer(self):
        """Return the glue, which the plugin's hook has told the names of the parameters."""
        optimizer = self.trainer.optimizer
        return getattr(optimizer, "fp32_optimizer", optimizer)

    def update(self, times):
        for _ in range(times):
            self.trainer.train_step([copy.deepcopy(self.sample)])
        return [p.detach().clone() for p in self.trainer.model.parameters()]


def expect_refusal(problem, call):
    with pytest.raises(UserError, match=problem) as refused:
        call()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("bas_lamb", (*HALF, "--fp16-no-flatten-grads")),
        ("bas_lars", (*HALF, "--fp16-no-flatten-grads")),
        ("bas_novograd", ("--bf16",)),
        pytest.param("bas_lamb", ("--amp",), marks=GPU),
        pytest.param("bas_lars", ("--amp",), marks=GPU),
    ],
)
def test_ratios_of_each_part_survive_half_precision(toy, name, precision):
    flags = ("--optimizer", name, "--bas-rowwise-embeddings", "--weight-decay", 0.01)
    whole, half = Run(toy, *flags), Run(toy, *flags, *precision)
    expected, found = whole.optimizer, half.optimizer
    if "--amp" not in precision:
        assert isinstance(half.trainer.optimizer, FP16Optimizer)
    assert found.metrics() == {}
    for run in (whole, half):
        run.update(2)
    kind = "gradient_scale" if name == "bas_novograd" else "trust_ratio"
    assert set(expected.metrics()) == {
        f"{kind}_{part}" for part in ("encoder", "decoder", "embedding")
    }
    assert found.metrics() == pytest.approx(expected.metrics(), rel=0.1)
    layers = {n: p for n, p in half.trainer.model.named_parameters() if p.ndim > 1}
    assert len(found.optimizer.ratios()) == len(layers) > 15
    rowwise = [group["rowwise"] for group in found.param_groups]
    assert rowwise == [False, True]
    (embedding,) = found.param_groups[1]["params"]
    assert embedding.shape == layers["encoder.embed_tokens.weight"].shape


@pytest.mark.parametrize(
    "flags",
    [
        ("bas_lamb", "--adam-eps", 0.1),
        ("bas_lars", "--wd", 0.1),
        ("bas_nt_asgd", "--wd", 0.1),
        ("bas_pytorch_optimizer", "--bas-optimizer-name", "adabelief"),
    ],
)
def test_amp_takes_the_loss_scale_out_once_and_skips_overflows(toy, flags):
    if "adabelief" in flags:
        pytest.importorskip("pytorch_optimizer")
    cfg = configured(toy, "--optimizer", *flags)
    results = []
    for scale in (None, 1024.0):
        weights = [torch.nn.Parameter(torch.ones(shape)) for shape in ((3, 4), (3,))]
        optimizer = optim.build_optimizer(cfg.optimizer, weights)
        if hasattr(optimizer, "begin_run"):
            optimizer.begin_run(cfg)
        if scale is not None:
            optimizer = AMPOptimizer(cfg, weights, optimizer)
            optimizer._grad_scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        for factor in (1.0, 3.0):
            optimizer.zero_grad()
            optimizer.backward(sum((factor * w * w).sum() for w in weights))
            optimizer.clip_grad_norm(0.5)
            optimizer.step()
        results.append([w.detach().clone() for w in weights])
    torch.testing.assert_close(results[1], results[0], rtol=1e-6, atol=0)
    optimizer.zero_grad()
    optimizer.backward(sum((torch.inf * w).sum() for w in weights))
    with contextlib.suppress(FloatingPointError):
        optimizer.clip_grad_norm(0.5)
    optimizer.step()
    assert all(torch.equal(w, r) for w, r in zip(weights, results[1], strict=True))
    assert optimizer.scaler.get_scale() == 512


def test_lars_moves_each_layer_by_its_own_norm(toy):
    """The first step of LARS has length lr * c * norm of the weights, in every matrix alone."""
    run = Run(toy, "--optimizer", "bas_lars", "--bas-trust-coefficient", 0.1)
    assert not run.optimizer.supports_flat_params
    before = [p.detach().clone() for p in run.trainer.model.parameters()]
    for old, new in zip(before, run.update(1), strict=True):
        if old.ndim > 1:
            step = (new - old).norm().item()
            assert step == pytest.approx(0.001 * old.norm().item(), rel=1e-3)


@pytest.mark.parametrize(
    "flags",
    [
        ("--optimizer", "bas_lamb"),
        ("--optimizer", "bas_pytorch_optimizer", "--bas-optimizer-name", "lion"),
    ],
)
def test_runs_without_whole_weights_are_refused_in_one_line(toy, flags):
    if "lion" in flags:
        pytest.importorskip("pytorch_optimizer")
    for given in (("--zero-sharding", "os"), ("--ddp-backend", "fully_sharded"), ("--use-bmuf",)):
        expect_refusal(" ".join(given), lambda given=given: built(toy, *flags, *given))
    half = Run(toy, *flags, "--bf16", "--memory-efficient-bf16")
    expect_refusal("--memory-efficient-fp16", lambda: half.trainer.optimizer)
    flat = torch.nn.Parameter(torch.zeros(9))  # as FP16Optimizer flattens on a GPU
    cfg = configured(toy, *flags).optimizer
    expect_refusal("--fp16-no-flatten-grads", lambda: optim.build_optimizer(cfg, [flat]))


@pytest.mark.parametrize("name", ["bas_lamb", "bas_lars", "bas_novograd"])
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_flat_half_precision_is_refused(toy, name):
    run = Run(toy, "--optimizer", name, *HALF)
    expect_refusal("--fp16-no-flatten-grads", lambda: run.trainer.optimizer)


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (("bas_lamb", "--adam-betas", "0.9"), "pair of numbers"),
        (("bas_lamb", "--adam-betas", "(0.9, 1)"), "1.0"),
        (("bas_lamb", "--bas-trust-clip", "0"), "trust_clip 0"),
        (("bas_lars", "--momentum", "1.5"), "momentum"),
        (("bas_novograd", "--adam-betas", "__import__('os')"), "pair of numbers"),
    ],
)
def test_bad_options_are_refused_in_one_line(toy, flags, problem):
    expect_refusal(problem, lambda: built(toy, "--optimizer", *flags))


def test_rows_without_names_or_embeddings_are_refused(toy):
    optimizer = built(toy, "--optimizer", "bas_lamb", "--bas-rowwise-embeddings")
    expect_refusal("names of the parameters", optimizer.step)
    names = ["encoder.fc1.weight", "encoder.fc1.bias"]
    expect_refusal("no weight named", lambda: optimizer.name_parameters(names))
    with pytest.raises(ValueError, match="do not name"):
        optimizer.name_parameters(names[1:])


def test_state_of_other_layers_is_refused(toy):
    states, optimizers = [], []
    for flags in (("--bas-rowwise-embeddings",), ()):
        optimizer = built(toy, "--optimizer", "bas_novograd", *flags)
        optimizer.name_parameters(["embed_tokens.weight", "fc1.bias"])
        for p in optimizer.params:
            p.grad = torch.ones_like(p)
        optimizer.step()
        optimizers.append(optimizer)
        states.append(optimizer.state_dict())
    rows, whole = optimizers
    whole.load_state_dict(states[1])
    expect_refusal("--bas-rowwise-embeddings", lambda: rows.load_state_dict(states[1]))
    expect_refusal("--bas-rowwise-embeddings", lambda: whole.load_state_dict(states[0]))


def test_lion_by_name_is_the_packages_lion(toy):
    package = pytest.importorskip("pytorch_optimizer")
    flags = ("--optimizer", "bas_pytorch_optimizer", "--bas-optimizer-name", "Lion")
    ours = Run(toy, *flags, "--bas-optimizer-options", "weight_decay=0.1,betas=(0.8,0.9)")
    theirs = Run(toy, *flags)
    lion = package.Lion(list(theirs.optimizer.params), 0.01, (0.8, 0.9), weight_decay=0.1)
    theirs.optimizer.optimizer = lion
    assert all(torch.equal(a, b) for a, b in zip(ours.update(3), theirs.update(3), strict=True))


def test_schedule_free_evaluates_other_weights_than_it_trains(toy):
    pytest.importorskip("pytorch_optimizer")
    flags = ("--optimizer", "bas_pytorch_optimizer", "--bas-optimizer-name", "schedulefreeadamw")
    ours, undisturbed = Run(toy, *flags), Run(toy, *flags)
    trained = ours.update(3)
    ours.trainer.begin_valid_epoch(1)
    evaluated = [p.detach().clone() for p in ours.trainer.model.parameters()]
    assert not torch.equal(trained[0], evaluated[0])
    state = ours.optimizer.optimizer.state
    for p, y, x in zip(ours.trainer.model.parameters(), trained, evaluated, strict=True):
        mixed = 0.1 * state[p]["z"] + 0.9 * x  # y = (1 - beta) z + beta x, the published relation
        torch.testing.assert_close(mixed, y, rtol=1e-4, atol=1e-5)
    undisturbed.update(3)
    torch.testing.assert_close(ours.update(2), undisturbed.update(2), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "given", "problem"),
    [
        ("lionn", "", "lionn is no optimizer .* such as lion"),
        ("", "", r"\(none\) is no optimizer"),
        ("lion", "weight_dekay=0.1", "'weight_dekay' is no option of Lion"),
        ("lion", "lr=1", "pass --lr"),
        ("lion", "betas=range(2)", "is not a list of name=value"),
        ("lion", "betas=0.9", "--bas-optimizer-name lion"),
        ("sophiah", "", "does not run on plain weights and gradients"),
        ("lbfgs", "", "closure"),
        ("muon", "", "does not run on plain weights and gradients"),
    ],
)
def test_what_the_adapter_cannot_build_is_refused_in_one_line(toy, name, given, problem):
    pytest.importorskip("pytorch_optimizer")
    flags = ("--bas-optimizer-name", name, "--bas-optimizer-options", given)
    state = torch.get_rng_state()
    expect_refusal(problem, lambda: built(toy, "--optimizer", "bas_pytorch_optimizer", *flags))
    assert torch.equal(torch.get_rng_state(), state)


def test_missing_package_is_named(toy, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pytorch_optimizer", None)
    flags = ("--optimizer", "bas_pytorch_optimizer", "--bas-optimizer-name", "lion")
    expect_refusal("pip install pytorch_optimizer", lambda: built(toy, *flags))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        (" a = 1 , b='x,y=z' ", {"a": 1, "b": "x,y=z"}),
        ("betas=(0.9,0.99),flag=True,none=None,minus=-1e-3", None),
    ],
)
def test_options_are_literals(text, expected):
    expected = expected or eval(f"dict({text})")  # the meaning, of text known to be harmless
    assert parse_options(text) == expected


@pytest.mark.parametrize(
    "text",
    ["1", "a", "a=b", "a=1 b=2", "a=1).b(c=2", "**{'a': 1}", "a=__import__('os')", "a=1,a=2", "("],
)
def test_other_text_is_no_option(text):
    with pytest.raises(ValueError, match="name=value"):
        parse_options(text)


def test_betas():
    assert parse_betas([0.9, 0.98]) == parse_betas(" (0.9,0.98)") == (0.9, 0.98)
    for text in ("0.9", "(0.9,)", "(0.9, 'x')", "(1", "0.9 0.98"):
        with pytest.raises(ValueError, match="pair of numbers"):
            parse_betas(text)
