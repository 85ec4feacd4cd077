"""Copies of a mini-batch against one written out by hand, and placements against a partition."""

import copy
import itertools

import pytest
import torch

from fairseq_bas.replicate import Placement, mean_over_replicas, replicate


def sample_by_hand():
    return {
        "id": torch.tensor([7, 3]),
        "nsentences": 2,
        "ntokens": 5,
        "net_input": {
            "src_tokens": torch.tensor([[5, 6, 2], [1, 8, 2]]),
            "src_lengths": torch.tensor([3, 2]),
            "prev_output_tokens": torch.tensor([[2, 4, 9], [2, 9, 1]]),
        },
        "target": torch.tensor([[4, 9, 2], [9, 2, 1]]),
        "first_sentence": 3,
        "is_empty": False,
    }


def test_copies_by_hand():
    copies = replicate(sample_by_hand(), range(2, 4), num_replicas=6)
    assert copies["id"].tolist() == [7, 7, 3, 3]
    assert copies["replica"].tolist() == [2, 3, 2, 3]
    assert copies["num_replicas"] == 6
    assert (copies["nsentences"], copies["ntokens"]) == (4, 10)
    assert copies["target"].tolist() == [[4, 9, 2], [4, 9, 2], [9, 2, 1], [9, 2, 1]]
    assert copies["net_input"]["src_lengths"].tolist() == [3, 3, 2, 2]  # still sorted
    assert copies["net_input"]["src_tokens"][2:].tolist() == [[1, 8, 2], [1, 8, 2]]
    assert copies["first_sentence"] == 3


@pytest.mark.parametrize("rows", [1, 3])
def test_sample_is_not_mutated(rows):
    sample = sample_by_hand()
    before = copy.deepcopy(sample)
    replicate(sample, range(rows), num_replicas=rows)
    assert str(sample) == str(before)
    assert sample.keys() == before.keys()


def test_alignments_follow_their_row():
    """Each copy's links, read back through its row, are the links of its sentence."""
    sample = sample_by_hand()
    links = {0: [(0, 1), (1, 0)], 1: [(2, 2)]}  # sentence -> (source, target) positions
    length = sample["target"].size(1)
    sample["alignments"] = torch.tensor(
        [(s, b * length + t) for b, pairs in links.items() for s, t in pairs]
    )
    sample["align_weights"] = torch.tensor([0.5, 1.0, 0.25])
    copies = replicate(sample, range(3), num_replicas=3)
    found = {}
    for (s, flat), weight in zip(
        copies["alignments"].tolist(), copies["align_weights"].tolist(), strict=True
    ):
        found.setdefault(flat // length, []).append((s, flat % length, weight))
    for row in range(6):
        by_hand = {0: [(0, 1, 0.5), (1, 0, 1.0)], 1: [(2, 2, 0.25)]}[row // 3]
        assert sorted(found[row]) == sorted(by_hand)
    rows = (copies["alignments"][:, 1] // length).tolist()
    assert rows == sorted(rows)  # criteria expect links grouped by row


@pytest.mark.parametrize(
    ("workers", "rows", "passes"), itertools.product([1, 2, 3], [1, 2, 4], [1, 3])
)
def test_placement_is_a_partition(workers, rows, passes):
    replicas = workers * rows * passes
    placement = Placement(replicas, workers, rows)
    assert placement.passes == passes
    all_passes = [p for w in range(workers) for p in placement.passes_of(w)]
    assert all(len(p) == rows for p in all_passes)
    assert [r for p in all_passes for r in p] == list(range(replicas))


@pytest.mark.parametrize(("workers", "rows"), [(2, 2), (1, 4), (5, 1), (0, 1), (1, 0)])
def test_placement_that_does_not_fit_is_refused(workers, rows):
    with pytest.raises(ValueError, match="6 replicas cannot be split"):
        Placement(6, workers, rows)


def test_mean_over_replicas_of_tensors_numbers_and_labels():
    logs = [
        {"loss": torch.tensor(3.0), "ntokens": 7, "half": 1, "name": "a", "flag": True},
        {"loss": torch.tensor(5.0), "ntokens": 7, "half": 0, "name": "b", "flag": True},
    ]
    mean = mean_over_replicas(logs, num_replicas=2)
    assert mean["loss"].item() == 4.0
    assert mean["ntokens"] == 7 and isinstance(mean["ntokens"], int)
    assert mean["half"] == 0.5
    assert (mean["name"], mean["flag"]) == ("b", True)
