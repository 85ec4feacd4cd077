"""Readers can type what README and docs/ print: whole blocks run, in a shell, as they stand.

Each page has a folder that holds what it speaks of, of a toy corpus. ``tests/shell.py`` says what
is added to commands to make them small. That those which are not run are at least commands that
their programs take: ``tests/unit/test_documented_flags.py``.
"""

import shutil

import pytest

from tests.documented import PAGES, blocks
from tests.shell import Shell
from tests.toys import make_pieces, make_toy

RUNNABLE = {
    "README.md": 2,
    "docs/guide.md": 5,
    "docs/curvature.md": 1,
    "docs/language_models.md": 2,
    "docs/report.md": 2,
    "docs/running.md": 1,
}
"""Page -> how many of its blocks are run; more may be, but none without being counted here."""

WHOLE = ("README.md", "docs/guide.md")
"""Pages that are run with every change; the others with those tests that take long."""

RUN = """
mkdir -p {out}
fairseq-train data-bin --user-dir fairseq_bas --task bas_translation --bas-replicas {copies} \
    --arch transformer_iwslt_de_en --criterion bas_cross_entropy --optimizer adam \
    --max-tokens 400 --save-dir {out} --log-format json --log-interval 1 > {out}/train.log 2>&1
fairseq-generate data-bin --user-dir fairseq_bas --task bas_translation --beam 1 \
    --path {out}/checkpoint_best.pt --remove-bpe sentencepiece > {out}/test.gen \
    --required-batch-size-multiple 1
"""


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A folder with what the pages about translation take as given: text, data and two runs."""
    folder = tmp_path_factory.mktemp("given")
    pieces = make_pieces(folder / "pieces")
    shell = Shell(folder)
    (folder / "data-bin").symlink_to(pieces.bin)
    shutil.copy(folder / "pieces/raw/test.tgt", folder / "test.de")
    for copies, name in ((1, "base"), (4, "m4")):
        result = shell.run(RUN.format(out=f"checkpoints/{name}", copies=copies))
        assert result.returncode == 0, result.stderr
    shell.close()
    return folder


@pytest.fixture
def shell(tmp_path):
    """A terminal in a clone of the repository."""
    shell = Shell(tmp_path)
    yield shell
    shell.close()


def prepare(page, folder, request):
    """Put into a folder what a page takes as given, under the names that it uses."""
    if page == "docs/guide.md":  # it begins with text that it makes itself
        return
    if page == "docs/language_models.md":
        corpus = make_toy(folder / "corpus", only_source=True)
        for path in corpus.text.glob("*.en"):
            shutil.copy(path, folder / f"{path.stem}.txt")
        return
    given = request.getfixturevalue("given")
    for name in ("data-bin", "test.de"):
        (folder / name).symlink_to(given / name)
    shutil.copytree(given / "checkpoints", folder / "checkpoints")
    base, copies = (folder / "checkpoints" / name for name in ("base", "m4"))
    names = {"base.gen": base / "test.gen", "copies.gen": copies / "test.gen"}
    names |= {f"{name}.pt": base / "checkpoint_last.pt" for name in ("small", "model")}
    names["large.pt"] = copies / "checkpoint_last.pt"
    for name, path in names.items():
        (folder / name).symlink_to(path)


@pytest.mark.parametrize(
    "page",
    [page if page in WHOLE else pytest.param(page, marks=pytest.mark.slow) for page in RUNNABLE],
)
def test_blocks_run_as_they_are_printed(page, shell, request):
    prepare(page, shell.folder, request)
    for block in blocks(page):
        if block.runs:
            result = shell.run(block.text, block.language)
            assert result.returncode == 0, (
                f"{block}: {result.stdout[-2000:]}{result.stderr[-3000:]}"
            )
    assert shell.ran and all(code == 0 for _, code in shell.ran)


def test_as_many_blocks_are_run_as_there_were():
    found = {page: sum(block.runs for block in blocks(page)) for page in PAGES}
    assert {page: count for page, count in found.items() if count} == RUNNABLE


def test_every_block_with_a_command_says_whether_it_is_run():
    for page in PAGES:
        for block in blocks(page):
            assert not block.mark or block.runs or block.mark.startswith("shown: "), block
            assert not block.is_command or block.mark, f"{block}: put <!-- runs --> before it"


def test_the_terminal_keeps_what_is_printed_and_tells_failures(shell):
    """Output, exit codes, redirections and pipes are those of the real commands."""
    result = shell.run("fairseq-bas --version | cat > version; fairseq-bas score --ref a b")
    assert result.returncode == 1
    assert (shell.folder / "version").read_text().startswith("fairseq-bas ")
    assert result.stderr.startswith("fairseq-bas score: a cannot be read")
    failed = shell.run("fairseq-train data-bin --arch lstm --bas-nothing\necho not reached")
    assert failed.returncode == 2 and failed.stdout == ""
    assert "error: unrecognized arguments: --bas-nothing" in failed.stderr
    assert [code for _, code in shell.ran] == [0, 1, 2]
