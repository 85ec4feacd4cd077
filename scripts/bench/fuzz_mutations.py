"""Damage done to text and files, the same for the same seed."""

import random
from collections.abc import Sequence

WORDS = (
    *("", "0", "-1", "-0.0", "1e400", "1e-400", "nan", "inf", "-inf", "0x10", "1_000", "٣", "²"),
    *("9" * 30, "9" * 400, "9" * 5000, "None", "True", "[]", "1/0", "none", "@", "=", ":", ",,"),
    *("x", "kt", "\x00", "\n", "\t", " ", "ü", "\ud800", "'", '"', "%s", "{}", "$HOME", "--", "("),
    *("(" * 300, "__import__('os').getpid()", "../../x", "e", "u", "s", "0e", "1@0", "1x@0,1x@0"),
)


def mutate_text(text: str, generator: random.Random) -> str:
    """Change a text in one to three places: letters, parts between marks, or whole words.

    Args:
        text: a correct one.
        generator: decides.
    """
    for _ in range(generator.choice((1, 1, 1, 2, 3))):
        place = generator.randrange(len(text) + 1)
        kind = generator.randrange(6)
        if kind == 0:
            text = text[:place] + generator.choice(WORDS) + text[place:]
        elif kind == 1:
            text = text[:place] + text[place + generator.randint(1, 4) :]
        elif kind == 2:
            text = text[:place] + chr(generator.randrange(32, 127)) + text[place + 1 :]
        elif kind == 3:
            text = _replace_part(text, generator)
        elif kind == 4:
            text = _swap_parts(text, generator)
        else:
            start = generator.randrange(len(text) + 1)
            text = text[:place] + text[start:]
    return text


def _replace_part(text: str, generator: random.Random) -> str:
    mark = generator.choice(",:=@")
    parts = text.split(mark)
    parts[generator.randrange(len(parts))] = generator.choice(WORDS)
    return mark.join(parts)


def _swap_parts(text: str, generator: random.Random) -> str:
    parts = text.split(",")
    first, second = (generator.randrange(len(parts)) for _ in range(2))
    parts[first], parts[second] = parts[second], parts[first]
    if generator.random() < 0.5:
        parts.append(generator.choice(parts))
    return ",".join(parts)


def mutate_bytes(content: bytes, generator: random.Random, head: int = 64) -> bytes:
    """Damage a file: cut it, flip, overwrite, move, repeat or insert bytes, near its start or not.

    Args:
        content: a correct one.
        generator: decides.
        head: half of the damage is done in so many bytes at the start.
    """
    damaged = bytearray(content)
    for _ in range(generator.choice((1, 1, 1, 2, 3))):
        size = len(damaged)
        limit = min(size, head) if generator.random() < 0.5 else size
        place = generator.randrange(limit + 1)
        kind = generator.randrange(7)
        if kind == 0:
            del damaged[generator.randrange(size + 1) :]
        elif kind == 1 and size:
            damaged[min(place, size - 1)] ^= 1 << generator.randrange(8)
        elif kind == 2:
            width = generator.choice((1, 2, 4, 8))
            value = generator.choice((0, 255, 127, 128, generator.randrange(256)))
            damaged[place : place + width] = bytes([value]) * min(width, size - place)
        elif kind == 3:
            damaged[place:place] = generator.randbytes(generator.randint(1, 40))
        elif kind == 4:
            del damaged[place : place + generator.randint(1, 40)]
        elif kind == 5:
            width = generator.randint(1, 40)
            start = generator.randrange(size + 1)
            damaged[place : place + width] = damaged[start : start + width]
        else:
            number = generator.choice((0, 1, -1, 2**31 - 1, -(2**31), 2**62, 10**6))
            width = 8 if not -(2**31) <= number < 2**31 or generator.random() < 0.5 else 4
            raw = number.to_bytes(width, "little", signed=True)
            damaged[place : place + width] = raw
    return bytes(damaged)


def pick(choices: Sequence[str], generator: random.Random) -> str:
    """Return one of some correct texts, changed, or rarely another text altogether."""
    if generator.random() < 0.05:
        return "".join(generator.choice(WORDS) for _ in range(generator.randint(0, 3)))
    return mutate_text(generator.choice(choices), generator)
