"""Keys: equal keys draw the same, any two different keys draw differently."""

import itertools

import pytest
import torch

from fairseq_bas.rng import STREAMS, derive_seed, fingerprint


def draws(*key):
    torch.manual_seed(derive_seed(*key))
    return torch.rand(64)


def test_equal_keys_draw_the_same_and_ignore_global_state():
    torch.manual_seed(0)
    first = draws(1, "dropout", 5, 17, 2)
    torch.manual_seed(99)
    assert torch.equal(first, draws(1, "dropout", 5, 17, 2))


def test_every_part_of_the_key_counts():
    keys = list(itertools.product(range(3), ["dropout"], range(6), range(6), range(6)))
    seeds = {derive_seed(*key) for key in keys}
    assert len(seeds) == len(keys)
    # torch's CPU generator keeps the low 32 bits only.
    assert len({seed % 2**32 for seed in seeds}) == len(keys)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_draws_of_neighbouring_keys_are_uncorrelated():
    sample = torch.stack([draws(1, "dropout", u, 0, r) for u in range(20) for r in range(20)])
    correlation = torch.corrcoef(sample) - torch.eye(len(sample))
    # Independent rows of 64 draws: standard deviation 1/8, the largest of 80,000 is about 0.56.
    assert correlation.abs().max() < 0.7
    assert abs(correlation.mean()) < 1e-2


def test_unknown_stream_or_counters_are_refused():
    with pytest.raises(ValueError, match="no stream 'weather' with 3 counters"):
        derive_seed(1, "weather", 0, 0, 0)
    with pytest.raises(ValueError, match="no stream 'dropout' with 2 counters"):
        derive_seed(1, "dropout", 0, 0)


def test_fingerprint_names_the_seed_and_the_scheme():
    assert fingerprint(1) != fingerprint(2)
    assert len(fingerprint(1)) == 8
    # A change of this value means that every recorded run would draw other noise.
    assert fingerprint(1) == "fd8e95b2"
    assert set(STREAMS) == {
        *("dropout", "source_noise", "target_noise", "subword", "layerdrop"),
        *("forward_masks", "bptt", "rotation", "curvature", "rest"),
    }
