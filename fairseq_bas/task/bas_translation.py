"""Translation with batch augmentation."""

import os
from dataclasses import dataclass

from fairseq import utils
from fairseq.data import data_utils
from fairseq.tasks import register_task
from fairseq.tasks.translation import TranslationConfig, TranslationTask

from ..data.dictionary_file import verify_dictionary
from ..data.integrity import verify_split
from ..errors import refuse_with
from .batch_config import BatchConfig
from .divergence_config import DivergenceConfig
from .guarded_update import GuardedUpdate
from .noise_checks import check_criterion, check_model
from .noise_config import NoiseConfig
from .prepare_noise import prepared_noise, with_sampled_subwords
from .recipe import RecipeConfig, recipe_values
from .replica_config import ReplicaConfig
from .update import ReplicatedUpdate
from .worker_config import WorkerConfig


@dataclass
class BasTranslationConfig(
    TranslationConfig,
    ReplicaConfig,
    NoiseConfig,
    RecipeConfig,
    BatchConfig,
    DivergenceConfig,
    WorkerConfig,
):
    """Hold fairseq's translation flags and those of batch augmentation."""


@register_task("bas_translation", dataclass=BasTranslationConfig)
class BasTranslationTask(GuardedUpdate, ReplicatedUpdate, TranslationTask):
    """Translate from one language to another; train on M copies of every sentence pair."""

    @classmethod
    def setup_task(cls, cfg, **kwargs):
        """Load the dictionaries, after checking that the data directory has them."""
        with refuse_with():
            directory = _first_directory(cfg.data)
            if cfg.source_lang is None or cfg.target_lang is None:
                cfg.source_lang, cfg.target_lang = _infer_languages(directory)
            for lang in (cfg.source_lang, cfg.target_lang):
                verify_dictionary(directory, lang)
        return super().setup_task(cfg, **kwargs)

    def load_dataset(self, split, epoch=1, combine=False, **kwargs):
        """Load a split, after checking that its files are whole, parallel and not empty."""
        paths = utils.split_paths(self.cfg.data)
        directory = paths[(epoch - 1) % len(paths)] if split == self.cfg.train_subset else paths[0]
        with refuse_with():
            verify_split(
                directory,
                split,
                self.cfg.source_lang,
                self.cfg.target_lang,
                combine=combine,
                # fairseq translates test sets that have no target side.
                require_target=split == self.cfg.train_subset or split.startswith("valid"),
                vocabularies={
                    self.cfg.source_lang: len(self.src_dict),
                    self.cfg.target_lang: len(self.tgt_dict),
                },
            )
        super().load_dataset(split, epoch=epoch, combine=combine, **kwargs)
        if split == self.cfg.train_subset:
            with refuse_with():
                self.copy_noise = prepared_noise(self, self.datasets[split])
                self.datasets[split] = with_sampled_subwords(self, self.datasets[split])

    def build_model(self, cfg, from_checkpoint=False):
        """Build the model, and refuse one that noise or sharing cannot reach into."""
        model = super().build_model(cfg, from_checkpoint)
        with refuse_with():
            check_model(self.noise_plan, model, cfg._name)
        return model

    def build_criterion(self, cfg, from_checkpoint=False):
        """Build the loss, and refuse one that does not go with the copies."""
        for name, value in recipe_values(self.cfg.bas_recipe, cfg).items():
            setattr(cfg, name, value)
        criterion = super().build_criterion(cfg, from_checkpoint)
        with refuse_with():
            check_criterion(self.noise_plan, self.replica_plan, criterion)
        return criterion


def _first_directory(data):
    if not data:
        raise ValueError("no data directory was given; pass the output of fairseq-preprocess")
    directory = utils.split_paths(data)[0]
    if not os.path.isdir(directory):
        raise ValueError(
            f"{directory} is not a directory; pass the --destdir of fairseq-preprocess"
        )
    return directory


def _infer_languages(directory):
    source_lang, target_lang = data_utils.infer_language_pair(directory)
    if source_lang is None or target_lang is None:
        raise ValueError(
            f"{directory} holds no train.SOURCE-TARGET.* file that names the languages; pass "
            "--source-lang and --target-lang, or the --destdir of fairseq-preprocess"
        )
    return source_lang, target_lang
