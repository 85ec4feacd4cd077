"""The simulator of scripts/bench on cases worked by hand, in limits, and against brute force."""

import dataclasses
import doctest
import importlib
import itertools
import math
import statistics
import sys

import pytest

from fairseq_bas.replicate import Placement
from tests.processes import ROOT

BENCH = str(ROOT / "scripts/bench")
sys.path.insert(0, BENCH)
try:
    from scaling_fit import PassTime, fit_passes, fit_ring
    from scaling_job import Job
    from scaling_model import Cost, Machine, Parts, update_seconds
    from scaling_network import Link, Network, all_reduce_seconds
    from scaling_predict import compare_with_text, jobs, predict
    from scaling_quality import break_even, effective_batch, updates_needed
    from scaling_report import verdict
    from scaling_stragglers import finish, order_means
finally:
    sys.path.remove(BENCH)

FREE = Link(0.0, math.inf)
PARTS = Parts(
    collate=Cost(0.1, 0.01),
    transfer=Cost(0.2, 0.02),
    micro_batch=0.3,
    pass_fixed=1.0,
    token=0.1,
    optimizer=0.5,
    update=0.25,
    flatten=0.125,
    messages=2,
    gradient_bytes=800.0,
)


def machine(positions=(10.0,), parts=PARTS, link=FREE, per_machine=1, **others):
    return Machine(parts, Network(link, link, per_machine), positions, **others)


def seconds(job, *args, **kwargs):
    return update_seconds(machine(*args, **kwargs), job).total


MODULES = ["fit", "job", "model", "network", "predict", "quality", "report", "stragglers"]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, monkeypatch):
    monkeypatch.syspath_prepend(BENCH)
    results = doctest.testmod(importlib.import_module(f"scaling_{name}"))
    assert results.attempted > 0 and results.failed == 0


# -- an update, by hand ---------------------------------------------------------------------------


def test_one_worker_one_copy():
    update = update_seconds(machine(), Job())
    assert update.collate == pytest.approx(0.1 + 0.1)
    assert update.work == pytest.approx(0.2 + 0.2 + 0.3 + 1.0 + 1.0)
    assert (update.waiting, update.messages, update.all_reduce) == (0.0, 0.0, 0.0)
    assert update.total == pytest.approx(0.2 + 2.7 + 0.5 + 0.25)


def test_two_workers_wait_for_the_larger_batch_and_exchange_gradients():
    link = Link(0.01, 1000.0)
    update = update_seconds(machine((10.0, 20.0), link=link), Job(2))
    # Of four equally likely pairs of batches three have a 20; a position costs 0.01 + 0.02 + 0.1.
    assert update.collate + update.work == pytest.approx(0.2 + 2.7 + 5 * 0.13)
    assert update.waiting == pytest.approx(2.5 * 0.13)
    assert update.messages == pytest.approx(2 * 2 * 0.01)
    assert update.all_reduce == pytest.approx(0.125 + 2 * (0.01 + 400 / 1000))


@pytest.mark.parametrize("copies", [2, 4, 32])
def test_passes_repeat_what_rows_pay_once(copies):
    rows, passes, one = [
        seconds(job, (10.0, 30.0)) for job in (Job(1, copies), Job(1, copies, "passes"), Job(1, 1))
    ]
    saved = (copies - 1) * PARTS.pass_fixed
    assert passes - rows == pytest.approx(saved)
    once = one - PARTS.pass_fixed - PARTS.token * 20
    assert rows == pytest.approx(copies * (one - once) - saved + once)


def test_distinct_sentences_also_pay_for_loading():
    more = seconds(Job(1, 4, "distinct")) - seconds(Job(1, 4, "rows"))
    assert more == pytest.approx(3 * 10 * (0.01 + 0.02))


def test_copies_on_workers_take_the_time_of_one_copy():
    assert seconds(Job(8, 8, "workers")) == pytest.approx(seconds(Job(8, 1)))
    assert seconds(Job(4, 8, "workers")) == pytest.approx(seconds(Job(4, 2, "rows")))


def test_a_job_spreads_its_copies_as_the_task_does():
    for job in jobs([1, 2, 4, 6, 8], [1, 2, 4, 8]):
        if job.placement != "distinct":
            placement = Placement(job.replicas, job.sharing, job.rows)
            assert placement.passes == job.passes
            assert job.distinct == job.workers / placement.workers


# -- limits and order -----------------------------------------------------------------------------


def test_alike_workers_on_machines_of_their_own_and_a_free_network_scale_without_loss():
    parts = dataclasses.replace(PARTS, flatten=0.0, contention=1.5)
    for job in (Job(1, 4), Job(1, 4, "passes")):
        alone = seconds(job, parts=parts)
        for workers in (2, 64, 1024):
            many = dataclasses.replace(job, workers=workers)
            assert seconds(many, parts=parts, cores=1.0) == pytest.approx(alone)


def test_one_copy_is_the_same_job_wherever_it_is_placed():
    assert (
        seconds(Job(4, 1, "passes")) == seconds(Job(4, 1, "rows")) == seconds(Job(4, 1, "distinct"))
    )


def test_waiting_grows_with_workers_and_shrinks_where_they_share_batches():
    positions = [1.0, 2.0, 5.0, 10.0]
    waits = [update_seconds(machine(positions), Job(w)).waiting for w in (1, 2, 4, 8, 512)]
    assert waits == sorted(waits) and waits[0] == 0 < waits[1]
    mean = statistics.mean(positions)
    assert waits[-1] == pytest.approx((10 - mean) * 0.13)  # someone has the largest batch
    shared = update_seconds(machine(positions), Job(8, 4, "workers")).waiting
    assert shared == pytest.approx(waits[1])  # two groups


def test_processes_that_outnumber_cores_take_turns():
    parts = dataclasses.replace(PARTS, contention=1.25)
    one = seconds(Job(1), per_machine=4, cores=2.0, parts=parts)
    four = seconds(Job(4), per_machine=4, cores=2.0, parts=parts)
    assert four == pytest.approx(1.25 * 2 * (one + PARTS.flatten))
    with pytest.raises(ValueError, match="no more workers a machine than cores"):
        seconds(Job(8), per_machine=4, cores=2.0)


def test_overlap_hides_traffic_up_to_its_share_of_the_last_pass():
    link = Link(0.0, 800.0)  # 2 workers: 800 bytes take one second; a pass takes two
    exposed = [
        update_seconds(machine(link=link, overlap=share), Job(2)).all_reduce - PARTS.flatten
        for share in (0.0, 0.25, 1.0)
    ]
    assert exposed == pytest.approx([1.0, 0.5, 0.0])


def test_a_loader_in_the_background_costs_only_what_sticks_out():
    slow = dataclasses.replace(PARTS, collate=Cost(5.0))
    hidden, late = [
        update_seconds(machine(parts=parts, background_loader=True), Job())
        for parts in (PARTS, slow)
    ]
    assert hidden.collate == 0.0
    assert late.collate == pytest.approx(5.0 - late.work)


def test_workers_needs_a_common_divisor():
    assert not Job(3, 4, "workers").fits()
    with pytest.raises(ValueError, match="4 copies cannot be spread over 3 workers"):
        seconds(Job(3, 4, "workers"))


# -- waiting and sharing, against brute force -----------------------------------------------------


def test_order_means_are_those_of_all_draws():
    values = [3.0, 1.0, 7.0, 7.5]
    draws = [sorted(draw) for draw in itertools.product(values, repeat=3)]
    expected = [statistics.mean(column) for column in zip(*draws, strict=True)]
    assert order_means(values, 3) == pytest.approx(expected)


def test_finish_is_what_a_scheduler_in_small_steps_gives():
    work, cores, step = [0.3, 0.5, 0.5, 2.0], 2.0, 1e-4
    left, time = list(work), 0.0
    while left:
        speed = min(1.0, cores / len(left))
        left = [one - speed * step for one in left if one > speed * step]
        time += step
    assert finish(work, cores=cores) == pytest.approx(time, abs=1e-3)


# -- network --------------------------------------------------------------------------------------


def test_all_reduce_limits():
    network = Network(Link(1e-3, 1e9), Link(1e-3, 1e9))
    assert all_reduce_seconds(1e9, 1, network) == 0.0
    assert all_reduce_seconds(0.0, 5, network) == pytest.approx(8 * 1e-3)
    no_latency = Network(Link(0.0, 1e9), Link(0.0, 1e9))
    assert all_reduce_seconds(1e9, 10**6, no_latency) == pytest.approx(2.0, rel=1e-5)
    tree = dataclasses.replace(network, logarithmic=True)
    assert all_reduce_seconds(0.0, 1024, tree) == pytest.approx(20 * 1e-3)


def test_hierarchy_moves_less_over_the_slow_links():
    links = {"inner": Link(0.0, 8e9), "outer": Link(1e-3, 1e9), "per_machine": 8}
    flat, steps = Network(**links), Network(**links, hierarchical=True)
    size, workers = 1e8, 64
    assert all_reduce_seconds(size, workers, flat) == pytest.approx(2 * 63 * (1e-3 + size / 64e9))
    inside, between = 2 * 7 * size / 64e9, 2 * 7 * (1e-3 + size / 8e9)
    assert all_reduce_seconds(size, workers, steps) == pytest.approx(inside + between)
    assert all_reduce_seconds(size, 8, flat) == all_reduce_seconds(size, 8, steps)
    with pytest.raises(ValueError, match="12 workers do not fill machines of 8"):
        all_reduce_seconds(size, 12, flat)


# -- quality --------------------------------------------------------------------------------------


def test_break_even_agrees_with_the_law_it_solves():
    cases = [(1.0, 50.0, 1.1, 100.0), (2.0, 400.0, 1.0, 100.0), (1.0, 9.0, 1.0, 10.0)]
    for time, batch, other_time, other_batch in cases:
        low, high = break_even(time, batch, other_time, other_batch)
        for critical in [0.0, *(10 ** (n / 4) for n in range(-8, 25))]:
            ours = time * updates_needed(batch, critical)
            wins = ours < other_time * updates_needed(other_batch, critical)
            assert wins == (low <= critical < high)


def test_effective_batch_has_the_variance_of_theory():
    between, within, batch, copies = 3.0, 5.0, 40.0, 4
    variance = between / batch + within / (batch * copies)
    rho = between / (between + within)
    effective = effective_batch(batch, copies, rho)
    assert (between + within) / effective == pytest.approx(variance)
    with pytest.raises(ValueError, match=r"correlation of 1\.2 cannot be"):
        effective_batch(batch, copies, 1.2)


def test_copies_on_workers_win_by_waiting_less_and_only_if_noise_hardly_matters():
    here = machine([8.0, 12.0])
    rows = [predict(here, job, 100.0, 0.36, [50.0]) for job in jobs([1, 2, 8], [1, 4, 8])]
    found = {(r["placement"], r["workers"], r["replicas"]): r for r in compare_with_text(rows)}
    assert found["workers", 8, 4]["time"] < 1
    low, high = found["workers", 8, 4]["wins"]
    assert low == 0 and 0 < high < math.inf
    assert found["passes", 8, 4]["wins"] == (0.0, 0.0)
    # Eight copies on two workers are four rows each: as many rows of distinct sentences, then.
    distinct = predict(here, Job(2, 4, "distinct"), 100.0, 0.36, [50.0])
    assert found["workers", 2, 8]["other_batch"] == distinct["effective"]


# -- fits and report ------------------------------------------------------------------------------


def test_fits_find_planted_costs_and_never_negative_ones():
    times = [
        PassTime(passes, rows, x, 0.01 + passes * (0.02 + 1e-4 * rows * x))
        for passes, rows, x in itertools.product((1, 4), (1, 8), (50, 200))
    ]
    assert fit_passes(times) == pytest.approx((0.01, 0.02, 1e-4))
    falling = [PassTime(1, 1, x, 0.1 - 1e-4 * x) for x in (10, 100, 500)]
    assert min(fit_passes(falling)) >= 0
    sizes = [10**3, 10**5, 10**7]
    link = Link(2e-5, 3e9)
    planted = [all_reduce_seconds(n, 4, Network(link, link)) for n in sizes]
    assert fit_ring(sizes, planted, 4) == pytest.approx((2e-5, 3e9))


def test_verdict_refuses_what_is_off():
    row = {"workers": 2, "replicas": 4, "placement": "rows", "error": 0.14}
    row |= {"predicted_ratio": 2.0, "measured_ratio": 2.5}
    assert "validated for 2 processes" in verdict([row])
    text = verdict([row, {**row, "placement": "passes", "error": -0.16}])
    assert "times: 1 of 2 within" in text and "copies: 0 of 2 within" in text
    assert text.endswith("NOT validated for 2 x passes M = 4")
    fitted = {**row, "error": 0.0, "fitted": True}
    assert "times: 0 of 1 within" in verdict([fitted, {**row, "error": 0.2}])
