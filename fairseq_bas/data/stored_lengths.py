"""What the lengths of a data set's sentences say, as they are stored."""

from typing import Any

import numpy as np
from fairseq.data import FairseqDataset

from .digest import digest_of
from .sampled_pairs import SampledPairs
from .streams import StreamEpoch


def target_sizes(dataset: Any, indices: np.ndarray) -> np.ndarray:
    """Return the target lengths (n,) of the sentences ``indices`` (n,) as they are stored."""
    sizes = getattr(dataset, "tgt_sizes", None)
    return (dataset.sizes if sizes is None else sizes)[indices]


def data_digest(dataset: FairseqDataset) -> str:
    """Return a digest of the lengths of all sentences, in order; of streams, of all tokens.

    Args:
        dataset: the training set; sampled segmentations do not matter.

    Returns:
        16 hexadecimal digits.
    """
    if isinstance(dataset, StreamEpoch):
        return dataset.text.digest
    stored: Any = dataset.dataset if isinstance(dataset, SampledPairs) else dataset
    source = getattr(stored, "src_sizes", None)
    arrays = [stored.sizes] if source is None else [source, getattr(stored, "tgt_sizes", None)]
    return digest_of(*(np.asarray(array) for array in arrays if array is not None))
