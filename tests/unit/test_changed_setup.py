"""A run that goes on with another setup in the middle of an epoch reads each sentence once."""

import io
import itertools
import random

import pytest
import torch
from fairseq.data import iterators

from fairseq_bas.data.layout_change import FIRST_FLAGS
from tests.data_worker import Worker
from tests.in_process import train_here
from tests.resume_runs import last_checkpoint, tensors
from tests.toys import tiny_awd_lstm_lm, tiny_transformer

SENTENCES = 60


def command(toy, *extra, batch_size=4):
    model = tiny_transformer(toy, "unused", task="bas_translation")
    return [*model, "--batch-size", batch_size, *extra]


def start(flags, readers, state=None):
    return [Worker(flags, readers, reader, state) for reader in range(readers)]


def read(workers, stop_after=None):
    """Return the updates of each worker, and what a checkpoint holds afterwards."""
    updates = [list(worker.epoch(stop_after)) for worker in workers]
    assert len({len(own) for own in updates}) == 1
    state = workers[0].state()
    return updates, {**state, "position": saved(state["position"])}


def saved(position):
    """Return a position as the safe loader brings it back from a checkpoint."""
    file = io.BytesIO()
    torch.save(position, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def ids(updates):
    return [i for own in updates for update in own for batch in update for i in batch]


def random_setup(generator):
    """Return flags and a number of workers."""
    flags = ["--max-tokens", generator.choice([40, 90, 200]), "--seed", generator.choice([1, 1, 2])]
    flags += ["--update-freq", generator.choice([1, 1, 3])]
    flags += ["--required-batch-size-multiple", generator.choice([1, 4])]
    flags += ["--bas-replicas", generator.choice([1, 2])]
    schedule = generator.choice(["1x", "2x@0,1x@4u", "12s", "0.06kt"])
    if generator.random() < 0.3:
        flags.append("--grouped-shuffling")
    return [*flags, "--bas-batch-schedule", schedule], generator.choice([1, 2, 3])


@pytest.mark.parametrize("seed", range(5))
def test_random_changes_in_one_epoch_read_every_sentence_once(toy, seed):
    generator = random.Random(seed)
    state, seen, changes = None, [], 0
    for stage in itertools.count():
        flags, readers = random_setup(generator)
        workers = start(
            command(toy, *flags, batch_size=generator.choice([2, 3, 5])), readers, state
        )
        stop = generator.randint(1, 2) if stage < 3 else None
        updates, state = read(workers, stop)
        seen += ids(updates)
        ended = state["position"]["epoch"] == 2
        counters = state["position"]["bas_companions"]["planner"]
        assert counters["sentences"] == len(seen)
        assert 0 < workers[0].planner.plan.clock.epochs < 1 or stage == 0
        if ended:
            break
        changes += 1
    assert changes >= 1
    assert sorted(seen) == list(range(SENTENCES))
    sizes = workers[0].task.dataset("train").tgt_sizes
    assert counters["target_tokens"] == sizes.sum()
    assert state["position"]["bas_parts"] == []


@pytest.mark.parametrize("processes", [0, 2])
def test_rest_of_an_epoch_resumes_exactly(toy, processes):
    """The rest is the same after a further stop, and with data loaded by other processes."""
    flags = command(toy, "--num-workers", processes, batch_size=3)
    _, state = read(start(command(toy), 2), stop_after=3)
    (whole,), end = read(start(flags, 1, state))
    (before,), middle = read(start(flags, 1, state), stop_after=2)
    (after,), same_end = read(start(command(toy, batch_size=3), 1, middle))
    assert before + after == whole and end == same_end


def test_order_of_the_rest_follows_the_seed(toy):
    _, state = read(start(command(toy), 2), stop_after=3)
    one, two = (
        ids(read(start(command(toy, "--seed", seed, batch_size=3), 1, state))[0]) for seed in (1, 2)
    )
    assert sorted(one) == sorted(two) and one != two


def test_checkpoint_of_an_earlier_version_goes_on_or_is_refused(toy):
    """Without the bounds of its micro-batches, what was read is not known."""
    (whole,), _ = read(start(command(toy), 1))
    (before,), state = read(start(command(toy), 1), stop_after=4)
    known = (*FIRST_FLAGS, "batching", "sentences", "replicas")
    layout = {key: state["position"]["bas_layout"][key] for key in known}
    del state["position"]["bas_parts"]
    state["position"]["bas_layout"] = layout
    (after,), _ = read(start(command(toy), 1, state))
    assert before + after == whole
    with pytest.raises(SystemExit, match=r"after 4 of 15 .* go on with --batch-size 4, or pass"):
        start(command(toy, batch_size=3), 1, state)


@pytest.mark.parametrize(("key", "value"), [("digest", "0" * 16), ("sentences", 61)])
def test_other_data_is_refused(toy, key, value):
    _, state = read(start(command(toy), 1), stop_after=4)
    state["position"]["bas_layout"][key] = value
    with pytest.raises(SystemExit, match=r"of epoch 1 with .*, or pass --reset-dataloader"):
        start(command(toy), 1, state)


def test_rest_without_a_sentence_that_fits_is_refused(toy):
    workers = start(command(toy), 1)
    updates, state = read(workers, stop_after=14)
    left = sorted(set(range(SENTENCES)) - set(ids(updates)))
    longest = workers[0].task.dataset("train").sizes.max(axis=1)
    fits = min(longest[left]) - 1
    assert fits >= min(longest)  # there are shorter ones, but they were read
    with pytest.raises(
        SystemExit, match=rf"nothing that epoch 1 has left .* {fits}; pass a larger"
    ):
        start(command(toy, "--max-tokens", fits), 1, state)


def test_sampled_subwords_may_come_and_go(toy_pieces):
    """They charge other lengths, so micro-batches hold other sentences."""
    model = ("--bas-subword-model", toy_pieces.text / "spm.model")
    noisy = ("--bas-source-noise", "subword=0.1", *model, "--max-tokens", 60)
    plain, seen, state = ("--max-tokens", 60), [], None
    for flags, stop in ((noisy, 3), (plain, 3), (noisy, None)):
        updates, state = read(start(command(toy_pieces, *flags), 1, state), stop)
        seen += ids(updates)
    assert sorted(seen) == list(range(SENTENCES))
    assert state["position"]["bas_layout"]["growth"][0] > 1


# -- streams ----------------------------------------------------------------------------------

CLEAN = [f"--bas-dropout-{place}" for place in ("embedding", "input", "hidden", "output")]
STREAMS = (
    *(flag for rate in CLEAN for flag in (rate, 0)),
    *("--bas-weight-drop", 0, "--bas-variable-bptt", "--disable-validation"),
    *("--optimizer", "sgd", "--lr", 1, "--bas-replicas", 2, "--bas-target-noise", "mask=0.2"),
)


def train_streams(toy_lm, save_dir, *extra):
    return train_here([*tiny_awd_lstm_lm(toy_lm, save_dir), *STREAMS, *extra])


def test_streams_go_on_with_their_states_in_other_micro_batches(toy_lm, tmp_path):
    """Without dropout, four streams at once are two and two: states must go along with them."""
    whole = train_streams(toy_lm, tmp_path / "whole", "--batch-size", 4, "--max-update", 7)
    log = []
    for rows, updates in ((4, 2), (2, 5), (4, 7)):
        flags = ("--batch-size", rows, "--update-freq", 4 // rows, "--max-update", updates)
        log += train_streams(toy_lm, tmp_path / "parts", *flags)
    assert [entry["wpb"] for entry in log] == [entry["wpb"] for entry in whole]
    assert [x["loss"] for x in log] == pytest.approx([x["loss"] for x in whole], abs=2e-3)
    one, other = (last_checkpoint(tmp_path / name) for name in ("whole", "parts"))
    for name, tensor in one["model"].items():
        assert torch.allclose(tensor, other["model"][name], atol=1e-5), name
    one, other = (run["extra_state"]["train_iterator"]["bas_companions"] for run in (one, other))
    ours, theirs = dict(tensors(one["streams"])), dict(tensors(other["streams"]))
    assert ours.keys() == theirs.keys() and len(ours) > 0
    assert all(torch.allclose(ours[key], theirs[key], atol=1e-5) for key in ours)


def windows(worker, stop_after=None):
    """Return (window, first stream) of the micro-batches of a worker, in order."""
    batches = worker.epoch_iterator.next_epoch_itr(shuffle=False)
    groups = iterators.GroupedIterator(batches, worker.update_freq)
    worker.planner.begin_epoch(1)
    read = itertools.islice(groups, stop_after)
    return [(b["window"], b["first_sentence"], len(b["id"])) for group in read for b in group]


def test_streams_are_dealt_to_other_workers(toy_lm, tmp_path):
    flags = (*tiny_awd_lstm_lm(toy_lm, tmp_path), *STREAMS)
    (alone,) = start([*flags, "--batch-size", 4], 1)
    seen = windows(alone, stop_after=3)
    assert seen == [(0, 0, 4), (1, 0, 4), (2, 0, 4)]
    workers = start([*flags, "--batch-size", 2], 2, alone.state())
    for number, worker in enumerate(workers):
        assert windows(worker)[:2] == [(3, 2 * number, 2), (4, 2 * number, 2)]
    with pytest.raises(SystemExit, match=r"read as 4 streams, and 10 .*; pass --batch-size 2, or"):
        start([*flags, "--batch-size", 5], 2, alone.state())
    with pytest.raises(SystemExit, match=r"pass workers x --update-freq that divides 4 \(it is 3"):
        start([*flags, "--batch-size", 4], 3, alone.state())
    with pytest.raises(SystemExit, match=r"windows of 12 .* and with .* windows of 9 "):
        start([*flags, "--batch-size", 4, "--tokens-per-sample", 9], 1, alone.state())
    with pytest.raises(SystemExit, match=r"with --seed 1, and with --seed 2 that position"):
        start([*flags, "--batch-size", 4, "--seed", 2], 1, alone.state())
