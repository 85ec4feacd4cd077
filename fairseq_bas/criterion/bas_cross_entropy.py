"""Label-smoothed cross-entropy in chunks, with losses that compare the copies of a sentence.

Shapes: B sentences, R copies of each in the pass, M in all, T target length, H hidden.
"""

import math

from fairseq.criterions import register_criterion
from fairseq.criterions.label_smoothed_cross_entropy import (
    LabelSmoothedCrossEntropyCriterion,
    label_smoothed_nll_loss,
)
from fairseq.logging import metrics

from ..errors import UserError
from ..model.unwrap import unwrapped
from ..nn.activation_penalty import activation_penalty
from ..nn.chunked_loss import chunked_smoothed_loss
from ..nn.consistent_loss import consistent_smoothed_loss
from ..nn.mixed_labels import mixed_label_correction
from ..replicate import sentence_major
from .adaptive import adaptive_nll
from .consistency_config import BasCrossEntropyConfig, consistency_weight
from .projection import output_layer_replaced, projection_of
from .replica_log import log_replica_spread, nll_by_replica


@register_criterion("bas_cross_entropy", dataclass=BasCrossEntropyConfig)
class BasCrossEntropy(LabelSmoothedCrossEntropyCriterion):
    """Compute fairseq's label-smoothed cross-entropy without holding the logits of a batch.

    Value, gradient and logs are those of ``label_smoothed_cross_entropy``. Models whose output
    layer is not a single linear map are computed the plain way. In training on M > 1 replicas it
    can add a consistency term, and it logs ``replica_std``, how far apart the replicas' losses are.
    """

    def __init__(
        self,
        task,
        sentence_avg,
        label_smoothing,
        ignore_prefix_size=0,
        report_accuracy=False,
        bas_chunk_tokens=None,
        bas_consistency=None,
        bas_consistency_weight=None,
        bas_consistency_warmup=0,
        bas_ar=0.0,
        bas_tar=0.0,
    ):
        super().__init__(task, sentence_avg, label_smoothing, ignore_prefix_size, report_accuracy)
        if bas_chunk_tokens is not None and bas_chunk_tokens < 1:
            raise UserError(
                f"--bas-chunk-tokens {bas_chunk_tokens} holds no token; pass 1 or more, or none"
            )
        self.chunk_tokens = bas_chunk_tokens
        self.consistency = str(bas_consistency or "none")
        self.weight = consistency_weight(self.consistency, bas_consistency_weight)
        if bas_consistency_warmup < 0:
            raise UserError(
                f"--bas-consistency-warmup {bas_consistency_warmup} is negative; pass a number of "
                "updates"
            )
        self.warmup = bas_consistency_warmup
        for flag, value in (("--bas-ar", bas_ar), ("--bas-tar", bas_tar)):
            if not 0 <= value < math.inf:
                raise UserError(f"{flag} {value} is out of range; give a number of at least 0")
        self.ar, self.tar = bas_ar, bas_tar

    @property
    def compares_copies(self) -> bool:
        """Tell whether the loss of a copy depends on the other copies of its sentence."""
        return self.consistency != "none"

    def forward(self, model, sample, reduce=True):
        """Compute the loss of a mini-batch.

        Returns:
            The loss summed over target tokens, the number that gradients are divided by, and the
            logging output, all as ``label_smoothed_cross_entropy`` does. Over the passes of an
            update, the losses add up to M times the mean cross-entropy of the copies plus M times
            the weighted consistency term; the task divides by M.
        """
        compares = self.compares_copies and sample.get("num_replicas", 1) > 1
        mixes = "mix_target" in sample
        fast = reduce and not self.report_accuracy
        projection = projection_of(model) if fast else None
        adaptive = getattr(getattr(unwrapped(model), "decoder", None), "adaptive_softmax", None)
        if projection is None and (compares or mixes):
            raise UserError(
                "consistency and mix need a model whose output layer is one linear map, without "
                "adaptive softmax or --report-accuracy; change the model or leave them out"
            )
        extra = {}
        if projection is not None and compares:
            net_output, loss, nll, extra = self._consistent(model, sample, projection)
        elif projection is not None:
            net_output, loss, nll = self._chunked(model, sample, projection)
        elif fast and adaptive is not None and self.eps == 0:
            net_output, loss, nll = self._adaptive(model, sample, adaptive)
        else:
            net_output, loss, nll = self._plain(model, sample)
        total = loss.sum()
        if (self.ar or self.tar) and model.training:
            penalty = self._activation_penalty(net_output[1], sample)
            total = total + penalty * sample["ntokens"]
            extra["bas_activation"] = penalty.detach() * sample["ntokens"]
        log = {
            "loss": total.data,
            "nll_loss": nll.sum(),
            "ntokens": sample["ntokens"],
            "nsentences": sample["target"].size(0),
            "sample_size": sample["target"].size(0) if self.sentence_avg else sample["ntokens"],
            **nll_by_replica(nll, sample),
            **extra,
        }
        if self.report_accuracy:
            log["n_correct"], log["total"] = self.compute_accuracy(model, net_output, sample)
        return total if reduce else loss, log["sample_size"], log

    def features_by_sentence(self, model, sample):
        """Return what the output layer sees, (B, R, T, H), without gradient."""
        with output_layer_replaced(projection_of(model).decoder, lambda features: features):
            features = model(**sample["net_input"])[0]
        return sentence_major(features.detach(), sample["row"], sample["rows_per_sentence"])

    def _chunked(self, model, sample, projection):
        target = sample["target"][:, self.ignore_prefix_size :]

        def loss_of(features):
            features = features[:, self.ignore_prefix_size :].flatten(0, 1)
            loss, nll = chunked_smoothed_loss(
                features,
                projection.weight,
                projection.bias,
                target.reshape(-1),
                self.eps,
                padding_idx=self.padding_idx,
                chunk_tokens=self.chunk_tokens,
            )
            if "mix_target" not in sample:
                return loss, nll
            moved = self._moved_by_mixing(features, projection, target, sample)
            on_target = 1 - self.eps - self.eps / (projection.weight.size(0) - 1)
            return loss + on_target * moved.sum(), nll + moved.detach()

        with output_layer_replaced(projection.decoder, loss_of):
            net_output = model(**sample["net_input"])
        return net_output, *net_output[0]

    def _moved_by_mixing(self, features, projection, target, sample):
        other = sample["mix_target"][:, self.ignore_prefix_size :]
        both = target.ne(self.padding_idx) & other.ne(self.padding_idx)
        share = (1 - sample["mix_weight"])[:, None] * both
        flat = (x.reshape(-1) for x in (target, other, share))
        return mixed_label_correction(features, projection.weight, projection.bias, *flat)

    def _consistent(self, model, sample, projection):
        row, rows = sample["row"], sample["rows_per_sentence"]
        target = sentence_major(sample["target"], row, rows)[:, 0, self.ignore_prefix_size :]
        peers = sample.get("peer_features")
        first = int(sample["replicas"].start) if peers is not None else 0

        def loss_of(features):
            copies = sentence_major(features, row, rows)
            if peers is not None:
                copies = peers.slice_scatter(copies, 1, first, first + rows)
            copies = copies[:, :, self.ignore_prefix_size :].transpose(1, 2)
            return consistent_smoothed_loss(
                copies.flatten(0, 1),
                projection.weight,
                projection.bias,
                target.reshape(-1),
                self.eps,
                self.consistency,
                self._weight_at(sample["update_num"]),
                padding_idx=self.padding_idx,
                active=range(first, first + rows),
                chunk_tokens=self.chunk_tokens,
            )

        with output_layer_replaced(projection.decoder, loss_of):
            net_output = model(**sample["net_input"])
        loss, nll, divergence = net_output[0]
        nll = nll[:, first : first + rows].unflatten(0, (len(target), -1)).transpose(1, 2)
        by_row = nll.reshape(len(row), -1)[row]
        return net_output, loss, by_row.flatten(), {"bas_consistency": rows * divergence}

    def _weight_at(self, update_num):
        """Return the weight of the consistency term, which rises linearly over the warm-up."""
        return self.weight * min(1.0, (update_num + 1) / max(1, self.warmup))

    def _adaptive(self, model, sample, softmax):
        target = sample["target"][:, self.ignore_prefix_size :].reshape(-1)

        def loss_of(features):
            features = features[:, self.ignore_prefix_size :].flatten(0, 1)
            return adaptive_nll(softmax, features, target, self.padding_idx)

        with output_layer_replaced(unwrapped(model).decoder, loss_of):
            net_output = model(**sample["net_input"])
        return net_output, net_output[0], net_output[0].detach()

    def _activation_penalty(self, extra, sample):
        if not isinstance(extra, dict) or "raw" not in extra:
            raise UserError(
                f"--bas-ar {self.ar} and --bas-tar {self.tar} are about the LSTM layers of --arch "
                "bas_awd_lstm_lm and bas_lstm; leave them out, or change the model"
            )
        net_input = sample["net_input"]
        read = net_input.get("prev_output_tokens", net_input["src_tokens"])
        keep = read.ne(self.padding_idx).transpose(0, 1)
        return activation_penalty(extra["dropped"], extra["raw"], self.ar, self.tar, keep)

    def _plain(self, model, sample):
        net_output = model(**sample["net_input"])
        lprobs, target = self.get_lprobs_and_target(model, net_output, sample)
        loss, nll = label_smoothed_nll_loss(
            lprobs, target, self.eps, ignore_index=self.padding_idx, reduce=False
        )
        return net_output, loss.squeeze(-1), nll.squeeze(-1).data

    @classmethod
    def reduce_metrics(cls, logging_outputs) -> None:
        """Log fairseq's metrics, and of a batch with replicas two more (base 2, a token).

        ``replica_std`` is the standard deviation over replicas (M - 1) of a replica's nll;
        ``bas_consistency`` is the consistency term without its weight, ``bas_activation`` the
        regularisation of activations with its own.
        """
        super().reduce_metrics(logging_outputs)
        tokens = sum(log["ntokens"] for log in logging_outputs)
        if not tokens:
            return
        for name in ("bas_consistency", "bas_activation"):
            if name in logging_outputs[0]:
                term = sum(log[name] for log in logging_outputs)
                metrics.log_scalar(name, term / tokens / math.log(2), tokens, round=4)
        log_replica_spread(logging_outputs, tokens)
