"""Change the embeddings that a model looks up, without changing the model's code.

Shapes: R rows, T tokens, H hidden.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn

from .unwrap import unwrapped

EmbeddingNoise = Callable[[Tensor, Tensor], Tensor]
"""Takes embeddings (R, T, H) and their tokens (R, T), returns embeddings (R, T, H)."""


def embedding_of(part: nn.Module | None) -> nn.Module | None:
    """Return the module by which an encoder or decoder looks up embeddings, None for none."""
    return getattr(part, "embed_tokens", None)


@contextmanager
def embeddings_changed(
    model: nn.Module, noises: Mapping[str, EmbeddingNoise | None]
) -> Iterator[None]:
    """Let the encoder and the decoder see changed embeddings.

    Hooks, because they leave parameters, names and checkpoints as they are. Encoder and decoder may
    share one embedding, so it is the part that runs which decides whose noise applies.

    Args:
        model: a fairseq model, wrapped or not.
        noises: the noise for ``encoder`` and for ``decoder``; None or nothing for none.
    """
    model = unwrapped(model)
    parts = {name: getattr(model, name) for name, noise in noises.items() if noise is not None}
    running: list[str] = []

    def change(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        noise = noises.get(running[-1]) if running else None
        return None if noise is None else noise(output, inputs[0])

    with ExitStack() as hooks:
        for name in ("encoder", "decoder"):
            part = getattr(model, name, None)
            if parts and part is not None:
                hooks.enter_context(_tracked(part, name, running))
        for embedding in {id(e): e for e in map(embedding_of, parts.values())}.values():
            handle = embedding.register_forward_hook(change)
            hooks.callback(handle.remove)
        yield


@contextmanager
def _tracked(part: nn.Module, name: str, running: list[str]) -> Iterator[None]:
    """Keep the name of the part that runs at the end of ``running``."""
    before = part.register_forward_pre_hook(lambda *_: running.append(name))
    after = part.register_forward_hook(lambda *_: running.pop() and None)
    try:
        yield
    finally:
        before.remove()
        after.remove()
