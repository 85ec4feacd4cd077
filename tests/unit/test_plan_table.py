"""The table of a plan: stages by hand, and few rows of many updates without losing a sum."""

import random
from itertools import pairwise

import pytest

from fairseq_bas.tool.plan_table import PlanTable, Row, put_together


def table_of(updates, **limits):
    """Make a table of (batch, replicas, lr) a row; an update has 10 sentences, 100 tokens of 1x."""
    table, seen = PlanTable(**limits), 0
    for number, (batch, replicas, lr) in enumerate(updates, start=1):
        tokens = int(100 * batch)
        seen += tokens
        table.add(
            Row(number, 1, int(10 * batch), tokens, replicas, batch, batch / 2, float(lr), seen)
        )
    return table


def spans(stages):
    return [(stage.first.update, stage.last.update) for stage in stages]


def test_stages_by_hand():
    warmup = [(1, 1, lr) for lr in (0, 1, 2, 3)]
    decay = [(1, 1, lr) for lr in (2, 1.5)]
    grown = [(2, 1, lr) for lr in (2, 2)]
    copies = [(2, 4, lr) for lr in (2, 2 * (1 + 1e-15))]  # a rounding error is no change
    stepped = [(2, 4, 1), (2, 4, 1)]
    table = table_of([*warmup, *decay, *grown, *copies, *stepped])
    assert spans(table.stages) == [(1, 4), (5, 6), (7, 8), (9, 10), (11, 12)]
    grown, copied = table.stages[2:4]
    assert (grown.updates, grown.sentences, grown.target_tokens) == (2, 40, 400)
    assert copied.token_copies == 1600 and copied.replicas == (4, 4)
    totals = table.totals
    assert (totals.updates, totals.sentences, totals.target_tokens) == (12, 180, 1800)
    assert totals.token_copies == 600 + 400 + 4 * 800
    assert (totals.largest_batch, totals.largest_kappa, totals.peak_lr) == (2, 1, 3)


def test_many_updates_leave_few_rows_with_both_ends_of_every_stage():
    updates = [(1 + update // 3000, 1, 1) for update in range(20_000)]
    table = table_of(updates, rows=100)
    kept = [row.update for row in table.rows]
    assert 50 < len(kept) <= 100 and kept == sorted(set(kept))
    assert max(later - sooner for sooner, later in pairwise(kept)) <= 800
    for first, last in spans(table.stages):
        assert {first, last} <= set(kept)


def test_many_stages_are_put_together_without_losing_any():
    generator = random.Random(1)
    updates = [(generator.randint(1, 9), generator.randint(1, 3), 1) for _ in range(5000)]
    table = table_of(updates, rows=64, stages=32)
    assert len(table.stages) <= 33 and len(table.rows) <= 64
    few = put_together(table.stages, 5)
    assert len(few) <= 5
    for stages in (table.stages, few):
        assert spans(stages)[0][0] == 1 and spans(stages)[-1][1] == 5000
        assert sum(stage.updates for stage in stages) == 5000
        assert sum(stage.target_tokens for stage in stages) == sum(100 * b for b, _, _ in updates)
        assert sum(stage.token_copies for stage in stages) == sum(
            100 * b * m for b, m, _ in updates
        )
        for one, other in pairwise(stages):
            assert other.first.update == one.last.update + 1
    assert few[0].batches == (1, 9) and few[0].replicas == (1, 3)


def test_no_update_at_all():
    table = PlanTable()
    assert table.rows == [] and table.stages == [] and put_together([], 3) == []


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_updates_are_all_there(count):
    assert [row.update for row in table_of([(1, 1, 0)] * count).rows] == [1, 2, 3][:count]
