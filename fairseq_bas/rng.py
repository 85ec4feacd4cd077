"""Seeds for every random draw of the plugin, derived from a key and from nothing else.

A key is the run's seed, the name of a stream and the counters of that stream. Equal keys give equal
draws on any worker, in any data-loader process and after any restart; different keys give
independent ones.

Streams and their counters:

============= ============================================ =======================================
stream        counters                                     draws
============= ============================================ =======================================
dropout       update, first sentence id of the             everything the model draws in one pass
              micro-batch, first replica of the pass
source_noise  update                                       noise of the source; ``noise.keyed``
                                                           adds sentence id, replica and position
target_noise  update                                       the same for the decoder input
subword       epoch, side (0 source, 1 target)             segmentations; ``noise.subword`` adds
                                                           sentence id and replica
layerdrop     update, number of the stack of layers        the layers left out, where all passes of
                                                           an update leave out the same
forward_masks update                                       weight and word-type masks of language
                                                           models, where all passes share them
bptt          epoch                                        lengths of the windows of streams
rotation      epoch                                        where each stream begins
rest          epoch, number of times the setup changed     order of the micro-batches that an epoch
              in it                                        has left
curvature     update; 0 is the choice of the sentences     the first vector of the search for the
                                                           Hessian's largest eigenvalue
============= ============================================ =======================================
"""

import struct
from hashlib import blake2b

STREAMS = {
    "dropout": 3,
    "source_noise": 1,
    "target_noise": 1,
    "subword": 2,
    "layerdrop": 2,
    "forward_masks": 1,
    "bptt": 1,
    "rotation": 1,
    "rest": 2,
    "curvature": 1,
}


def derive_seed(seed: int, stream: str, *counters: int) -> int:
    """Derive a 63-bit seed from a key by hashing it (BLAKE2b).

    A hash, not a sum, so that neighbouring keys (seed 1 at update 2, seed 2 at update 1) share
    nothing. torch's CPU generator keeps the low 32 bits of it, CUDA's all.

    Args:
        seed: the run's ``--seed``.
        stream: a key of ``STREAMS``.
        *counters: one whole number for each counter of that stream.

    Returns:
        A whole number in [0, 2**63).

    Raises:
        ValueError: if the stream is unknown or has another number of counters.

    >>> derive_seed(1, "dropout", 0, 17, 0) == derive_seed(1, "dropout", 0, 17, 0)
    True
    >>> len({derive_seed(1, "dropout", 0, 17, replica) for replica in range(4)})
    4
    """
    if STREAMS.get(stream) != len(counters):
        raise ValueError(f"no stream {stream!r} with {len(counters)} counters; see {__name__}")
    key = struct.pack(f"<{1 + len(counters)}q", seed, *counters)
    digest = blake2b(key, digest_size=8, person=stream.encode()).digest()
    return int.from_bytes(digest, "little") >> 1


def fingerprint(seed: int) -> str:
    """Return eight hexadecimal digits that change with the seed and with the way keys are made.

    Two runs whose logs show the same fingerprint draw the same noise for the same key.
    """
    # An order is no noise: without it, fingerprints of earlier versions stay comparable.
    noise = {stream: counters for stream, counters in STREAMS.items() if stream != "rest"}
    probe = "".join(f"{derive_seed(seed, s, *range(n)):016x}" for s, n in noise.items())
    return blake2b(probe.encode(), digest_size=4).hexdigest()
