"""Compare the runs of two_machines.sh: one process, two machines, two machines with a cut."""

import argparse
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fairseq_bas.safe_load import load_checked

LOSS_TOLERANCE, LONGEST = 1e-5, 60.0


def losses(folder: Path) -> dict[int, float]:
    """Return the loss of the update before each checkpoint, not rounded.

    Args:
        folder: of checkpoints ``checkpoint_EPOCH_UPDATE.pt``.

    Returns:
        Update -> loss in bits a token.
    """
    found = {}
    for path in folder.glob("checkpoint_*_*.pt"):
        update = re.fullmatch(r"checkpoint_\d+_(\d+)\.pt", path.name)
        if update:
            metrics = load_checked(str(path))["extra_state"]["metrics"]
            meters = {key: state for _, key, _, state in metrics["train"]}
            found[int(update[1])] = float(meters["loss"]["val"])
    return dict(sorted(found.items()))


def largest_difference(one: Path, other: Path) -> float:
    """Return the largest difference of a parameter at the end of two runs."""
    first, second = (
        load_checked(str(folder / "checkpoint_last.pt"))["model"] for folder in (one, other)
    )
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def main() -> int:
    """Print the report and return 0 if all checks hold, else 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, required=True, help="from the cut to the end")
    args = parser.parse_args()
    one, two = losses(args.out / "one"), losses(args.out / "two")
    shared = sorted(one.keys() & two.keys())
    loss_gap = max((abs(one[update] - two[update]) for update in shared), default=float("inf"))
    print("\nupdate   one process   two machines   difference")
    for update in shared:
        gap = abs(one[update] - two[update])
        print(f"{update:6d}   {one[update]:11.7f}   {two[update]:12.7f}   {gap:.1e}")
    apart = largest_difference(args.out / "one", args.out / "two")
    lost = largest_difference(args.out / "two", args.out / "cut")
    checks = [
        (f"losses agree to {LOSS_TOLERANCE:g}", loss_gap <= LOSS_TOLERANCE, f"{loss_gap:.1e}"),
        (f"the cut ended the job within {LONGEST:g} s", args.seconds < LONGEST, f"{args.seconds}"),
        ("cut and started again, it ends bit-equal", lost == 0.0, f"{lost:.1e}"),
    ]
    print(f"\nlargest difference of a parameter, one process and two machines: {apart:.1e}")
    for name, holds, value in checks:
        print(f"{'yes' if holds else 'NO '}  {name} ({value})")
    return 0 if all(holds for _, holds, _ in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
