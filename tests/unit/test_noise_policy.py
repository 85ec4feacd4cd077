"""Noise policies: what is parsed, what is refused, and how noise varies over copies."""

import itertools

import pytest

from fairseq_bas.noise.policy import NOISES, NoisePolicy, Variation, parse_noise

FLAG = "--bas-source-noise"


def test_parses_names_and_values():
    policy = parse_noise(" drop=0.1, shuffle=3 ,switchout=0.5", FLAG, "source")
    assert dict(policy.values) == {"drop": 0.1, "shuffle": 3.0, "switchout": 0.5}
    assert policy and policy["mask"] == 0.0
    assert str(policy) == "drop=0.1,shuffle=3,switchout=0.5"
    for nothing in ("", "none", " none "):
        assert not parse_noise(nothing, FLAG, "source")
    assert str(NoisePolicy()) == "none"


@pytest.mark.parametrize(
    ("text", "side", "message"),
    [
        ("dorp=0.1", "source", "there is no noise 'dorp'; use drop, mask"),
        ("drop", "source", "drop: the value is missing; give a rate in [0, 1)"),
        ("drop=", "source", "the value is not a number"),
        ("drop=abc", "source", "the value is not a number"),
        ("drop=1", "source", "the value is out of range; give a rate in [0, 1)"),
        ("mask=-0.1", "source", "the value is out of range"),
        ("mask=nan", "source", "the value is out of range"),
        ("shuffle=2.5", "source", "out of range; give a whole number of words"),
        ("switchout=0", "source", "give a temperature above 0"),
        ("drop=0.1,drop=0.2", "source", "drop is there twice"),
        ("drop=0.6,mask=0.6", "source", "add up to 1.2; lower them to a sum of at most 1"),
        ("drop=0.1", "target", "drop is no noise of the target side"),
        ("shuffle=3", "target", "shuffle is no noise of the target side"),
        ("bigram-labels=0.1", "source", "it has no labels"),
        ("", "source", None),
    ],
)
def test_bad_policies_are_refused_in_one_line(text, side, message):
    if message is None:
        parse_noise(text, FLAG, side)
        return
    with pytest.raises(ValueError) as error:
        parse_noise(text, FLAG, side)
    assert message in str(error.value) and FLAG in str(error.value)
    assert "\n" not in str(error.value)


def test_every_noise_is_allowed_on_some_side():
    assert all(len(noise.excluded) < 2 for noise in NOISES.values())


@pytest.mark.parametrize("num_replicas", [2, 3, 8])
@pytest.mark.parametrize("clean", [False, True])
def test_graded_strengths_rise_evenly_and_have_mean_one(num_replicas, clean):
    strengths = Variation(clean=clean, graded=True).strengths(num_replicas)
    noisy = strengths[clean:]
    assert len(strengths) == num_replicas and strengths[:clean] == [0.0] * clean
    assert sum(noisy) / len(noisy) == pytest.approx(1)
    steps = [b - a for a, b in itertools.pairwise(strengths)]
    assert all(step == pytest.approx(2 / (len(noisy) + 1)) for step in steps)


def test_complementary_intervals_lie_end_to_end():
    variation = Variation(clean=True, graded=True, complementary=True)
    offsets, strengths = variation.offsets(0.2, 4), variation.strengths(4)
    for i in range(3):
        assert offsets[i] + 0.2 * strengths[i] == pytest.approx(offsets[i + 1])


def test_impossible_variations_are_named():
    half = {FLAG: NoisePolicy({"drop": 0.5})}
    assert not list(Variation(complementary=True).problems(half, 2))
    (problem,) = Variation(complementary=True).problems(half, 4)
    assert "lower the rates to a sum of at most 0.25" in problem
    (problem,) = Variation(graded=True).problems({FLAG: NoisePolicy({"mask": 0.7})}, 4)
    assert "--bas-graded-noise" in problem and "at most 0.625" in problem
