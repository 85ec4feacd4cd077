"""Cases of text that users type: schedules, amounts, policies, topologies, options."""

import math
import random
from collections.abc import Callable, Mapping, Sequence

from fuzz_mutations import pick
from fuzz_outcome import Wrong

from fairseq_bas.batching.amount import BaseBatch, parse_amount, parse_span
from fairseq_bas.batching.policy import SCHEDULES, parse_batch_schedule
from fairseq_bas.config import Clock, parse_schedule
from fairseq_bas.noise.policy import Variation, parse_noise
from fairseq_bas.optim.optimizer_options import parse_betas, parse_options
from fairseq_bas.optim.topology import mixing_matrix
from fairseq_bas.schedule.scaling_rule import parse_scaling_rule
from fairseq_bas.tool.replica_variance_settings import (
    parse_cost,
    parse_noise_settings,
    parse_replicas,
)

CLOCKS = [Clock(), Clock(1, 0.01, 32, 800), Clock(5000, 3.5, 10**6, 2.5 * 10**7)]
BASE = BaseBatch(32.0, 800.0, 1, 1.0)


def replicas(text: str) -> None:
    """Read ``--bas-replicas`` and ask it for M."""
    schedule = parse_schedule(text, "--bas-replicas")
    if any(schedule.at(clock) < 1 for clock in CLOCKS):
        raise Wrong("M is below 1")


def batch_schedule(text: str) -> None:
    """Read ``--bas-batch-schedule`` and let it decide."""
    controller = parse_batch_schedule(text)
    controller.describe()
    controller.bind(BASE)
    controller.bound()
    for clock in CLOCKS:
        for decay in (1.0, 0.5, 1e-6, 0.0):
            multiple = controller.decide(clock, decay).multiple
            if not 0 < multiple < math.inf:
                raise Wrong(f"a batch of {multiple} times the base batch")
    controller.load_state_dict(controller.state_dict())


def noise(text: str, side: str) -> None:
    """Read a noise policy and vary it over copies."""
    policy = parse_noise(text, f"--bas-{side}-noise", side)
    for variation in (Variation(), Variation(True, True, True)):
        list(variation.problems({f"--bas-{side}-noise": policy}, 4))
    if str(parse_noise(str(policy) or "none", "", side)) != str(policy):
        raise Wrong(f"{policy} reads as another policy")


def amounts(text: str) -> None:
    """Read an amount, and a span."""
    try:
        if not 0 < parse_amount(text).multiple(BASE) < math.inf:
            raise Wrong("an amount that is none")
    except ValueError:
        parse_span(text).elapsed(CLOCKS[-1])


def topology(text: str) -> None:
    """Read the name of a topology and a number of workers."""
    name, _, workers = text.partition("@")
    mixing_matrix(name, min(40, len(workers) + 1))


PIECEWISE = ["1x@0,2x@5e,4x@20000u", "4", "256s", "1@0,4@2e", "8kt@0,16kt@100kt"]
NOISES = [
    "drop=0.1,shuffle=3",
    "mask=0.1",
    "cutoff=0.05,replace=0.2",
    "none",
    "jitter=0.1,span-cutoff=0.2",
    "switchout=0.8",
    "subword=0.3",
    "bigram=0.1",
]
RULES = ["sqrt", "linear", "none", "0.5", "sqrt|betas,eps", "linear|clip,betas"]

Case = tuple[Callable[[str], None], Sequence[str]]
TEXT_KINDS: Mapping[str, Case] = {
    "--bas-replicas": (replicas, ["4", "1@0,2@5e,4@20000u", "1@0,2@44s,8@100kt"]),
    "--bas-batch-schedule": (
        batch_schedule,
        [*PIECEWISE, *(form.example for form in SCHEDULES.values())],
    ),
    "amounts": (amounts, ["4x", "256s", "8kt", "0.5", "2000u", "5e", "100000s", "1e3x"]),
    "--bas-source-noise": (lambda text: noise(text, "source"), NOISES),
    "--bas-target-noise": (lambda text: noise(text, "target"), NOISES),
    "--bas-lr-scaling": (
        lambda text: parse_scaling_rule(text.partition("|")[0], text.partition("|")[2]) and None,
        RULES,
    ),
    "--bas-optimizer-options": (
        lambda text: parse_options(text) and None,
        ["weight_decay=0.1,betas=(0.9,0.99)", "eps=1e-8", "name='a',on=True,n=None"],
    ),
    "--adam-betas": (lambda text: parse_betas(text) and None, ["(0.9, 0.98)", "[0.9,0.999]"]),
    "--bas-topology": (topology, ["ring@1234", "grid@123456", "exponential@12", "full@1"]),
    "--noise": (
        lambda text: parse_noise_settings(text.split("|")) and None,
        ["drop = --bas-source-noise drop=0.1", "--dropout 0.3|words = --bas-target-noise mask=.1"],
    ),
    "--replicas": (lambda text: parse_replicas(text) and None, ["1,2,4", "8", "16,32"]),
    "--cost": (lambda text: parse_cost(text) and None, ["2=1.6,4=2.9", "rows", "passes"]),
}


def text_case(kind: str, seed: int) -> Callable[[], None]:
    """Return a case of a kind of ``TEXT_KINDS``."""
    read, examples = TEXT_KINDS[kind]
    text = pick(examples, random.Random(f"{kind} {seed}"))
    return lambda: read(text)
