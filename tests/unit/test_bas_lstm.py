"""The LSTM translation model against loops over single sentences, in float64."""

import pytest
import torch
from fairseq.data import Dictionary
from fairseq.sequence_generator import SequenceGenerator

from fairseq_bas.criterion.projection import projection_of
from fairseq_bas.model.bas_lstm import LSTMTranslationModel
from fairseq_bas.model.forward_masks import forward_masks
from fairseq_bas.model.lstm_config import LSTMConfig
from fairseq_bas.model.lstm_encoder import LSTMEncoder
from fairseq_bas.model.lstm_translation_decoder import LSTMTranslationDecoder

E, H, PAD, EOS, MIN_LEN = 6, 5, 1, 2, 3
NO_DROPOUT = {f"bas_dropout_{place}": 0.0 for place in ("embedding", "input", "hidden", "output")}
# Rates that float32 holds exactly, as padded rows get them from a mask of that type.
ZONEOUT = {"bas_zoneout_hidden": 0.25, "bas_zoneout_cell": 0.5}
DEEP = {"bas_encoder_layers": 4, "bas_decoder_layers": 4, "bas_residual": True}
SHAPES = pytest.mark.parametrize(
    "flags",
    [{}, {**DEEP, **ZONEOUT}, {"bas_encoder_layers": 1, "bas_decoder_layers": 1}],
    ids=["base", "deep", "flat"],
)


def make(**flags):
    """Return a model in eval mode over a vocabulary of 20, and its dictionary."""
    dictionary = Dictionary()
    for number in range(16):
        dictionary.add_symbol(f"w{number}")
    cfg = LSTMConfig(bas_embed_dim=E, bas_hidden_dim=H, **{**NO_DROPOUT, **flags})
    torch.manual_seed(1)
    embeddings = [torch.nn.Embedding(20, E, padding_idx=PAD) for _ in range(2)]
    encoder = LSTMEncoder(cfg, dictionary, embeddings[0])
    decoder = LSTMTranslationDecoder(cfg, dictionary, embeddings[1], encoder.output_units)
    model = LSTMTranslationModel(encoder, decoder).double().eval()
    # Far from uniform, so that a wrong context or state changes what is predicted.
    decoder.attention.projection.weight.data.mul_(8)
    decoder.output_projection.weight.data.mul_(8)
    decoder.output_projection.bias.data[EOS] = 0.25  # so that some hypotheses end early
    return model, dictionary


def sentences():
    """Return sources of several lengths that end in EOS."""
    torch.manual_seed(2)
    return [torch.cat([torch.randint(4, 20, (n,)), torch.tensor([EOS])]) for n in (6, 3, 3, 1)]


def batch(rows, side):
    """Return rows as (B, S), padded on one side."""
    size = max(map(len, rows)) + 1  # a column of nothing but padding as well
    tokens = torch.full((len(rows), size), PAD)
    for b, row in enumerate(rows):
        tokens[b, slice(0, len(row)) if side == "right" else slice(size - len(row), size)] = row
    return tokens


def lstm_loop(layer, x):
    """Return the hidden states (T, H) of one row (T, I), step by step, zoneout as expected."""
    h = c = torch.zeros(layer.hidden_size).double()
    outputs = []
    for step in x:
        gates = layer.weight_ih_l0 @ step + layer.bias_ih_l0
        gates = gates + layer.weight_hh_l0 @ h + layer.bias_hh_l0
        i, f, g, o = gates.chunk(4)
        new_c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        new_h = o.sigmoid() * new_c.tanh()
        c = layer.zoneout_cell * c + (1 - layer.zoneout_cell) * new_c
        h = layer.zoneout_hidden * h + (1 - layer.zoneout_hidden) * new_h
        outputs.append(h)
    return torch.stack(outputs)


def encode_loop(encoder, tokens):
    """Return the output (S, C) for one sentence (S,)."""
    x = encoder.embed_tokens.weight[tokens]
    pair = encoder.bidirectional
    x = torch.cat([lstm_loop(pair.forwards, x), lstm_loop(pair.backwards, x.flip(0)).flip(0)], 1)
    for number, layer in enumerate(encoder.layers, start=2):
        output = lstm_loop(layer, x)
        x = output + x if encoder.cfg.bas_residual and number >= 3 else output
    return x


def decode_loop(decoder, tokens, memory):
    """Return logits (T, V) of one sentence (T,), given the encoder's output (S, C)."""
    x = lstm_loop(decoder.layers[0], decoder.embed_tokens.weight[tokens])
    scores = (x @ decoder.attention.projection.weight.t()) @ memory.t()
    context = scores.softmax(-1) @ memory
    for number, layer in enumerate(decoder.layers[1:], start=2):
        output = lstm_loop(layer, torch.cat([x, context], 1))
        x = output + x if decoder.cfg.bas_residual and number >= 3 else output
    features = torch.tanh(torch.cat([x, context], 1) @ decoder.combine.weight.t())
    projection = decoder.output_projection
    return features @ projection.weight.t() + projection.bias


@SHAPES
@pytest.mark.parametrize("side", ["left", "right"])
def test_sentence_in_a_batch_is_the_loop_over_it_alone(flags, side):
    model, _ = make(**flags)
    sources, targets = sentences(), [row.flip(0) for row in sentences()]
    out = model.encoder(batch(sources, side))
    logits, extra = model.decoder(batch(targets, "right"), encoder_out=out)
    for b, (source, target) in enumerate(zip(sources, targets, strict=True)):
        memory = encode_loop(model.encoder, source)
        torch.testing.assert_close(out.encoder_out[~out.padding[:, b], b], memory)
        expected = decode_loop(model.decoder, target, memory)
        torch.testing.assert_close(logits[b, : len(target)], expected)
        alone, _ = model(source[None], None, target[None])
        torch.testing.assert_close(alone[0], expected)
        assert (extra["attn"][0][b][:, out.padding[:, b]] == 0).all()


@SHAPES
def test_steps_of_generation_are_the_whole_at_once(flags):
    model, _ = make(**flags)
    out = model.encoder(batch(sentences(), "left"))
    tokens = torch.randint(4, 20, (4, 7))
    whole, extra = model.decoder(tokens, encoder_out=out)
    state = {}
    for step in range(1, 8):
        logits, now = model.decoder(tokens[:, :step], encoder_out=out, incremental_state=state)
        torch.testing.assert_close(logits[:, 0], whole[:, step - 1])
        torch.testing.assert_close(now["attn"][0][:, 0], extra["attn"][0][:, step - 1])


def generate(model, dictionary, source, beam):
    """Return fairseq's hypotheses, of which those of beam 1 are greedy."""
    generator = SequenceGenerator([model], dictionary, beam_size=beam, min_len=MIN_LEN, max_len_b=9)
    lengths = source.ne(PAD).sum(1)
    return generator({"net_input": {"src_tokens": source, "src_lengths": lengths}})


@SHAPES
@pytest.mark.parametrize("beam", [1, 4])
def test_scores_of_a_beam_are_those_of_its_hypotheses(flags, beam):
    """Hypotheses change places, sentences finish: each score is that of its tokens alone."""
    model, dictionary = make(**flags)
    sources = sentences()
    for source, hypotheses in zip(
        sources, generate(model, dictionary, batch(sources, "left"), beam), strict=True
    ):
        for hypothesis in hypotheses:
            tokens = hypothesis["tokens"]
            read = torch.cat([torch.tensor([EOS]), tokens[:-1]])
            log_probs = model(source[None], None, read[None])[0][0].log_softmax(-1)
            expected = log_probs.gather(1, tokens[:, None])[:, 0]
            # The generator keeps scores in float32.
            torch.testing.assert_close(
                hypothesis["positional_scores"].double(), expected, rtol=1e-4, atol=1e-4
            )
            if beam == 1:
                log_probs[:, PAD] = log_probs[:MIN_LEN, EOS] = -torch.inf  # as the generator rules
                assert torch.equal(log_probs[:-1].argmax(-1), tokens[:-1])


def test_reordering_takes_sentences_and_hypotheses():
    model, _ = make(**ZONEOUT)
    order = torch.tensor([3, 0, 0])
    sources, tokens = batch(sentences(), "left"), torch.randint(4, 20, (4, 5))
    out, state = model.encoder(sources), {}
    for step in range(1, 5):
        model.decoder(tokens[:, :step], encoder_out=out, incremental_state=state)
    model.decoder.reorder_incremental_state_scripting(state, order)
    moved = model.encoder.reorder_encoder_out(out, order)
    logits, _ = model.decoder(tokens[order], encoder_out=moved, incremental_state=state)
    expected, _ = model(sources[order], None, tokens[order])
    torch.testing.assert_close(logits[:, 0], expected[:, -1])
    unpadded = model.encoder(sources[:1, 1:])
    assert unpadded.padding is None
    assert model.encoder.reorder_encoder_out(unpadded, torch.tensor([0, 0])).padding is None


def test_output_layer_is_found_by_the_chunked_loss():
    model, _ = make()
    projection = projection_of(model)
    assert projection.weight is model.decoder.output_projection.weight
    assert projection.bias is model.decoder.output_projection.bias


@pytest.mark.parametrize("flags", [{"bas_weight_drop": 0.5}, {"bas_dropout_embedding": 0.5}])
def test_copies_have_masks_of_their_own_where_that_is_asked_for(flags):
    model, _ = make(**flags)
    model.train()
    source, target = torch.arange(4, 20).expand(4, 16), torch.arange(4, 20).expand(4, 16)

    def encoded_and_logits(**kwargs):
        with forward_masks(model, **kwargs):
            out = model.encoder(source)
            memory = model.encoder.reorder_encoder_out(out, torch.zeros(4).long())
            return out.encoder_out.transpose(0, 1), model.decoder(target, encoder_out=memory)[0]

    for rows in encoded_and_logits():
        torch.testing.assert_close(rows, rows[:1].expand_as(rows))
    encoded, logits = encoded_and_logits(groups={"encoder": 2, "decoder": 4})
    torch.testing.assert_close(encoded[:2], encoded[2:])
    assert (encoded[0] - encoded[1]).abs().max() > 1e-3
    for one in range(4):
        for other in range(one):
            assert (logits[one] - logits[other]).abs().max() > 1e-3
    seeded, again, other = (encoded_and_logits(seed=seed)[1] for seed in (5, 5, 6))
    assert torch.equal(seeded, again) and not torch.equal(seeded, other)


def test_encoder_and_decoder_never_share_a_seed():
    model, _ = make(bas_dropout_embedding=0.5)
    model.train()
    with forward_masks(model, seed=5):
        draws = [
            torch.rand(8, generator=part.mask_generator("cpu"))
            for part in (model.encoder, model.decoder)
        ]
    assert not torch.equal(*draws)
    assert model.encoder.mask_generator("cpu") is None


@pytest.mark.parametrize("place", [*NO_DROPOUT, "bas_zoneout_hidden", "bas_zoneout_cell"])
def test_every_rate_acts_in_training_only(place):
    model, _ = make(**{place: 0.5})
    source, target = torch.arange(4, 12)[None], torch.arange(4, 8)[None]
    before, _ = model(source, None, target)
    first, second = (model.train()(source, None, target)[0] for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(model.eval()(source, None, target)[0], before)
    state = model.encoder(source)
    memories = [model.train().encoder(source).encoder_out for _ in range(2)]
    encodes = place not in ("bas_dropout_output",)
    assert torch.equal(*memories) != encodes
    assert torch.equal(model.eval().encoder(source).encoder_out, state.encoder_out)
