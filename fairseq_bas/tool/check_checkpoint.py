"""A checkpoint: is it whole and safe to load, what does it hold, and does it fit the data?"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..safe_load import load_checked
from .check_findings import Finding, Section, note, problem

_EMBEDDINGS = {
    "encoder.embed_tokens.weight": 0,
    "decoder.embed_tokens.weight": -1,
    "decoder.output_projection.weight": -1,
}
"""Name of a weight with one row for each entry of a dictionary -> which side's that is."""


def check_checkpoint(path: str, vocabularies: Sequence[Mapping[str, int]] = ()) -> Section:
    """Check a file and say what it holds; its weights are read piece by piece.

    Args:
        path: the file.
        vocabularies: of each corpus at hand, language -> entries of its dictionary, source first.
    """
    section = Section(f"checkpoint {path}")
    with section.refusals():
        state = load_checked(path)
        section.facts |= _facts(state, path)
        section.lines += _lines(section.facts)
        section.add(_not_finite(state["model"]))
        section.add(_other_dictionaries(state["model"], vocabularies))
        if not state.get("last_optimizer_state"):
            section.add(
                [
                    note(
                        "it has no state of the optimizer, so training cannot go on from it, but "
                        "--finetune-from-model can begin with it"
                    )
                ]
            )
    return section


def _facts(state: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return what is known of a checkpoint, plain values; None for what it does not say."""
    cfg, args = state.get("cfg"), state.get("args")
    history = state.get("optimizer_history")
    last = history[-1] if isinstance(history, list) and history else {}
    extra = state.get("extra_state")
    iterator = extra.get("train_iterator") if isinstance(extra, Mapping) else None
    sizes = {
        name: list(weight.shape)
        for name in _EMBEDDINGS
        if isinstance(weight := state["model"].get(name), Tensor)
    }
    return {
        "path": path,
        "model": _name(cfg, args, "model", "arch"),
        "task": _name(cfg, args, "task", "task"),
        "updates": last.get("num_updates") if isinstance(last, Mapping) else None,
        "epoch": iterator.get("epoch") if isinstance(iterator, Mapping) else None,
        "optimizer": last.get("optimizer_name") if isinstance(last, Mapping) else None,
        "numbers": sum(w.numel() for w in state["model"].values() if isinstance(w, Tensor)),
        "embeddings": sizes,
    }


def _name(cfg: Any, args: Any, part: str, attribute: str) -> str | None:
    try:
        section = cfg[part]
        get = section.get if hasattr(section, "get") else vars(section).get
        return str(get("_name") or get(attribute))
    except (KeyError, TypeError, AttributeError):
        name = getattr(args, attribute, None)
        return None if name is None else str(name)


def _lines(facts: Mapping[str, Any]) -> list[str]:
    words = [f"{facts['task'] or 'unknown task'}, {facts['model'] or 'unknown model'}"]
    words.append(f"{facts['numbers']:,} numbers in its weights and buffers")
    if facts["updates"] is not None:
        words.append(f"{facts['updates']:,} updates")
    if facts["epoch"] is not None:
        words.append(f"epoch {facts['epoch']}")
    if facts["optimizer"]:
        words.append(f"optimizer {facts['optimizer']}")
    sizes = (f"{name} {' x '.join(map(str, size))}" for name, size in facts["embeddings"].items())
    return [", ".join(words), *sizes]


def _not_finite(weights: Mapping[str, Any]) -> Iterator[Finding]:
    broken = [
        name
        for name, weight in weights.items()
        if isinstance(weight, Tensor)
        and weight.is_floating_point()
        and not bool(torch.isfinite(weight).all())
    ]
    if broken:
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        yield problem(
            f"{broken[0]}{more} hold numbers that are not finite, so its run had diverged; go back "
            "to an earlier checkpoint, and lower --lr or --clip-norm"
        )


def _other_dictionaries(
    weights: Mapping[str, Any], corpora: Sequence[Mapping[str, int]]
) -> Iterator[Finding]:
    """Compare rows of embeddings with the dictionaries, if there is one corpus to compare with."""
    if len(corpora) != 1 or not corpora[0]:
        return
    languages, sizes = list(corpora[0]), list(corpora[0].values())
    is_text = not any(name.startswith("encoder.") for name in weights)
    if is_text != (languages == [""]):
        kind = ("a translation", "a language") if not is_text else ("a language", "a translation")
        yield problem(
            f"it holds {kind[0]} model and the data are for {kind[1]} model; pass the data it was "
            "trained on"
        )
        return
    for name, side in _EMBEDDINGS.items():
        weight = weights.get(name)
        if isinstance(weight, Tensor) and weight.dim() and weight.size(0) != sizes[side]:
            dictionary = f"dict.{languages[side]}.txt" if languages[side] else "dict.txt"
            yield problem(
                f"{name} has {weight.size(0):,} rows and {dictionary} {sizes[side]:,} entries with "
                "special symbols; pass the data it was trained on"
            )
