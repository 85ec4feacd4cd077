"""What is measured when systems are scored, and what comes out: settings and results."""

from dataclasses import dataclass

METRICS = ("bleu", "chrf", "ter")
LOWER_IS_BETTER = frozenset({"TER"})
SIGNIFICANCE_LEVEL = 0.05
DEFAULT_TRIALS = {"bootstrap": 1000, "randomization": 10000, "none": 0}


@dataclass(frozen=True)
class ScoreSettings:
    """What is measured and how it is tested.

    Args:
        metrics: some of ``bleu``, ``chrf``, ``ter``, in the order of the report.
        lowercase: ignore case in BLEU and chrF. TER always does, which is sacreBLEU's default.
        tokenize: sacreBLEU's name of the tokenizer of BLEU.
        test: ``bootstrap`` (paired bootstrap resampling, Koehn 2004; for a single system its
            confidence interval), ``randomization`` (approximate randomisation, Riezler and
            Maxwell 2005) or ``none``.
        trials: resamples or shufflings, >= 2; None for sacreBLEU's default, 1000 or 10000.
        seed: seed of the test, >= 1.

    Raises:
        ValueError: if a setting is out of range.

    Example:
        >>> ScoreSettings(test="randomization").num_trials
        10000
    """

    metrics: tuple[str, ...] = METRICS
    lowercase: bool = False
    tokenize: str = "13a"
    test: str = "bootstrap"
    trials: int | None = None
    seed: int = 12345

    def __post_init__(self) -> None:
        unknown = [name for name in self.metrics if name not in METRICS]
        if unknown or not self.metrics or len(set(self.metrics)) < len(self.metrics):
            raise ValueError(
                f"--metrics {','.join(self.metrics)!r} is not a list of distinct metrics; "
                f"choose from {','.join(METRICS)}"
            )
        if self.test not in DEFAULT_TRIALS:
            raise ValueError(f"--test {self.test} is unknown; choose from {list(DEFAULT_TRIALS)}")
        if self.trials is not None and self.trials < 2:
            raise ValueError(f"--trials {self.trials} is too few; pass 2 or more, or --test none")
        # sacreBLEU takes seed 0 for "no seed" in its paired tests.
        if self.seed < 1:
            raise ValueError(f"--seed {self.seed} is not positive; pass 1 or more")

    @property
    def num_trials(self) -> int:
        """Return the number of resamples or shufflings, 0 without a test."""
        default = DEFAULT_TRIALS[self.test]
        return self.trials if default and self.trials is not None else default


@dataclass(frozen=True)
class MetricScore:
    """One metric of one system.

    Args:
        score: corpus score in [0, 100], for TER in [0, inf).
        signature: sacreBLEU's signature, everything that changes the number.
        mean: mean over bootstrap resamples, None without bootstrap.
        ci: half the width of the 95% interval of the resamples, None without bootstrap.
        p_value: of the difference to the first system, two-sided; None for the first system and
            without a test.
    """

    score: float
    signature: str
    mean: float | None = None
    ci: float | None = None
    p_value: float | None = None

    @property
    def significant(self) -> bool:
        """Tell whether the score differs from that of the first system at p < 0.05."""
        return self.p_value is not None and self.p_value < SIGNIFICANCE_LEVEL


@dataclass(frozen=True)
class SystemScore:
    """All metrics of one system.

    Args:
        name: name of the system.
        metrics: sacreBLEU's name of the metric (``BLEU``, ``chrF2``, ``TER``) -> its score.
    """

    name: str
    metrics: dict[str, MetricScore]
