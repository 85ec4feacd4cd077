"""``scripts/package_contents.py``: what a distribution lacks or holds too much is named."""

import sys
import tarfile
import zipfile

import pytest

from tests.processes import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
import package_contents

FILES = ["fairseq_bas/__init__.py", "fairseq_bas/tool/a.py", "tests/t.py", "docs/p.png"]
METADATA = "fairseq_bas-0.1.0.dist-info/entry_points.txt"


@pytest.fixture
def root(tmp_path):
    """A small repository."""
    for name in [*FILES, "fairseq_bas/__pycache__/a.pyc", *package_contents.FILES]:
        path = tmp_path / "repository" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "repository"


def wheel_of(path, names):
    with zipfile.ZipFile(path, "w") as wheel:
        for name in names:
            wheel.writestr(name, name)
    return path


def archive_of(path, root, names):
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            archive.add(root / name, f"fairseq_bas-0.1.0/{name}")
    return path


def test_whole_distributions_have_no_problem(root, tmp_path):
    wheel = wheel_of(tmp_path / "a.whl", [*FILES[:2], METADATA])
    archive = archive_of(tmp_path / "a.tar.gz", root, [*FILES, *package_contents.FILES])
    assert list(package_contents.problems(root, wheel)) == []
    assert list(package_contents.problems(root, archive)) == []


def test_what_is_missing_or_too_much_is_named(root, tmp_path):
    wheel = wheel_of(tmp_path / "a.whl", [FILES[0], "tests/t.py"])
    assert list(package_contents.problems(root, wheel)) == [
        "a.whl lacks 1 files, such as fairseq_bas/tool/a.py",
        "a.whl holds 1 other files, such as tests/t.py",
        "a.whl installs no command",
    ]
    archive = archive_of(tmp_path / "a.tar.gz", root, FILES)
    (problem,) = package_contents.problems(root, archive)
    assert problem.startswith(f"a.tar.gz lacks {len(package_contents.FILES)} files")
