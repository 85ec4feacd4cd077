"""List the packages that the plugin requires, and judge what pip-audit found about them."""

import argparse
import json
import re
import sys
from importlib import metadata
from pathlib import Path

FAIRSEQ = ("ve-fairseq", "fairseq-fixed", "fairseq")


def required() -> list[str]:
    """Return ``name==version`` of the direct requirements that are installed, and of fairseq.

    Raises:
        PackageNotFoundError: if the plugin is not installed.
    """
    lines = metadata.requires("fairseq-bas") or []
    lines = [line for line in lines if 'extra == "dev"' not in line]
    names = {re.split(r"[^\w.-]", line)[0].lower() for line in lines}
    found = []
    for name in sorted({*names, *FAIRSEQ}):
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # an extra that is not installed
        found.append(f"{name}=={version.partition('+')[0]}")
    return found


def judge(found: dict, ignored: dict[str, str]) -> list[str]:
    """Return a line for each vulnerability that is not ignored.

    Args:
        found: what ``pip-audit --format json`` writes.
        ignored: name of a vulnerability -> why it does not touch us.

    Example:
        >>> entry = {"name": "a", "version": "1", "vulns": [{"id": "X-1", "fix_versions": ["2"]}]}
        >>> judge({"dependencies": [entry]}, {})
        ['a 1: X-1, mended in 2']
        >>> judge({"dependencies": [entry]}, {"X-1": "we do not call it"})
        []
    """
    lines = []
    for package in found["dependencies"]:
        for problem in package.get("vulns", []):
            if not {problem["id"], *problem.get("aliases", [])} & ignored.keys():
                mended = ", ".join(problem["fix_versions"]) or "no version yet"
                lines.append(
                    f"{package['name']} {package['version']}: {problem['id']}, mended in {mended}"
                )
    return lines


def main() -> int:
    """Run one of the two steps; 1 if a vulnerability is not ignored."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--required", action="store_true", help="list what is required")
    parser.add_argument("--found", type=Path, help="what pip-audit wrote")
    parser.add_argument("--ignore", nargs="*", default=[], help="NAME: REASON")
    args = parser.parse_args()
    if args.required:
        print("\n".join(required()))
        return 0
    found = json.loads(args.found.read_text())
    ignored = {name.strip(): why for name, _, why in (text.partition(":") for text in args.ignore)}
    lines = judge(found, ignored)
    skipped = [p["name"] for p in found["dependencies"] if "skip_reason" in p]
    if len(skipped) == len(found["dependencies"]):
        print("dependency audit not run: the service that was reached knows none of the packages")
        return 0
    print(f"{len(found['dependencies']) - len(skipped)} packages audited, {len(lines)} findings")
    if skipped:
        print(f"not known to the service: {', '.join(skipped)}")
    for line in lines:
        print(line)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
