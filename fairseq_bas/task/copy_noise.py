"""Give the copies of one pass their noise: in the mini-batch, and inside the model."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack

import torch

from ..model.forward_masks import copies_with_masks, forward_masks
from ..model.noisy_embedding import EmbeddingNoise, embeddings_changed
from ..model.shared_trunk import copies_split_at
from ..noise.distinct import fingerprints
from ..noise.embedding import mix_weight, mix_with_partner
from ..noise.keyed import RowKeys, row_keys
from ..noise.partner import partners
from ..noise.pipeline import NoisePipeline
from ..noise.policy import EMBEDDING_NOISES
from ..replicate import Sample, select_rows, sentence_major
from ..rng import derive_seed
from .noise_config import NoisePlan


class CopyNoise:
    """Apply the noise of a run.

    Args:
        plan: the ``NoisePlan``.
        seed: the run's ``--seed``.
        pipelines: the noises of each side that has any.
        padding: id of the padding symbol.
        left_pad_source: True if the source is padded on the left.
        decoder_input: name of what the decoder reads in ``net_input``.
    """

    def __init__(
        self,
        plan: NoisePlan,
        seed: int,
        pipelines: Mapping[str, NoisePipeline] | None = None,
        padding: int = 1,
        left_pad_source: bool = True,
        decoder_input: str = "prev_output_tokens",
    ):
        self.plan = plan
        self.seed = seed
        self.pipelines = pipelines or {}
        self.padding = padding
        self.left_pad_source = left_pad_source
        self.decoder_input = decoder_input

    def apply(self, copies: Sample, update_num: int) -> Sample:
        """Return the copies with noise in their tokens, rows sorted by source length.

        With masks for every copy (``--bas-forward-masks copy``) copies stay adjacent instead.

        Args:
            copies: a mini-batch of ``replicate``; not changed.
            update_num: updates taken so far.
        """
        copies = {**copies, "net_input": dict(copies["net_input"]), "update_num": update_num}
        if self.plan.source:
            copies = self._source_changed(copies)
        if self.plan.masks_by_copy:
            # Models with masks of their own for copies tell copies by row modulo R.
            copies = select_rows(copies, copies["row"].argsort())
        if self.plan.target:
            copies = self._target_changed(copies)
        if self.plan.source["mix"]:
            copies.update(self._mixing(copies))
        return copies

    def in_model(self, model: torch.nn.Module, copies: Sample) -> AbstractContextManager[object]:
        """Return a context in which the model applies what noise there is of embeddings.

        In it, the model also makes those copies that split inside it (``--bas-share``), and draws
        masks of weights and word types as ``--bas-forward-masks`` says. Where ``copies`` has
        ``perturbations``, by side, they are the last that embeddings go through.
        """
        plan, context = self.plan, ExitStack()
        noises = {
            "encoder": self._embedding_noise("source", copies),
            "decoder": self._embedding_noise("target", copies),
        }
        if any(noises.values()):
            context.enter_context(embeddings_changed(model, noises))
        if plan.split != "input":
            rows = copies["rows_per_sentence"]
            context.enter_context(copies_split_at(plan.split, model, rows, plan.output_dropout))
        if plan.masks_by_copy:
            groups = copies_with_masks(plan.split, copies["rows_per_sentence"])
            context.enter_context(forward_masks(model, groups=groups))
        elif plan.masks_by_update:
            seed = derive_seed(self.seed, "forward_masks", copies["update_num"])
            context.enter_context(forward_masks(model, seed=seed))
        return context

    def fingerprints(self, copies: Sample) -> torch.Tensor:
        """Return a hash (B, R) of what each copy of each sentence reads."""
        net_input = copies["net_input"]
        rows = fingerprints(net_input[self.decoder_input], self.padding)
        if self.plan.source:
            rows = rows * 31 + fingerprints(net_input["src_tokens"], self.padding)
        return sentence_major(rows, copies["row"], copies["rows_per_sentence"])

    def _keys(self, side: str, copies: Sample) -> RowKeys:
        return row_keys(
            self.seed, f"{side}_noise", copies["update_num"], copies["id"], copies["replica"]
        )

    def _source_changed(self, copies: Sample) -> Sample:
        net_input = copies["net_input"]
        noisy = self.pipelines["source"].tokens(
            net_input["src_tokens"],
            self._keys("source", copies),
            copies["num_replicas"],
            self.left_pad_source,
        )
        net_input["src_tokens"], copies["source_cut"] = noisy.tokens, noisy.cut
        if not self.plan.source["drop"]:
            return copies
        # Packed sequences want the longest row first.
        lengths = noisy.tokens.ne(self.padding).sum(1)
        net_input["src_lengths"] = lengths
        return select_rows(copies, lengths.argsort(descending=True, stable=True))

    def _target_changed(self, copies: Sample) -> Sample:
        pipeline, net_input, num_replicas = (
            self.pipelines["target"],
            copies["net_input"],
            copies["num_replicas"],
        )
        keys, clean = self._keys("target", copies), net_input[self.decoder_input]
        noisy = pipeline.tokens(clean, keys, num_replicas, left_pad=False)
        net_input[self.decoder_input], copies["target_cut"] = noisy.tokens, noisy.cut
        copies["target"] = pipeline.labels(copies["target"], clean, keys, num_replicas)
        return copies

    def _mixing(self, copies: Sample) -> Sample:
        keys = self._keys("source", copies)
        partner = partners(keys, copies["rows_per_sentence"])
        weight = mix_weight(keys.copy, self.plan.source["mix"])
        if self.plan.variation.clean:
            weight = weight.masked_fill(keys.replica.eq(0), 1.0)
        return {
            "mix_partner": partner,
            "mix_weight": weight,
            "mix_target": copies["target"][partner],
        }

    def _embedding_noise(self, side: str, copies: Sample) -> EmbeddingNoise | None:
        noise = self._drawn_noise(side, copies)
        perturbation = copies.get("perturbations", {}).get(side)
        if noise is None or perturbation is None:
            return noise or perturbation
        return lambda embedding, tokens: perturbation(noise(embedding, tokens), tokens)

    def _drawn_noise(self, side: str, copies: Sample) -> EmbeddingNoise | None:
        if not self.plan.policies[side].any_of(*EMBEDDING_NOISES):
            return None
        pipeline, num_replicas = self.pipelines[side], copies["num_replicas"]
        keys, cut = self._keys(side, copies), copies.get(f"{side}_cut")

        def noise(embedding: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
            embedding = pipeline.embedding(embedding, tokens, cut, keys, num_replicas)
            if "mix_partner" in copies:
                partner, weight = copies["mix_partner"], copies["mix_weight"]
                padding = tokens.eq(self.padding)
                embedding = mix_with_partner(embedding, partner, weight, padding)
            return embedding

        return noise
