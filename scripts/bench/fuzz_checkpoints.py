"""Cases of checkpoints: damaged bytes, members and pickles, and good files of another content."""

import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from fairseq import checkpoint_utils
from fuzz_files import Material, damage
from fuzz_mutations import mutate_bytes
from fuzz_outcome import Wrong

from fairseq_bas.tool.check_checkpoint import check_checkpoint


def checkpoint_case(material: Material, seed: int) -> Callable[[], None]:
    """Return a case of a damaged checkpoint: bytes, members of the archive, or its pickle."""
    generator = random.Random(f"checkpoint {seed}")
    path = material.work / "checkpoint_fuzz.pt"
    way = generator.randrange(4)
    if way == 0:
        damage(material.checkpoint, path, generator)
    elif way == 1:
        _rewrite(material.checkpoint, path, generator, _shuffle_members)
    elif way == 2:
        _rewrite(material.checkpoint, path, generator, _edit_pickle)
    else:
        _other_content(path, generator)
    return lambda: _load_checkpoint(path)


def _rewrite(
    source: Path,
    target: Path,
    generator: random.Random,
    change: Callable[[dict[str, bytes], random.Random], None],
) -> None:
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members, generator)
    way = generator.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(target, "w", way) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _shuffle_members(members: dict[str, bytes], generator: random.Random) -> None:
    first, second = (generator.choice(list(members)) for _ in range(2))
    way = generator.randrange(4)
    if way == 0:
        members[first], members[second] = members[second], members[first]
    elif way == 1:
        del members[first]
    elif way == 2:
        members[first] = members[first][: len(members[first]) // 2]
    else:
        members[first] = bytes(generator.choice((0, 1 << 20)))


def _edit_pickle(members: dict[str, bytes], generator: random.Random) -> None:
    [name] = [name for name in members if name.endswith("data.pkl")]
    content = members[name]
    bombs = (
        b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
        b"\x80\x02" + b"(" * 50_000 + b"t" * 50_000 + b".",
        b"\x80\x02cbuiltins\nbytearray\n\x8a\x06\x00\x00\x00\x00\x00\x7f\x85R.",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
        b"\x8a\x05\x00\x00\x00\x00\x7f\x85U\x01b\x87R.",
        b"\x80\x02}q\x00(" + b"K\x01h\x00" * 1000 + b"u.",
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f}.",
    )
    if generator.random() < 0.2:
        members[name] = generator.choice(bombs)
    elif generator.random() < 0.3:
        words = [b"model", b"cfg", b"args", b"optimizer_history", b"extra_state", b"_name"]
        members[name] = content.replace(generator.choice(words), b"x")
    else:
        members[name] = mutate_bytes(content, generator, head=len(content))


def _other_content(path: Path, generator: random.Random) -> None:
    """Write a good archive that is no checkpoint of fairseq."""
    weights = {"w": torch.ones(2)}
    nested: Any = 1
    for _ in range(400):
        nested = [nested]
    contents: list[Any] = [
        *(weights, [], 3, None, {"model": None}, {"model": weights, "cfg": 7}, {"model": weights}),
        *({"model": weights, "args": nested}, {"model": weights, "optimizer_history": []}),
        *({"model": weights, "cfg": {"model": None}, "extra_state": 1}, nested),
        {"model": weights, "args": None, "cfg": None, "optimizer_history": [{}]},
        {"model": {"w": torch.tensor(float("nan"))}, "extra_state": {"train_iterator": 5}},
    ]
    if generator.random() < 0.2:
        path.write_bytes(pickle.dumps(generator.choice((7, [1], {"a": 2}))))
    else:
        old = generator.random() < 0.3
        torch.save(generator.choice(contents), path, _use_new_zipfile_serialization=not old)


def _load_checkpoint(path: Path) -> None:
    """Check a file, which must not fail, and load it as every command of fairseq does."""
    section = check_checkpoint(str(path), [{"en": 24, "de": 24}])
    state = checkpoint_utils.load_checkpoint_to_cpu(str(path))
    if not isinstance(state, dict):
        raise Wrong("what was loaded is no state")
    if any("cannot be loaded" in found.sentence for found in section.findings):
        raise Wrong(f"only the check refuses it: {section.findings}")
