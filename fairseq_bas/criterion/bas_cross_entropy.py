"""Label-smoothed cross-entropy in chunks, with the spread between replicas."""

import math
from dataclasses import dataclass, field
from typing import Optional

from fairseq.criterions import register_criterion
from fairseq.criterions.label_smoothed_cross_entropy import (
    LabelSmoothedCrossEntropyCriterion,
    LabelSmoothedCrossEntropyCriterionConfig,
    label_smoothed_nll_loss,
)
from fairseq.logging import metrics

from ..errors import UserError
from ..nn.chunked_loss import chunked_smoothed_loss
from .projection import output_layer_replaced, projection_of

REPLICA_KEY = "bas_nll_replica_"


@dataclass
class BasCrossEntropyConfig(LabelSmoothedCrossEntropyCriterionConfig):
    """Hold fairseq's flags of label-smoothed cross-entropy and the chunk size."""

    bas_chunk_tokens: Optional[int] = field(
        default=None,
        metadata={
            "help": "target tokens whose logits are held at a time (default: what fills 32 MiB)"
        },
    )


@register_criterion("bas_cross_entropy", dataclass=BasCrossEntropyConfig)
class BasCrossEntropy(LabelSmoothedCrossEntropyCriterion):
    """Compute fairseq's label-smoothed cross-entropy without holding the logits of a batch.

    Value, gradient and logs are those of ``label_smoothed_cross_entropy``. Models whose output
    layer is not a single linear map are computed the plain way. In training on M > 1 replicas it
    also logs ``replica_std``, how far apart the replicas' losses are.
    """

    def __init__(
        self,
        task,
        sentence_avg,
        label_smoothing,
        ignore_prefix_size=0,
        report_accuracy=False,
        bas_chunk_tokens=None,
    ):
        super().__init__(task, sentence_avg, label_smoothing, ignore_prefix_size, report_accuracy)
        if bas_chunk_tokens is not None and bas_chunk_tokens < 1:
            raise UserError(
                f"--bas-chunk-tokens {bas_chunk_tokens} holds no token; pass 1 or more, or none"
            )
        self.chunk_tokens = bas_chunk_tokens

    def forward(self, model, sample, reduce=True):
        """Compute the loss of a mini-batch.

        Returns:
            The loss summed over target tokens, the number that gradients are divided by, and the
            logging output, all as ``label_smoothed_cross_entropy`` does.
        """
        projection = None if self.report_accuracy or not reduce else projection_of(model)
        if projection is None:
            net_output, loss, nll = self._plain(model, sample)
        else:
            net_output, loss, nll = self._chunked(model, sample, projection)
        total = loss.sum()
        log = {
            "loss": total.data,
            "nll_loss": nll.sum(),
            "ntokens": sample["ntokens"],
            "nsentences": sample["target"].size(0),
            "sample_size": sample["target"].size(0) if self.sentence_avg else sample["ntokens"],
            **_nll_by_replica(nll, sample),
        }
        if self.report_accuracy:
            log["n_correct"], log["total"] = self.compute_accuracy(model, net_output, sample)
        return total if reduce else loss, log["sample_size"], log

    def _chunked(self, model, sample, projection):
        target = sample["target"][:, self.ignore_prefix_size :].reshape(-1)

        def loss_of(features):
            features = features[:, self.ignore_prefix_size :]
            return chunked_smoothed_loss(
                features.reshape(-1, features.size(-1)),
                projection.weight,
                projection.bias,
                target,
                self.eps,
                padding_idx=self.padding_idx,
                chunk_tokens=self.chunk_tokens,
            )

        with output_layer_replaced(projection.decoder, loss_of):
            loss, nll = model(**sample["net_input"])[0]
        return None, loss, nll

    def _plain(self, model, sample):
        net_output = model(**sample["net_input"])
        lprobs, target = self.get_lprobs_and_target(model, net_output, sample)
        loss, nll = label_smoothed_nll_loss(
            lprobs, target, self.eps, ignore_index=self.padding_idx, reduce=False
        )
        return net_output, loss.squeeze(-1), nll.squeeze(-1).data

    @classmethod
    def reduce_metrics(cls, logging_outputs) -> None:
        """Log fairseq's metrics, and ``replica_std`` (base 2) of a batch with replicas.

        It is the standard deviation over replicas (M - 1) of a replica's nll per target token.
        """
        super().reduce_metrics(logging_outputs)
        keys = [key for key in logging_outputs[0] if key.startswith(REPLICA_KEY)]
        tokens = sum(log["ntokens"] for log in logging_outputs)
        if not keys or not tokens:
            return
        means = [sum(log[key] for log in logging_outputs) / tokens / math.log(2) for key in keys]
        mean = sum(means) / len(means)
        variance = sum((m - mean) ** 2 for m in means) / (len(means) - 1)
        metrics.log_scalar("replica_std", variance**0.5, tokens, round=4)


def _nll_by_replica(nll, sample):
    """Return M times the nll of each replica, summed over its rows; nothing outside training.

    M times, because the task divides every number by M, and here a replica's own sum is wanted. All
    M keys are there on every worker, as fairseq adds logs up by key.
    """
    num_replicas = sample.get("num_replicas", 1)
    if num_replicas == 1:
        return {}
    by_row = nll.view(len(sample["replica"]), -1).sum(1)
    sums = by_row.new_zeros(num_replicas).index_add_(0, sample["replica"], by_row)
    return {f"{REPLICA_KEY}{m}": num_replicas * sums[m] for m in range(num_replicas)}
