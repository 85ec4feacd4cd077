"""Law 6: importing is cheap and silent, and nothing changes for runs that use no bas_ name."""

import subprocess
import sys

from tests.helpers import ROOT, run_cli


def python(code):
    """Run a program with the repository importable; return what it printed."""
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
        timeout=120,
    )
    return result.stdout, result.stderr


def test_import_alone_loads_nothing_heavy_and_prints_nothing():
    out, err = python(
        "import sys, fairseq_bas, fairseq_bas.config, fairseq_bas.rng\n"
        "heavy = {'torch', 'fairseq', 'scipy', 'sklearn', 'matplotlib', 'sacrebleu', 'numpy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    assert (out, err) == ("", "")


def test_registering_adds_no_heavy_module_and_prints_nothing():
    out, _ = python(
        "import sys, logging, fairseq, fairseq.tasks, fairseq.criterions, fairseq.trainer\n"
        "import fairseq.tasks.translation\n"
        "before = set(sys.modules)\n"
        "print('--')\n"
        "import fairseq_bas\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "assert new == {'fairseq_bas'}, new\n"
    )
    assert out.splitlines()[-1] == "--"


def test_every_registered_name_and_global_effect():
    """Names start with bas_; besides them only the loading of checkpoints changes."""
    python(
        "import torch, fairseq.tasks as t, fairseq.criterions as c, fairseq.optim as o\n"
        "registries = [t.TASK_REGISTRY, c.CRITERION_REGISTRY, o.OPTIMIZER_REGISTRY]\n"
        "before = {name for registry in registries for name in registry}\n"
        "state = torch.get_rng_state()\n"
        "import fairseq_bas\n"
        "new = {name for registry in registries for name in registry} - before\n"
        "assert new == {'bas_translation', 'bas_cross_entropy', 'bas_nt_asgd'}, new\n"
        "assert torch.equal(state, torch.get_rng_state())\n"
        "assert t.TASK_REGISTRY['bas_translation'].__module__.startswith('fairseq_bas')\n"
    )


def test_page_of_flags_is_up_to_date():
    run_cli("scripts.make_flags", "--check", cwd=ROOT)
