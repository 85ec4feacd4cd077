"""Lines of logs in both formats of fairseq: the same numbers, and nothing from half a line."""

import pytest

from fairseq_bas.tool.log_lines import parse_line, whole_lines
from fairseq_bas.tool.run_log import parse_run_log
from tests.run_logs import inner, valid, whole_run


def test_both_formats_tell_the_same():
    read = [parse_run_log(whole_run(style=style).splitlines(True)) for style in ("json", "simple")]
    assert read[0] == read[1]
    assert read[0].total.tokens == 100 * 50
    assert read[0].total.replicated_tokens == 100 * 200
    assert [point.loss for point in read[0].valid] == [7, 6]


def test_simple_lines_as_fairseq_wrote_them():
    written = (
        "2026-01-01 10:00:00 | INFO | train_inner | epoch 003:   1040 / 2000 loss=7.5, ppl=181.02, "
        "wps=4684.2, num_updates=5040, lr=0.000445, gnorm=None, loss_scale=128, train_wall=23, "
        "gb_free=13.1, wall=612\n"
    )
    record = parse_line(written)
    assert (record.tag, record.epoch, record.updates, record.time) == (
        *("train_inner", 3, 5040),
        1767261600.0,
    )
    assert record.values["loss_scale"] == 128 and "gnorm" not in record.values
    written = (
        "2026-01-01 10:00:00 | INFO | train | epoch 003 | loss 7.1 | ppl 137.2 | wpb 100.5 | "
        "num_updates 6000 | train_wall 300 | wall 900\n"
    )
    record = parse_line(written)
    assert (record.tag, record.updates, record.number("train_wall")) == ("train", 6000, 300)


@pytest.mark.parametrize("style", ["json", "simple"])
def test_no_half_line_tells_a_wrong_number(style):
    for line in (inner(9, 1234, style=style), valid(9, 1234, 5.25, style=style)):
        whole = parse_line(line)
        for length in range(len(line)):
            [half] = [*map(parse_line, whole_lines([line[:length]]))] or [None]
            assert half is None or half == whole, line[:length]
            glued = parse_line(line[:length] + line)
            assert glued == whole, line[:length]


def test_lines_of_a_log_file_have_no_date():
    for style in ("json", "simple"):
        bare = inner(9, 40, style=style).split(" | ", 3)[3]
        assert parse_line(bare).values == parse_line(inner(9, 40, style=style)).values
    bare = valid(9, 40, 5.5).split(" | ", 3)[3]
    record = parse_line(bare)
    assert (record.tag, record.updates, record.number("loss")) == ("valid", 40, 5.5)


@pytest.mark.parametrize(
    "line",
    [
        '| INFO | train_inner | {"epoch": 1, "train_wall": "1", "num_updates": "1e400"}',
        '| INFO | train_inner | {"epoch": 1, "train_wall": "1", "num_updates": "-5"}',
        '| INFO | train_inner | {"epoch": [], "train_wall": "1", "num_updates": "5"}',
        "| INFO | train_inner | " + "[" * 100_000,
        "| INFO | valid | epoch 001 | loss x | num_updates 5",
        "epoch 1",
        "| INFO | train | 5",
    ],
)
def test_what_is_no_line_of_numbers_is_none(line):
    assert parse_line(line) is None
