"""Tell which parts of a language model's update take the time, by torch's profiler."""

from collections import defaultdict
from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile

PARTS = {
    "recurrence, torch's kernel": ("mkldnn_rnn_layer", "_cudnn_rnn", "lstm"),
    "masks": ("random_", "bernoulli", "dropout", "uniform_", "rand"),
    "matrix products": ("linear_pointwise", "aten::mm", "aten::addmm", "aten::bmm", "aten::linear"),
    "softmax and loss": ("softmax", "exp", "amax", "nll_loss", "aten::log", "scatter", "gather"),
    "clipping and optimizer": ("_foreach", "linalg_vector_norm", "Optimizer.step"),
    "embedding": ("embedding", "index"),
    "sums, copies and other element-wise work": ("",),
}
"""Parts of an update, and what is in the names of their operations; the first that fits counts."""


def shares(run: Callable[[], object], updates: int = 2) -> dict[str, float]:
    """Return the share of each part in the time spent in operations themselves.

    Args:
        run: makes one update; called once before that counts.
        updates: how many are profiled.
    """
    run()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(updates):
            run()
    spent: dict[str, float] = defaultdict(float)
    for event in profiler.key_averages():
        part = next(p for p, names in PARTS.items() if any(name in event.key for name in names))
        spent[part] += event.self_cpu_time_total
    total = sum(spent.values())
    return {part: spent[part] / total for part in PARTS}


def print_shares(name: str, found: dict[str, float]) -> None:
    """Print the shares of one model."""
    print(f"{name}:")
    for part, share in found.items():
        print(f"  {100 * share:5.1f} %  {part}")
