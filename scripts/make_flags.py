"""Write docs/flags.md from the dataclasses of everything the plugin registers with fairseq."""

import argparse
import dataclasses
import importlib
from pathlib import Path

# fairseq first: the plugin registers itself with a fairseq that is loaded.
import fairseq.criterions
import fairseq.models
import fairseq.optim
import fairseq.optim.lr_scheduler
import fairseq.tasks

importlib.import_module("fairseq_bas").register()

PAGE = Path(__file__).resolve().parent.parent / "docs" / "flags.md"
KINDS = {
    "--task": fairseq.tasks.TASK_DATACLASS_REGISTRY,
    "--criterion": fairseq.criterions.CRITERION_DATACLASS_REGISTRY,
    "--arch": fairseq.models.MODEL_DATACLASS_REGISTRY,
    "--optimizer": fairseq.optim.OPTIMIZER_DATACLASS_REGISTRY,
    "--lr-scheduler": fairseq.optim.lr_scheduler.LR_SCHEDULER_DATACLASS_REGISTRY,
}
HEAD = """# Flags

Made by `python scripts/make_flags.py` from the code; a test keeps it so. Flags without the prefix
`--bas-` are fairseq's and keep their meaning.
"""


def default_of(field: dataclasses.Field) -> str:
    """Return the default as a table cell."""
    return "" if field.default is None else f"`{field.default}`"


def page() -> str:
    """Return the page: a table for each registered name that starts with ``bas_``."""
    parts = [HEAD]
    for option, registry in KINDS.items():
        for name, config in sorted(registry.items()):
            if not name.startswith("bas_"):
                continue
            parts.append(f"\n## `{option} {name}`\n\n| flag | default | meaning |\n|---|---|---|\n")
            for field in dataclasses.fields(config):
                if field.name.startswith("bas_"):
                    flag = field.name.replace("_", "-")
                    text = field.metadata["help"].replace("|", "\\|")
                    parts.append(f"| `--{flag}` | {default_of(field)} | {text} |\n")
    return "".join(parts)


def main() -> None:
    """Write the page, or with ``--check`` say whether it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 if the page differs")
    args = parser.parse_args()
    if args.check:
        if PAGE.read_text(encoding="utf-8") != page():
            raise SystemExit("docs/flags.md is not up to date; run python scripts/make_flags.py")
        return
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
