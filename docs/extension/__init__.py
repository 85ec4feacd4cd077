"""A user-dir with a noise, a batch schedule and a learning rate of one's own."""

from . import cyclic_batch, echo_noise, triangle_lr  # noqa: F401
