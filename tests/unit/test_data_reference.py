"""The English corpus from the language reference: prose kept, the rest dropped, topics apart."""

import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "data"))
script = importlib.import_module("get_python_reference")

TOPIC = """The "del" statement
*******************

   del_stmt ::= "del" target_list

Deletion of a *name* removes the "binding" of that well-
known name.  It is simple, i.e. It never fails.

   >>> del x
   >>> x

* First point of the list is here.

* Second point has
  two lines.

str.strip([chars])

   Return a copy of the *string* with *chars* removed.

Integers ("int")
   These represent numbers.

+-----------+---------+
| Option    | Meaning |
+-----------+---------+

Changed in version 3.2: Previously it was illegal to do so.

New in version 3.3.

Note: See the other section.
"""


def test_paragraphs_keep_prose_only() -> None:
    assert script.paragraphs(TOPIC) == [
        "Deletion of a name removes the binding of that well-known name. "
        "It is simple, i.e. It never fails.",
        "First point of the list is here.",
        "Second point has two lines.",
        "Return a copy of the string with chars removed.",
        "Previously it was illegal to do so.",
        "See the other section.",
    ]


def test_sentences_are_split_and_tokenised() -> None:
    text = "The value isn't “read-only” (see a.b). Then, e.g. None is 2.5? Yes."
    assert script.sentences(text) == [
        "The value isn't “ read-only ” ( see a . b ) .",
        "Then , e.g. None is 2 . 5 ?",
        "Yes .",
    ]


def test_a_paragraph_stays_in_the_longest_topic_only() -> None:
    common = "This paragraph is in both topics.\n"
    topics = {"a": common, "b": f"{common}\nAnother one is only here.\n", "c": "x = 1\n"}
    assert script.distinct_topics(topics) == {
        "b": ["This paragraph is in both topics .", "Another one is only here ."]
    }


def test_split_keeps_topics_whole_and_held_out_text_small() -> None:
    topics = {f"topic{i}": ["w " * (1 + i)] for i in range(40)}
    splits = script.split(topics, 0.1)
    assert sorted(name for names in splits.values() for name in names) == sorted(topics)
    total = sum(1 + i for i in range(40))
    for name in ("valid", "test"):
        size = sum(int(topic[5:]) + 1 for topic in splits[name])
        assert 0.08 * total < size <= 0.1 * total
