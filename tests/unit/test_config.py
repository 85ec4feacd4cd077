"""Schedules: what they read at every clock, and what they refuse."""

import pytest

from fairseq_bas.config import Clock, parse_schedule


@pytest.mark.parametrize(
    ("text", "clock", "value"),
    [
        ("4", Clock(), 4),
        ("4", Clock(updates=10**6, epochs=99), 4),
        ("1@0,2@5e,4@20000u", Clock(updates=19999, epochs=4), 1),
        ("1@0,2@5e,4@20000u", Clock(updates=19999, epochs=5), 2),
        ("1@0,2@5e,4@20000u", Clock(updates=20000, epochs=5), 4),
        # The last step written wins, whatever the units of those before it.
        ("1@0,2@5e,4@20000u", Clock(updates=20000, epochs=0), 4),
        ("8@0,1@3s", Clock(sentences=2), 8),
        ("8@0,1@3s", Clock(sentences=3), 1),
        ("8@0u,1@3kt", Clock(target_tokens=2999), 8),
        ("8@0u,1@3kt", Clock(target_tokens=3000), 1),
    ],
)
def test_value_at_clock(text, clock, value):
    assert parse_schedule(text, flag="--x").at(clock) == value


@pytest.mark.parametrize("text", ["4", "1@0,2@5e,4@20000u", "3@0,1@7kt"])
def test_text_round_trip(text):
    assert str(parse_schedule(text, flag="--x")) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0", "not a whole number of at least 1"),
        ("two", "not a whole number of at least 1"),
        ("-1", "not a whole number of at least 1"),
        ("1.5", "not a whole number of at least 1"),
        ("", "not a whole number of at least 1"),
        ("1@0,0@5u", "not a whole number of at least 1"),
        ("4@10u", "start it at 0"),
        ("1@0,2@5", "has no unit of this flag"),
        ("1@0,2@5x", "not a whole number; write a number and a unit"),
        ("1@0,2@5ee", "has no unit of this flag"),
        ("1@0,2@e", "not a whole number; write a number and a unit"),
        ("1@0,2@5u,4@5u", "does not start after"),
        ("1@0,2@5u,4@3u", "does not start after"),
        ("1@0,2@0u", "does not start after"),
        ("1@0,,2@3u", "not a whole number of at least 1"),
        ("1@0,2@5s", "has no unit of this flag; use one of u (updates), e (epochs)"),
    ],
)
def test_refusal_is_one_sentence_with_flag_and_example(text, reason):
    with pytest.raises(ValueError) as refusal:
        parse_schedule(text, flag="--bas-replicas", units=("u", "e"))
    message = str(refusal.value)
    assert message.startswith(f"--bas-replicas {text}: ")
    assert reason in message
    assert message.endswith("as in 1@0,4@2e")
    assert "\n" not in message
