"""The sentence pairs of a split that a loss is measured on, read without the noise of training."""

from typing import Any

import numpy as np
from fairseq import utils

from ..data.fixed_text import SurfaceText, choose, text_of_pairs
from ..data.integrity import verify_split


def sentence_pairs(
    task: Any, split: str, count: int, seed: int, max_tokens: int, max_positions: Any
) -> SurfaceText:
    """Choose sentence pairs of a split, without any noise of training.

    Args:
        task: a translation task of fairseq, with the data directory set.
        split: name of the split; of ``train``, with ``train1`` and so on, as training does.
        count: sentences to choose, without replacement; all if there are fewer.
        seed: of the choice.
        max_tokens: bound on B times the longest side of a micro-batch, if B > 1.
        max_positions: of the model; longer sentences are left out before the choice.

    Raises:
        ValueError: if the split is missing, damaged, empty or too long for the model.
    """
    directory, combine = utils.split_paths(task.cfg.data)[0], split == "train"
    verify_split(directory, split, task.cfg.source_lang, task.cfg.target_lang, combine=combine)
    # fairseq_bas samples segmentations, and fairseq reads shards, of the training split only.
    task.cfg.train_subset = ""
    task.load_dataset(split, combine=combine)
    dataset = task.dataset(split)
    allowed, _ = dataset.filter_indices_by_size(
        np.arange(len(dataset)), utils.resolve_max_positions(task.max_positions(), max_positions)
    )
    if len(allowed) == 0:
        raise ValueError(
            f"every sentence of {split} in {directory} is longer than the model allows; name "
            "another split with --split"
        )
    chosen = choose(len(allowed), count, seed)
    return text_of_pairs(dataset, np.asarray(allowed)[chosen], max_tokens)
