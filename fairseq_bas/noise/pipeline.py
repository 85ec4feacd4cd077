"""All noises of one side, in their order, for the rows of a pass.

What happens to a word (dropped, masked, replaced, cut off or nothing) is decided for the sentence
as it was given, and so is its new place. Then come SwitchOut and bigram noise, and last the words
that are left are put in their places. Embeddings get cutoff, jitter and mixing when the model looks
them up.

Shapes: R rows, T tokens, H hidden, V vocabulary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .bigram import BigramStatistics, bigram_noise
from .embedding import feature_cutoff, jitter, span_cutoff_mask, token_cutoff
from .keyed import RowKeys
from .policy import NOISES, NoisePolicy, Variation
from .replacement import cumulative_of
from .switchout import switchout
from .token import (
    hiding_draws,
    kept_after_drop,
    rearrange,
    replace_tokens,
    shuffled_places,
    within,
)
from .vocabulary import Vocabulary
from .words import Words, positions, words_of


@dataclass(frozen=True)
class NoisyTokens:
    """Hold tokens after noise.

    Args:
        tokens: (R, T') int64.
        cut: (R, T') bool, whether the n-th token of a row, padding not counted, loses its
            embedding; None without cutoff.
    """

    tokens: Tensor
    cut: Tensor | None


class NoisePipeline:
    """Apply a policy to one side of the rows of a pass.

    Args:
        policy: the noises.
        vocabulary: of that side, on the CPU; it follows the tokens to their device.
        variation: how the noise varies over copies; None for not at all.
        bigrams: statistics of the training text, for ``bigram`` and ``bigram-labels``.
    """

    def __init__(
        self,
        policy: NoisePolicy,
        vocabulary: Vocabulary,
        variation: Variation | None = None,
        bigrams: BigramStatistics | None = None,
    ):
        self.policy = policy
        self.variation = variation or Variation()
        self._vocabulary = vocabulary
        self._frequency = cumulative_of(vocabulary.frequency)
        self._bigrams = bigrams

    def tokens(
        self, tokens: Tensor, keys: RowKeys, num_replicas: int, left_pad: bool
    ) -> NoisyTokens:
        """Return the tokens after noise; rows that keep their tokens stay as they are.

        Args:
            tokens: (R, T) int64.
            keys: the rows' keys.
            num_replicas: M.
            left_pad: True if padding is on the left.
        """
        policy, vocabulary = self.policy, self._on(tokens.device)
        if not (policy.of_tokens or policy["cutoff"]):
            return NoisyTokens(tokens, None)
        strength = self._strength(keys, num_replicas)
        words = words_of(tokens, vocabulary)
        keep, cut = ~words.padding, None
        if policy.hidden:
            tokens, keep, cut = self._hide(tokens, words, keys, strength, num_replicas)
        if policy["switchout"]:
            temperature = policy["switchout"] * strength
            tokens = switchout(tokens, words.editable, keys.copy, temperature, vocabulary)
        if policy["bigram"]:
            gamma = policy["bigram"] * strength
            tokens = bigram_noise(
                tokens,
                words.editable,
                tokens,
                keys.copy,
                gamma,
                self._bigrams_there(),
                vocabulary.padding,
            )
        for name, noise in NOISES.items():
            if noise.change is not None and policy[name]:
                value = policy[name] * (strength if noise.graded else strength.sign())
                tokens = noise.change(tokens, words, keys, value, vocabulary)
        places = words.position.double()
        if policy["shuffle"]:
            places = shuffled_places(words, keys, policy["shuffle"] * strength)
        if policy.any_of("drop", "shuffle"):
            tokens = rearrange(tokens, places, keep, vocabulary.padding, left_pad)
        if cut is not None:
            cut = rearrange(cut.long(), places, keep, 0, left_pad=False).bool()
        return NoisyTokens(tokens, cut)

    def _hide(
        self, tokens: Tensor, words: Words, keys: RowKeys, strength: Tensor, num_replicas: int
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Decide for each word between drop, mask, replace, cutoff and nothing.

        Returns:
            The tokens after mask and replace, which of them are kept, and which are cut off.
        """
        policy, vocabulary = self.policy, self._on(tokens.device)
        draws = hiding_draws(words, keys, self._offset(keys, num_replicas))
        drop, mask, replace, cutoff = (
            policy[name] * strength for name in ("drop", "mask", "replace", "cutoff")
        )
        keep, cut = ~words.padding, None
        if policy["drop"]:
            keep = kept_after_drop(draws, words, drop)
        if policy["mask"]:
            masked = within(draws, drop, mask) & words.editable
            tokens = tokens.masked_fill(masked, vocabulary.mask)
        if policy["replace"]:
            replaced = within(draws, drop + mask, replace) & words.editable
            tokens = replace_tokens(tokens, replaced, words.position, keys, self._frequency)
        if policy["cutoff"]:
            cut = within(draws, drop + mask + replace, cutoff) & words.editable
        return tokens, keep, cut

    def labels(
        self, labels: Tensor, decoder_input: Tensor, keys: RowKeys, num_replicas: int
    ) -> Tensor:
        """Return the labels after ``bigram-labels``: resampled at the rate of the word before.

        Args:
            labels: (R, T) int64.
            decoder_input: (R, T) int64, before its own noise.
            keys: the rows' keys.
            num_replicas: M.
        """
        if not self.policy["bigram-labels"]:
            return labels
        vocabulary = self._on(labels.device)
        gamma = self.policy["bigram-labels"] * self._strength(keys, num_replicas)
        # Another key than the input's: in the paper both are drawn independently.
        label_keys = keys.copy ^ 1
        editable = words_of(labels, vocabulary).editable
        return bigram_noise(
            labels,
            editable,
            decoder_input,
            label_keys,
            gamma,
            self._bigrams_there(),
            vocabulary.padding,
        )

    def embedding(
        self,
        embedding: Tensor,
        tokens: Tensor,
        cut: Tensor | None,
        keys: RowKeys,
        num_replicas: int,
    ) -> Tensor:
        """Return embeddings after cutoff and jitter.

        Args:
            embedding: (R, T, H), of ``tokens``.
            tokens: (R, T) int64, padded on either side.
            cut: of ``NoisyTokens``.
            keys: the rows' keys.
            num_replicas: M.
        """
        policy, strength = self.policy, self._strength(keys, num_replicas)
        padding = tokens.eq(self._vocabulary.padding)
        position = positions(padding)
        hidden = None
        if cut is not None:
            hidden = cut.gather(1, position) & ~padding
        if policy["span-cutoff"]:
            editable = words_of(tokens, self._on(tokens.device)).editable
            span = span_cutoff_mask(editable, keys.copy, policy["span-cutoff"] * strength)
            hidden = span if hidden is None else hidden | span
        if policy["jitter"]:
            embedding = jitter(embedding, position, keys.copy, policy["jitter"] * strength)
        if policy["feature-cutoff"]:
            rate = policy["feature-cutoff"] * strength
            embedding = feature_cutoff(embedding, keys.copy, rate)
        return embedding if hidden is None else token_cutoff(embedding, hidden)

    def _strength(self, keys: RowKeys, num_replicas: int) -> Tensor:
        return _by_replica(self.variation.strengths(num_replicas), keys)

    def _offset(self, keys: RowKeys, num_replicas: int) -> Tensor | None:
        if not self.variation.complementary:
            return None
        return _by_replica(self.variation.offsets(self.policy.hidden, num_replicas), keys)

    def _on(self, device: torch.device) -> Vocabulary:
        if self._vocabulary.kind.device != device:
            self._vocabulary = self._vocabulary.to(device)
            self._frequency = self._frequency.to(device)
            if self._bigrams is not None:
                self._bigrams = self._bigrams.to(device)
        return self._vocabulary

    def _bigrams_there(self) -> BigramStatistics:
        if self._bigrams is None:
            raise RuntimeError("bigram noise needs the statistics of the training text")
        return self._bigrams


def _by_replica(values: list[float], keys: RowKeys) -> Tensor:
    table = torch.tensor(values, dtype=torch.float64, device=keys.replica.device)
    return table[keys.replica]
