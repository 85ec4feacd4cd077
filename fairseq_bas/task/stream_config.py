"""The flags of contiguous streams, and the layout of a text that they ask for."""

from dataclasses import dataclass, field
from typing import Optional

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from omegaconf import II

from ..data.stream_windows import StreamLayout
from .noise_config import FLAG, NoisePlan
from .replica_config import ReplicaPlan

BATCHING_CHOICES = ChoiceEnum(["streams", "blocks"])


@dataclass
class StreamConfig(FairseqDataclass):
    """Hold the flags of how a text is read."""

    tokens_per_sample: int = field(
        default=70,
        metadata={"help": "tokens of a window of back-propagation, or of a block"},
    )
    bas_batching: BATCHING_CHOICES = field(
        default="streams",
        metadata={
            "help": "streams: the text as --batch-size parallel streams per micro-batch, read in "
            "order with the recurrent state carried along; blocks: fairseq's shuffled blocks"
        },
    )
    bas_variable_bptt: bool = field(
        default=False,
        metadata={
            "help": "draw the length of each window as AWD-LSTM does, and scale the learning rate "
            "of its update by length / --tokens-per-sample"
        },
    )
    bas_rotate_streams: bool = field(
        default=False,
        metadata={"help": "begin every stream at another place in every epoch (partial shuffle)"},
    )
    bas_offset_copies: bool = field(
        default=False,
        metadata={"help": "let copy m of a stream read m / M of a window further on in the text"},
    )
    bas_share_state: bool = field(
        default=False,
        metadata={"help": "start every copy from the state of copy 0, not from its own"},
    )
    bas_valid_streams: int = field(
        default=1,
        metadata={
            "help": "streams at evaluation; 1 gives the perplexity of the whole text in one piece, "
            "more are faster and each starts without context"
        },
    )
    batch_size: Optional[int] = II("dataset.batch_size")
    max_tokens: Optional[int] = II("dataset.max_tokens")
    train_subset: str = II("dataset.train_subset")


class StreamPlan:
    """Hold what the flags of streams mean, checked against each other and the copies.

    Args:
        cfg: the flags.
        replicas: where the copies run.
        noise: their noise.

    Raises:
        ValueError: one sentence.
    """

    def __init__(self, cfg: StreamConfig, replicas: ReplicaPlan, noise: NoisePlan):
        self.reads_streams = str(cfg.bas_batching) == "streams"
        self.cfg, self.replicas = cfg, replicas
        if cfg.bas_valid_streams < 1:
            raise ValueError(
                f"--bas-valid-streams {cfg.bas_valid_streams} reads nothing; pass 1 or more"
            )
        _check_noise(noise)
        flags = ("variable_bptt", "rotate_streams", "offset_copies", "share_state")
        given = [flag for flag in flags if getattr(cfg, f"bas_{flag}")]
        if given and not self.reads_streams:
            raise ValueError(
                f"--bas-{given[0].replace('_', '-')} has no meaning with --bas-batching blocks; "
                "leave one of the two out"
            )
        for flag in ("self_target", "past_target", "add_bos_token"):
            if self.reads_streams and getattr(cfg, flag):
                raise ValueError(
                    f"--{flag.replace('_', '-')} is for blocks, and streams predict each token "
                    "from those before it; pass --bas-batching blocks, or leave it out"
                )
        self._check_copies()

    def _check_copies(self) -> None:
        cfg, plan = self.cfg, self.replicas
        for flag in ("offset_copies", "share_state"):
            if getattr(cfg, f"bas_{flag}") and plan.largest().replicas == 1:
                raise ValueError(
                    f"--bas-{flag.replace('_', '-')} is about copies, and there is one; raise "
                    "--bas-replicas"
                )
        if cfg.bas_offset_copies and cfg.bas_share_state:
            raise ValueError(
                "--bas-offset-copies reads other text in every copy, which the state of copy 0 "
                "does not know; leave --bas-share-state out"
            )
        if plan.workers > 1 and self.reads_streams:
            if cfg.bas_share_state:
                raise ValueError(
                    "--bas-share-state needs copy 0 on every worker; pass --bas-placement rows or "
                    "passes"
                )
            if len(set(plan.schedule.values)) > 1:
                raise ValueError(
                    f"--bas-replicas {plan.schedule} with --bas-placement workers moves copies "
                    "between workers, away from their recurrent state; pass --bas-placement rows "
                    "or passes"
                )

    @property
    def streams_per_batch(self) -> int:
        """Return the streams of a training micro-batch."""
        cfg = self.cfg
        streams = cfg.batch_size or (cfg.max_tokens or 0) // cfg.tokens_per_sample
        if streams < 1:
            raise ValueError(
                f"--max-tokens {cfg.max_tokens} holds no window of --tokens-per-sample "
                f"{cfg.tokens_per_sample}; pass --batch-size, the number of streams"
            )
        return streams

    def training(self, num_tokens: int, groups: int) -> StreamLayout:
        """Return the layout of a training text that ``groups`` micro-batches an update read."""
        cfg = self.cfg
        return StreamLayout(
            num_tokens,
            self.streams_per_batch * groups,
            cfg.tokens_per_sample,
            variable=cfg.bas_variable_bptt,
            rotate=cfg.bas_rotate_streams,
            offset_replicas=self.replicas.largest().replicas if cfg.bas_offset_copies else 1,
        )

    def evaluation(self, num_tokens: int) -> StreamLayout:
        """Return the layout of a text to evaluate on."""
        streams = min(self.cfg.bas_valid_streams, max(1, num_tokens))
        return StreamLayout(num_tokens, streams, self.cfg.tokens_per_sample)

    def text(self) -> str:
        """Return the flags that decide what a position in an epoch means, as text."""
        if not self.reads_streams:
            return "blocks"
        cfg = self.cfg
        words = [f"streams of windows of {cfg.tokens_per_sample}"]
        words += ["with variable length"] * cfg.bas_variable_bptt
        words += ["rotated"] * cfg.bas_rotate_streams
        if cfg.bas_offset_copies:
            words.append(f"offset over {self.replicas.largest().replicas} copies")
        return " ".join(words)


def _check_noise(noise: NoisePlan) -> None:
    if noise.source:
        raise ValueError(
            f"{FLAG['source']} {noise.source} has no source to change in a language model; pass "
            f"{FLAG['target']}"
        )
    if noise.split == "encoder":
        raise ValueError(
            "--bas-share encoder has no encoder to share in a language model; pass output or input"
        )
    if noise.target["subword"] or noise.target["mix"]:
        name = "subword" if noise.target["subword"] else "mix"
        raise ValueError(
            f"{FLAG['target']} {name} changes labels of sentence pairs and is not for language "
            "models; leave it out"
        )
