"""Streams as mini-batches."""

import torch

from fairseq_bas.data.select_replicas import select_replicas
from fairseq_bas.data.stream_windows import StreamLayout
from fairseq_bas.data.streams import StreamEpoch, StreamText

EOS = 2
SENTENCES = [torch.tensor([10 + n, 20 + n, EOS]) for n in range(9)]


def batches(dataset, groups=1):
    return [
        dataset.collater([dataset[item] for item in batch]) for batch in dataset.batches(groups)
    ]


def test_one_stream_predicts_every_token_once_from_the_one_before():
    """Inputs are the labels one step earlier, after an end of sentence."""
    dataset = StreamEpoch(StreamText(SENTENCES, EOS), StreamLayout(27, 1, 4))
    text = torch.cat(SENTENCES)
    made = batches(dataset)
    assert torch.equal(torch.cat([b["target"][0] for b in made]), text)
    inputs = torch.cat([b["net_input"]["src_tokens"][0] for b in made])
    assert torch.equal(inputs, torch.cat([torch.tensor([EOS]), text[:-1]]))
    assert [b["window"] for b in made] == list(range(7))
    assert sum(b["ntokens"] for b in made) == 27


def test_groups_of_streams_add_up_to_the_whole_batch():
    """The micro-batches of an update hold the rows of the one big batch, in order."""
    dataset = StreamEpoch(StreamText(SENTENCES, EOS), StreamLayout(27, 4, 3))
    whole, parts = batches(dataset, 1), batches(dataset, 2)
    assert len(parts) == 2 * len(whole)
    for window, batch in enumerate(whole):
        pair = parts[2 * window : 2 * window + 2]
        assert [b["window"] for b in pair] == [window, window]
        assert torch.equal(torch.cat([b["id"] for b in pair]), batch["id"])
        assert torch.equal(torch.cat([b["target"] for b in pair]), batch["target"])


def test_offset_copies_are_taken_as_passes_need_them():
    """Replica m of a pass reads the text m / M of a window further on."""
    layout = StreamLayout(27, 2, 4, offset_replicas=4)
    batch = batches(StreamEpoch(StreamText(SENTENCES, EOS), layout, replicas=range(4)))[1]
    copies = select_replicas(batch, range(2, 4), 4)
    text = torch.cat(SENTENCES)
    expected = [text[(s * 13 + 4 + m) : (s * 13 + 8 + m)] for s in (0, 1) for m in (2, 3)]
    assert torch.equal(copies["target"], torch.stack(expected))
    assert copies["id"].tolist() == [0, 0, 1, 1]
    assert copies["ntokens"] == 16
