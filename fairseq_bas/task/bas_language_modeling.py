"""Language modelling on contiguous streams, with batch augmentation."""

from dataclasses import dataclass
from pathlib import Path

from fairseq import utils
from fairseq.data import data_utils
from fairseq.tasks import register_task
from fairseq.tasks.language_modeling import LanguageModelingConfig

from ..batching.amount import BaseBatch
from ..data.dictionary_file import verify_dictionary
from ..data.integrity import verify_monolingual_split
from ..data.stateful_batches import with_state
from ..data.streams import StreamEpoch, StreamText
from ..data.train_iterator import TrainIterator
from ..errors import refuse_with
from ..nn.carried_state import CarriedState
from .batch_config import BatchConfig
from .divergence_config import DivergenceConfig
from .guarded_update import GuardedUpdate
from .noise_checks import check_criterion, check_model
from .noise_config import NoiseConfig
from .prepare_noise import prepared_language_noise
from .recipe import RecipeConfig, recipe_values
from .replica_config import ReplicaConfig
from .stream_config import StreamConfig, StreamPlan
from .stream_reading import StreamReading
from .stream_states import StreamStates
from .update import ReplicatedUpdate
from .worker_config import WorkerConfig


@dataclass
class BasLanguageModelingConfig(
    StreamConfig,
    LanguageModelingConfig,
    ReplicaConfig,
    NoiseConfig,
    RecipeConfig,
    BatchConfig,
    DivergenceConfig,
    WorkerConfig,
):
    """Hold fairseq's flags of language modelling, those of streams and of batch augmentation."""


@register_task("bas_language_modeling", dataclass=BasLanguageModelingConfig)
class BasLanguageModelingTask(GuardedUpdate, ReplicatedUpdate, StreamReading):
    """Predict the next word of a text read as streams; train on M copies of every stream."""

    has_source = False

    def __init__(self, cfg, *args, **kwargs):
        super().__init__(cfg, *args, **kwargs)
        with refuse_with():
            self.stream_plan = StreamPlan(cfg, self.replica_plan, self.noise_plan)
            if cfg.bas_max_tokens_per_pass is not None and self.stream_plan.reads_streams:
                raise ValueError(
                    "--bas-max-tokens-per-pass puts sentences together, and the windows of a "
                    "stream follow each other; leave it out, or pass --bas-batching blocks"
                )
        self.stream_states = StreamStates(shared=cfg.bas_share_state)
        self._valid_state = CarriedState()
        self._window_lengths = []

    @classmethod
    def setup_task(cls, cfg, **kwargs):
        """Load the dictionary, after checking that the data directory has one."""
        with refuse_with():
            if not cfg.data:
                raise ValueError(
                    "no data directory was given; pass the output of fairseq-preprocess"
                )
            verify_dictionary(utils.split_paths(cfg.data)[0])
        return super().setup_task(cfg, **kwargs)

    # -- data ---------------------------------------------------------------------------------

    def load_dataset(self, split, epoch=1, combine=False, **kwargs):
        """Load a split, after checking that its files are whole and not empty."""
        paths = utils.split_paths(self.cfg.data)
        directory = paths[(epoch - 1) % len(paths)]
        with refuse_with():
            verify_monolingual_split(directory, split, len(self.dictionary))
        if self.stream_plan.reads_streams:
            sentences = data_utils.load_indexed_dataset(
                str(Path(directory, split)), self.dictionary, self.cfg.dataset_impl, combine=combine
            )
            self.datasets[split] = StreamText(sentences, self.dictionary.eos())
        else:
            super().load_dataset(split, epoch=epoch, combine=combine, **kwargs)
        if split == self.cfg.train_subset:
            with refuse_with():
                self.copy_noise = prepared_language_noise(self, self.datasets[split])

    def get_batch_iterator(self, dataset, *args, **kwargs):
        """Return an iterator; the one over the training text has the state of its streams."""
        iterator = super().get_batch_iterator(dataset, *args, **kwargs)
        if isinstance(iterator, TrainIterator):
            # fairseq does not load the state of a task when it goes on training.
            iterator.companions["streams"] = self.stream_states
        return iterator

    def _batches_change_by_epoch(self, dataset, **kwargs):
        return isinstance(dataset, StreamText) or super()._batches_change_by_epoch(
            dataset, **kwargs
        )

    def _base_batch(self, iterator):
        """Return the size of an update of the first epoch: a resumed run must find the same."""
        base = super()._base_batch(iterator)
        if not isinstance(iterator.dataset, StreamEpoch):
            return base
        layout = iterator.dataset.layout
        windows = layout.windows(self.cfg.seed, 1)
        tokens = layout.num_streams * sum(windows) / len(windows)
        return BaseBatch(layout.num_streams, tokens, len(windows), base.grain)

    def _layout(self, **kwargs):
        return {**super()._layout(**kwargs), "batching": self.stream_plan.text()}

    # -- model and loss -----------------------------------------------------------------------

    def build_model(self, cfg, from_checkpoint=False):
        """Build the model, and refuse one that noise or sharing cannot reach into."""
        model = super().build_model(cfg, from_checkpoint)
        with refuse_with():
            check_model(self.noise_plan, model, cfg._name)
        self.carries_state = getattr(model.decoder, "carries_state", False)
        return model

    def build_criterion(self, cfg, from_checkpoint=False):
        """Build the loss, and refuse one that does not go with the copies."""
        for name, value in recipe_values(self.cfg.bas_recipe, cfg).items():
            setattr(cfg, name, value)
        criterion = super().build_criterion(cfg)
        with refuse_with():
            check_criterion(self.noise_plan, self.replica_plan, criterion)
            if not self.carries_state and (getattr(cfg, "bas_ar", 0) or getattr(cfg, "bas_tar", 0)):
                raise ValueError(
                    "--bas-ar and --bas-tar regularise the layers of --arch bas_awd_lstm_lm; leave "
                    "them out, or change the model"
                )
            if self.cfg.bas_offset_copies and getattr(criterion, "compares_copies", False):
                raise ValueError(
                    "--bas-consistency needs copies of the same words, and --bas-offset-copies "
                    "lets them read others; leave one of the two out"
                )
        return criterion

    # -- updates ------------------------------------------------------------------------------

    def before_update(self, trainer, samples):
        """Begin an update; one that overflowed in half precision has left its lengths behind."""
        self._window_lengths = []
        super().before_update(trainer, samples)

    def train_step(self, sample, *args, **kwargs):
        """Add the gradient of one micro-batch; carry the state of its streams onward."""
        if "window" in sample:
            # Copies at other places have rows of their own, all of the same length.
            self._window_lengths.append(sample["target"].size(1))
        result = super().train_step(sample, *args, **kwargs)
        if "window" in sample:
            self.stream_states.commit(sample["first_sentence"], sample["window"])
        return result

    def _copies(self, sample, replicas, update_num):
        copies = super()._copies(sample, replicas, update_num)
        if self.carries_state and "window" in sample:
            copies["net_input"]["state"] = self.stream_states.before(
                sample["first_sentence"],
                sample["window"],
                self._trunks(replicas),
                sample["target"].device,
            )
        return copies

    def _after_pass(self, copies):
        if "state" in copies["net_input"]:
            trunks = self._trunks(copies["replicas"])
            self.stream_states.after(trunks, copies["net_input"]["state"])

    def _trunks(self, replicas):
        """Return the copies of a pass that have recurrent layers of their own."""
        return replicas if self.noise_plan.split == "input" else replicas[:1]

    def optimizer_step(self, optimizer, model, update_num):
        """Take the step; windows of variable length scale its learning rate."""
        lengths, self._window_lengths = self._window_lengths, []
        if not (self.cfg.bas_variable_bptt and lengths):
            return super().optimizer_step(optimizer, model, update_num)
        learning_rate = optimizer.get_lr()
        share = sum(lengths) / len(lengths) / self.cfg.tokens_per_sample
        optimizer.set_lr(learning_rate * share)
        try:
            super().optimizer_step(optimizer, model, update_num)
        finally:
            optimizer.set_lr(learning_rate)

    def valid_step(self, sample, model, criterion):
        """Evaluate on the next window, from the state that the last one ended with."""
        if self.carries_state and "window" in sample:
            if sample["window"] == 0:
                self._valid_state = CarriedState()
            sample = with_state(sample, self._valid_state)
        return super().valid_step(sample, model, criterion)

    # -- checkpoints --------------------------------------------------------------------------

    def before_save(self):
        """Bring the states of all workers together, as one of them writes the checkpoint."""
        self.stream_states.gather()
