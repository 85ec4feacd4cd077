"""Logs of training written by hand, in either format of fairseq, for tests that read them."""

import json
from typing import Any

CONFIG = (
    "{'_name': None, 'common': {'_name': None, 'seed': %(seed)s, 'log_interval': 10}, "
    "'optimization': {'max_update': %(max_update)s, 'max_epoch': 0, 'lr': [%(lr)s]}, "
    "'model': Namespace(arch='lstm', bas_forward_masks=pass, dropout=0.1, _name='lstm'), "
    "'task': {'_name': 'bas_translation', 'bas_replicas': '4'}}"
)


def dated(second: int, logger: str, message: str, level: str = "INFO") -> str:
    """Return a line ``second`` seconds after ten o'clock."""
    clock = f"{10 + second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    return f"2026-01-01 {clock} | {level} | {logger} | {message}\n"


def start(second: int = 0, **flags: Any) -> str:
    """Return the line with the config, the first of a process."""
    values = {"seed": 1, "max_update": 100, "lr": 0.1, **flags}
    return dated(second, "fairseq_cli.train", CONFIG % values)


def inner(second: int, updates: int, epoch: int = 1, style: str = "json", **extra: Any) -> str:
    """Return a ``train_inner`` line of updates of 50 target tokens in 4 copies, 10 s each line."""
    values = {"loss": 8 - updates / 100, "ppl": "30.5", "wps": 500, "ups": 5, "wpb": 50}
    values |= {"bas_replicas": 4, "bas_wpb": 200, "bsz": 3, "num_updates": updates, "lr": 0.1}
    values |= {"gnorm": 1.5, "replica_std": 0.1, **extra, "train_wall": 10, "wall": second}
    text = {key: None if value is None else str(value) for key, value in values.items()}
    if style == "json":
        message = json.dumps({"epoch": epoch, "update": 0.5, **text})
    else:
        pairs = ", ".join(f"{key}={value}" for key, value in text.items())
        message = f"epoch {epoch:03d}:     10 / 93 {pairs}"
    return dated(second, "train_inner", message)


def valid(
    second: int, updates: int, loss: float, epoch: int = 1, style: str = "json", **extra: Any
) -> str:
    """Return the line of a validation."""
    values = {"loss": loss, "nll_loss": loss - 1, "ppl": "9.5", **extra, "num_updates": updates}
    if style == "json":
        named = {f"valid_{key}": str(value) for key, value in values.items()}
        return dated(second, "valid", json.dumps({"epoch": epoch, **named}))
    pairs = " | ".join(f"{key} {value}" for key, value in values.items())
    return dated(second, "valid", f"epoch {epoch:03d} | valid on 'valid' subset | {pairs}")


def whole_run(updates: int = 100, style: str = "json", done: bool = True, **flags: Any) -> str:
    """Return the log of a run with a line every 10 updates and 10 seconds, and two validations."""
    lines = [start(**flags)]
    for count in range(10, updates + 1, 10):
        lines.append(inner(count, count, style=style))
        if count % 50 == 0:
            lines.append(valid(count, count, 8 - count / 50, style=style, bleu=count / 10))
    if done:
        lines.append(dated(updates + 5, "fairseq_cli.train", "done training in 105.0 seconds"))
    return "".join(lines)
