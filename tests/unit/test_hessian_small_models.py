"""Curvature of small translation and language models against their dense Hessians in float64."""

from argparse import Namespace
from types import SimpleNamespace

import pytest
import torch
from fairseq.data import Dictionary
from fairseq.models.lstm import LSTMModel, base_architecture
from fairseq.models.transformer import TransformerConfig, TransformerModelBase

from fairseq_bas.criterion.summed_loss import logits_of, summed_loss
from fairseq_bas.measure.eigenvalues import top_eigenvalues
from fairseq_bas.measure.hessian_product import choose_method, hessian_product
from fairseq_bas.measure.kernels import plain_kernels
from fairseq_bas.measure.lanczos import largest_eigenvalue
from fairseq_bas.measure.loss_surface import LossSurface
from fairseq_bas.measure.spectrum import density, trace
from fairseq_bas.model.lstm_lm_config import LSTMLanguageModelConfig
from fairseq_bas.model.lstm_lm_decoder import LSTMLanguageModelDecoder

WORDS, PAD, EOS = 5, 1, 2
ROUNDED = {"transformer": 5e-3}
"""Error of differences where fairseq computes a softmax in float32, whatever the model's type."""

SENTENCES = 6


def dictionary():
    words = Dictionary()
    for word in range(WORDS):
        words.add_symbol(f"w{word}")
    return words


def task():
    words = dictionary()
    return SimpleNamespace(source_dictionary=words, target_dictionary=words)


def transformer():
    """Two layers on either side, one embedding for source, target and output."""
    cfg = TransformerConfig()
    for side in (cfg.encoder, cfg.decoder):
        side.embed_dim, side.ffn_embed_dim, side.layers, side.attention_heads = 4, 4, 2, 2
    cfg.decoder.input_dim = cfg.decoder.output_dim = 4
    cfg.dropout, cfg.share_all_embeddings = 0.1, True
    return TransformerModelBase.build_model(cfg, task())


def lstm():
    """Two layers on either side, of fairseq."""
    args = Namespace(dropout=0.1, share_all_embeddings=True, criterion=None)
    for side in ("encoder", "decoder"):
        for name, value in (("embed_dim", 3), ("hidden_size", 3), ("layers", 2)):
            setattr(args, f"{side}_{name}", value)
    args.decoder_out_embed_dim = 3
    base_architecture(args)
    return LSTMModel.build_model(args, task())


def language_model():
    """Two layers of this plugin, tied."""
    cfg = LSTMLanguageModelConfig(bas_embed_dim=4, bas_hidden_dim=5, bas_layers=2)
    model = torch.nn.Module()
    decoder = model.decoder = LSTMLanguageModelDecoder(cfg, dictionary())
    model.forward = lambda src_tokens, **_: decoder(src_tokens)
    return model


MODELS = {"transformer": transformer, "lstm": lstm, "language model": language_model}


def padded(rows, left):
    width = max(map(len, rows))
    fill = [[PAD] * (width - len(row)) for row in rows]
    return torch.tensor([f + r if left else r + f for f, r in zip(fill, rows, strict=True)])


def batch_of(pairs):
    """Return a micro-batch as fairseq makes it: the longest source first, padded."""
    pairs = sorted(pairs, key=lambda pair: -len(pair[0]))
    sources, targets = zip(*pairs, strict=True)
    return {
        "net_input": {
            "src_tokens": padded(sources, left=True),
            "src_lengths": torch.tensor([len(source) for source in sources]),
            "prev_output_tokens": padded([[EOS, *target[:-1]] for target in targets], left=False),
        },
        "target": padded(targets, left=False),
    }


def text(has_source):
    """Return pairs of sentences of 3 to 6 tokens; those of a language model have one length."""
    generator = torch.Generator().manual_seed(3)

    def sentence():
        length = int(torch.randint(2, 6, (), generator=generator)) if has_source else 5
        return [*torch.randint(4, 4 + WORDS, (length,), generator=generator).tolist(), EOS]

    pairs = [(sentence(), sentence()) for _ in range(SENTENCES)]
    return pairs if has_source else [([EOS, *target[:-1]], target) for _, target in pairs]


def surface_of(name, sizes=(4, 2), smoothing=0.0):
    torch.manual_seed(1)
    model = MODELS[name]().double().eval()
    pairs = text(has_source=name != "language model")
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    batches = [
        batch_of(pairs[start : start + size]) for start, size in zip(starts, sizes, strict=True)
    ]
    tokens = sum(len(target) for _, target in pairs[: sum(sizes)])
    logits = logits_of(PAD)
    loss = summed_loss(logits, PAD, smoothing)
    surface = LossSurface(model, batches, loss, tokens, outputs_of=logits)
    # Away from the start of training, where the outputs of a model are nearly all alike.
    for _ in range(5):
        surface.move_to(surface.point() - 0.5 * surface.gradient())
    return surface


def dense_hessian(name, surface):
    """Return the Hessian (n, n), all its rows at once, with all the text as one batch."""
    everything = batch_of(text(has_source=name != "language model"))
    with plain_kernels():
        loss = surface.loss_of(surface.model, everything) / surface.weight
        gradient = flat(torch.autograd.grad(loss, surface.parameters, create_graph=True))
        rows = torch.autograd.grad(
            gradient,
            surface.parameters,
            torch.eye(surface.size).double(),
            is_grads_batched=True,
        )
    return torch.cat([part.flatten(1) for part in rows], dim=1)


def flat(tensors):
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def seeded(seed=1):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module", params=MODELS)
def case(request):
    surface = surface_of(request.param)
    return request.param, surface, dense_hessian(request.param, surface)


def test_model_is_small_tied_and_curved(case):
    _, surface, dense = case
    assert 300 < surface.size < 1500
    assert choose_method(surface) == "double"
    torch.testing.assert_close(dense, dense.T, rtol=0, atol=1e-7)
    values = torch.linalg.eigvalsh(dense)
    assert values[-1] > 0.05 and values[0] < -1e-3


def test_products_equal_the_dense_hessian_by_both_methods(case):
    name, surface, dense = case
    vectors = torch.randn(3, surface.size, generator=seeded()).double()
    for method, error in (("double", 1e-6), ("difference", ROUNDED.get(name, 1e-4))):
        product = hessian_product(surface, method)
        for vector in vectors:
            expected = dense @ vector
            assert (product(vector) - expected).norm() < error * expected.norm(), method


def test_micro_batches_give_the_products_of_one_batch(case):
    name, surface, _ = case
    one = surface_of(name, (SENTENCES,))
    one.move_to(surface.point())
    vector = torch.randn(surface.size, generator=seeded()).double()
    for method in ("double", "gauss-newton"):
        expected = hessian_product(one, method)(vector)
        found = hessian_product(surface, method)(vector)
        assert (found - expected).norm() < 1e-6 * expected.norm()


def test_eigenvalues_to_four_digits(case):
    _, surface, dense = case
    expected = torch.linalg.eigvalsh(dense).flip(0)[:3]
    found = top_eigenvalues(hessian_product(surface), surface.size, 3, seeded(), tolerance=1e-3)
    assert found.values == pytest.approx(expected.tolist(), rel=1e-4)
    assert max(found.residuals) < 2e-3 * found.values[0]


def test_short_lanczos_run_finds_the_largest_eigenvalue(case):
    _, surface, dense = case
    value, steps = largest_eigenvalue(hessian_product(surface), surface.size, seeded())
    assert value == pytest.approx(torch.linalg.eigvalsh(dense)[-1].item(), rel=0.03)
    assert steps <= 20


def test_trace_is_within_its_error_bar(case):
    _, surface, dense = case
    found = trace(hessian_product(surface), surface.size, 20, seeded())
    assert abs(found.mean - dense.trace().item()) < 2.5 * found.standard_error
    expected = (2 * (dense - dense.diag().diag()).square().sum() / 20).sqrt().item()
    assert found.standard_error == pytest.approx(expected, rel=0.5)


def test_density_has_the_moments_of_the_spectrum(case):
    """Products are those of the dense matrix, shown equal above, as many are needed.

    Odd moments nearly cancel, so 2 % are of what is there without signs. The standard deviation of
    one vector is up to 120 % of it.
    """
    _, surface, dense = case
    found = density(dense.matmul, surface.size, 2, 2500, seeded(2))
    values = torch.linalg.eigvalsh(dense)
    for power in (1, 2, 3):
        scale = values.abs().pow(power).mean().item()
        expected = values.pow(power).mean().item()
        assert found.moment(power) == pytest.approx(expected, abs=0.02 * scale), power


def test_gauss_newton_is_the_fisher_matrix_with_label_smoothing_too():
    surface = surface_of("language model", (2, 1))
    smoothed = surface_of("language model", (2, 1), smoothing=0.1)
    assert smoothed.loss() > surface.loss()
    smoothed.move_to(surface.point())
    vector = torch.randn(surface.size, generator=seeded()).double()
    product = hessian_product(surface, "gauss-newton")(vector)
    torch.testing.assert_close(product, hessian_product(smoothed, "gauss-newton")(vector))
    assert vector @ product == pytest.approx(fisher(surface, vector), rel=1e-8)


def fisher(surface, vector):
    """Return v^T F v = the mean over tokens of sum over labels y of p(y) (v . grad log p(y))^2."""
    total = 0.0
    for batch in surface.batches:
        log_probs = surface.outputs_of(surface.model, batch).log_softmax(dim=-1)
        for row in log_probs:
            for entry in row:
                gradients = torch.autograd.grad(
                    entry, surface.parameters, retain_graph=True, allow_unused=True
                )
                slope = sum(
                    (gradient * part).sum()
                    for gradient, part in zip(gradients, surface.split(vector), strict=True)
                    if gradient is not None
                )
                total += float(entry.exp() * slope**2)
    return total / surface.weight
