"""Let ``--bf16`` mean bfloat16 on a GPU or CPU; fairseq's parser takes it for a TPU too."""

import functools
import sys
from collections.abc import Callable
from typing import Any

from fairseq import options


@functools.cache
def install() -> None:
    """Put the cure into fairseq's parser; it acts in runs of tasks of this plugin."""
    options.parse_args_and_arch = _without_tpu(options.parse_args_and_arch)


def _without_tpu(parse: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(parse)
    def parsed(parser: Any, input_args: list[str] | None = None, *rest: Any, **kwargs: Any) -> Any:
        result = parse(parser, input_args, *rest, **kwargs)
        args = result[0] if isinstance(result, tuple) else result
        given = sys.argv[1:] if input_args is None else input_args
        ours = str(getattr(args, "task", "")).startswith("bas_")
        if ours and getattr(args, "tpu", False) and "--tpu" not in given:
            args.tpu = False
        return result

    return parsed
