"""The flags of a planned run: what fairseq-train would refuse, now or at its first validation."""

import difflib
import logging
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np
from fairseq import utils
from fairseq.data import data_utils

from .check_findings import Finding, Section, note, warning
from .check_restart import restart_findings
from .check_run_rules import rules_about_flags
from .check_space import space_findings
from .plan import checkpoint_to_resume
from .plan_facts import facts_of
from .plan_report import notes_of, rules_of
from .plan_run import Plan, plan
from .plan_setup import PlannedSetup, read_flags
from .plan_warnings import merged, warnings_of


class CheckedRun:
    """Build what a run is made of, part by part, and note what is refused.

    Args:
        flags: data directory and flags of ``fairseq-train``.

    Attributes:
        cfg: fairseq's config; None if the flags are refused.
    """

    def __init__(self, flags: Sequence[str]):
        self.flags = list(flags)
        self.section = Section("run", {"flags": self.flags})
        self.cfg: Any = None
        with self._failures():
            self.cfg = read_flags(self.flags, refuse=_refuse)

    @property
    def data(self) -> str:
        """Return the data argument; empty if there is none."""
        return "" if self.cfg is None else str(getattr(self.cfg.task, "data", None) or "")

    def check(self) -> Section:
        """Return what was found about the run."""
        section, setup, planned = self.section, None, None
        if self.cfg is None:
            return section
        section.add(rules_about_flags(self.cfg, self.flags))
        with self._failures():
            setup = PlannedSetup(self.cfg)
        if setup is None:
            return section
        with self._failures():
            setup.iterator(1)
            self._validations(setup)
        with self._failures():
            planned = plan(setup)
            self._describe(planned)
        with self._failures():
            section.add(space_findings(setup, planned))
            path = checkpoint_to_resume(self.cfg)
            if path is not None:
                section.add(restart_findings(path, setup))
        return section

    def _validations(self, setup: PlannedSetup) -> None:
        """Load the validation sets and batch them, as the run does before its first update."""
        cfg, task = self.cfg, setup.task
        if cfg.dataset.disable_validation:
            return
        data_utils.raise_if_valid_subsets_unintentionally_ignored(cfg)
        combine = cfg.dataset.combine_valid_subsets
        for subset in ["valid"] if combine else cfg.dataset.valid_subset.split(","):
            task.load_dataset(subset, combine=bool(combine), epoch=1)
            with self._failures(_SHORTER):
                task.get_batch_iterator(
                    dataset=task.dataset(subset),
                    max_tokens=cfg.dataset.max_tokens_valid,
                    max_sentences=cfg.dataset.batch_size_valid,
                    max_positions=utils.resolve_max_positions(
                        task.max_positions(), setup.model.max_positions()
                    ),
                    ignore_invalid_inputs=cfg.dataset.skip_invalid_size_inputs_valid_test,
                    required_batch_size_multiple=cfg.dataset.required_batch_size_multiple,
                    seed=cfg.common.seed,
                    num_shards=setup.workers,
                    shard_id=0,
                    epoch=1,
                )

    def _describe(self, planned: Plan) -> None:
        cfg, section = self.cfg, self.section
        numbers = sum(p.numel() for p in planned.setup.model.parameters())
        [*ends] = ((course.table.totals.updates, course.end.epochs) for course in planned.courses)
        section.facts |= {
            "task": cfg.task._name,
            "model": cfg.model._name,
            "parameters": numbers,
            "workers": planned.setup.workers,
            "updates": [updates for updates, _ in ends],
            "epochs": [epochs for _, epochs in ends],
        }
        length = " to ".join(dict.fromkeys(f"{updates:,}" for updates, _ in ends))
        section.lines.append(
            f"{cfg.task._name}, {cfg.model._name} of {numbers:,} parameters, {length} updates on "
            f"{planned.setup.workers} worker{'s' * (planned.setup.workers > 1)}"
        )
        section.lines += [f"{rule}: {text}" for rule, text in rules_of(planned).items()]
        section.add(_left_out(planned))
        courses = {
            str(course.outlook): warnings_of(facts_of(planned, course))
            for course in planned.courses
        }
        section.add(warning(sentence) for sentence in merged(courses))
        section.add(note(sentence) for sentence in notes_of(planned, None))

    @contextmanager
    def _failures(self, advice: str = "") -> Iterator[None]:
        """Turn whatever would stop the run into a problem, and its warnings into warnings."""
        with _collected_warnings(self.section), self.section.refusals():
            try:
                yield
            except (ValueError, OSError):
                raise
            except Exception as error:  # fairseq raises all kinds, and each stops a run
                reason = str(error) or type(error).__name__
                raise ValueError(f"fairseq-train would stop: {reason}{advice}") from error


_SHORTER = (
    "; remove sentences that are too long from the validation set, raise --max-tokens-valid, or "
    "pass --skip-invalid-size-inputs-valid-test"
)


def data_of(run: CheckedRun | None, flags: Sequence[str]) -> str:
    """Return the data argument: of the run if there is one, else the one that was given.

    Args:
        run: the run, None without any flag.
        flags: what was given.
    """
    if run is not None and run.cfg is not None:
        return run.data
    return flags[0] if flags and not flags[0].startswith("-") else ""


def _refuse(parser: ArgumentParser, message: str) -> NoReturn:
    """Raise ValueError with what argparse says, and what may have been meant."""
    unknown = message.removeprefix("unrecognized arguments: ")
    if unknown == message:
        raise ValueError(f"fairseq-train refuses the flags: {message}")
    known = list(parser._option_string_actions)
    sentences = []
    for word in (word for word in unknown.split() if word.startswith("-")):
        name = word.partition("=")[0]
        meant = difflib.get_close_matches(name, known, n=1)
        sentences.append(f"{name} (did you mean {meant[0]}?)" if meant else name)
    raise ValueError(
        f"fairseq-train does not know {', '.join(sentences) or unknown} with this task, model, "
        "loss and optimizer; correct or leave out the flag"
    )


def _left_out(planned: Plan) -> Iterator[Finding]:
    """Say how many training sentences are in no batch, and why."""
    iterator, setup = planned.iterator, planned.setup
    dataset, total = iterator.dataset, len(iterator.dataset)
    used = np.concatenate([np.asarray(batch) for batch in iterator.frozen_batches])
    missing = np.setdiff1d(np.arange(total), used)
    if not len(missing):
        return
    limits = utils.resolve_max_positions(
        setup.task.max_positions(), setup.model.max_positions(), setup.cfg.dataset.max_tokens
    )
    too_long = len(dataset.filter_indices_by_size(missing, limits)[1])
    if too_long:
        yield warning(
            f"{too_long:,} of {total:,} training sentences ({too_long / total:.1%}) are longer "
            f"than model, task and --max-tokens allow, {limits} tokens, and are left out; raise "
            "--max-tokens, --max-source-positions or --max-target-positions, or split them"
        )
    if len(missing) > too_long:
        multiple = setup.cfg.dataset.required_batch_size_multiple
        yield note(
            f"{len(missing) - too_long:,} of {total:,} training sentences are in no batch, as "
            f"--required-batch-size-multiple {multiple} leaves out what remains; pass "
            "--required-batch-size-multiple 1 to train on them too"
        )


@contextmanager
def _collected_warnings(section: Section) -> Iterator[None]:
    """Put what this plugin logs as warnings into the report, and drop what fairseq logs."""
    ours, theirs = logging.getLogger("fairseq_bas"), logging.getLogger("fairseq")
    before = (ours.propagate, theirs.level)
    handler = _Collector(section)
    ours.addHandler(handler)
    ours.propagate = False
    theirs.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        ours.removeHandler(handler)
        ours.propagate = before[0]
        theirs.setLevel(before[1])


class _Collector(logging.Handler):
    """Keep warnings as findings."""

    def __init__(self, section: Section):
        super().__init__(logging.WARNING)
        self.section = section

    def emit(self, record: logging.LogRecord) -> None:
        self.section.add([warning(" ".join(record.getMessage().split()))])
