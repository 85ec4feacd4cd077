"""Reading of logs and texts against files written by hand."""

import pytest

from fairseq_bas.tool.hypotheses import (
    is_generate_log,
    parse_generate_log,
    read_hypotheses,
    read_lines,
    read_reference,
)

LOG = """\
2026-01-01 10:00:00 | INFO | fairseq_cli.generate | loading model(s) from checkpoint_best.pt
S-2\tquelle zwei
T-2\ttarget two
H-2\t-0.30000001192092896\tHyp two @-@ best .
D-2\t-0.30000001192092896\tHyp two-best.
P-2\t-0.1000 -0.5000
H-2\t-1.5e-05\tHyp two second .
D-2\t-1.5e-05\tHyp two second.
P-2\t-0.1000 -0.5000
S-0\tquelle null
H-0\t-inf\t
D-0\t-inf\t
P-0\t-0.2
S-1\tquelle eins
H-1\t-0.5\tHyp\tone .
D-1\t-0.5\tHyp\tone.
2026-01-01 10:00:01 | INFO | fairseq_cli.generate | Translated 3 sentences (9 tokens)
Generate test with beam=5: BLEU4 = 27.32, 60.0/30.0/20.0/10.0 (BP=1.000)
"""


def test_log_gives_the_best_detokenised_hypotheses_in_order(tmp_path):
    path = tmp_path / "generate.log"
    path.write_text(LOG, encoding="utf-8")
    read = read_hypotheses(str(path))
    assert read.sentences == ["", "Hyp\tone.", "Hyp two-best."]
    assert read.source == "D-"
    only_h = [line for line in LOG.split("\n") if not line.startswith("D-")]
    assert parse_generate_log(only_h) == ("H-", ["", "Hyp\tone .", "Hyp two @-@ best ."])
    only_h_lines = [line for line in LOG.split("\n") if line.startswith("H-")]
    assert parse_generate_log(only_h_lines)[1] == ["", "Hyp\tone .", "Hyp two @-@ best ."]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["H-0\t-1\ta", "H-3\t-1\tb"], r"2 of the 4 sentences .* \(the first is 1\)"),
        (["H-1\t-1\ta"], r"1 of the 2 sentences .* \(the first is 0\)"),
        (["H-0\t-1\ta", "H-1\t-1\tb", "H-0\t-1\ta"], "sentence 0 comes twice"),
        (["S-0\tx", "H-0\t-1\ta", "S-0\tx", "H-0\t-1\ta"], "sentence 0 comes twice"),
        (["S-0\tx", "T-0\ty"], "no H- or D- line"),
        (["H-0\t-1\ta", "H-1\t-1\tb", "D-0\t-1\ta"], None),
        (["D-1\t-1\ta", "H-0\t-1\ta", "H-1\t-1\tb"], "1 of the 2 sentences"),
    ],
)
def test_broken_logs_are_refused(lines, message):
    assert is_generate_log(lines)
    if message is None:  # a log cut off behind its last complete sentence is short, not wrong
        assert parse_generate_log(lines) == ("D-", ["a"])
        return
    with pytest.raises(ValueError, match=message):
        parse_generate_log(lines)


def test_lines_are_read_as_sacrebleu_reads_them(tmp_path):
    path = tmp_path / "text"
    path.write_bytes("\ufeffone\u2028still one \r\n\ntwo\x0bstill two".encode())
    assert read_lines(str(path)) == ["one\u2028still one", "", "two\x0bstill two"]


def test_unreadable_files_are_refused(tmp_path):
    path = tmp_path / "latin1"
    path.write_bytes("\ufeffgut\nschön\n".encode() + "schön\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"line 3 of .*latin1 is not UTF-8; convert"):
        read_hypotheses(str(path))
    with pytest.raises(ValueError, match=r"absent cannot be read \(No such file"):
        read_reference(str(tmp_path / "absent"))
    log = tmp_path / "log"
    log.write_text(LOG, encoding="utf-8")
    with pytest.raises(ValueError, match="is a fairseq-generate log, whose T- lines"):
        read_reference(str(log))
