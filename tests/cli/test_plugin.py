"""Law 6: importing is cheap and silent, and nothing changes for runs that use no bas_ name."""

import subprocess
import sys

from tests.processes import ROOT, run_cli


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


REGISTERED = {
    "task": {"bas_translation", "bas_language_modeling"},
    "criterion": {"bas_cross_entropy"},
    "optimizer": {
        *("bas_nt_asgd", "bas_lamb", "bas_lars", "bas_novograd", "bas_pytorch_optimizer"),
        "bas_decentlam",
    },
    "lr_scheduler": {"bas_scaled", "bas_legw", "bas_adascale", "bas_autowu"},
    "arch": {"bas_awd_lstm_lm", "bas_lstm"}
    | {f"bas_awd_lstm_lm_{n}" for n in ("ptb", "wikitext2", "small")}
    | {f"bas_lstm_{n}" for n in ("iwslt", "gnmt_small", "gnmt")},
}


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
    """Names start with bas_, and torch's generator is left alone."""
    python(
        "import torch, fairseq.tasks as t, fairseq.criterions as c, fairseq.optim as o\n"
        "import fairseq.models as m, fairseq.optim.lr_scheduler as s\n"
        "registries = {'task': t.TASK_REGISTRY, 'criterion': c.CRITERION_REGISTRY,\n"
        "              'optimizer': o.OPTIMIZER_REGISTRY, 'arch': m.ARCH_MODEL_REGISTRY,\n"
        "              'lr_scheduler': s.LR_SCHEDULER_REGISTRY}\n"
        "before = {kind: set(names) for kind, names in registries.items()}\n"
        "state = torch.get_rng_state()\n"
        "import fairseq_bas\n"
        f"expected = {REGISTERED!r}\n"
        "new = {kind: set(names) - before[kind] for kind, names in registries.items()}\n"
        "assert new == expected, new\n"
        "assert torch.equal(state, torch.get_rng_state())\n"
        "assert t.TASK_REGISTRY['bas_translation'].__module__.startswith('fairseq_bas')\n"
    )


def test_page_of_flags_is_up_to_date():
    run_cli("scripts.make_flags", "--check", cwd=ROOT)
