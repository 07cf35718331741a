"""Ways to damage a file, from a seed: what disks, editors and enemies do."""

import random
from collections.abc import Iterator

NASTY = (
    b"NaN",
    b"-1",
    b"1e999",
    b"9" * 5000,
    b"null",
    b"[]",
    b"{}",
    b'""',
    b"true",
    b"\x00",
    b"\xff\xfe",
    b"0",
    b"[" * 3000,
)


def mutants(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """count damaged copies of data."""
    rng = random.Random(seed)
    for _ in range(count):
        out = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 5))):
            _damage(out, rng)
        yield bytes(out)


def _damage(out: bytearray, rng: random.Random) -> None:
    if not out:
        return
    at = rng.randrange(len(out))
    way = rng.randrange(7)
    if way == 0:
        out[at] ^= 1 << rng.randrange(8)
    elif way == 1:
        del out[at:]
    elif way == 2:
        del out[at : at + rng.randrange(1, 40)]
    elif way == 3:
        piece = out[at : at + rng.randrange(1, 200)]
        out[at:at] = piece * rng.choice((1, 3, 50))
    elif way == 4:
        out[at : at + rng.randrange(0, 8)] = rng.choice(NASTY)
    elif way == 5:  # a number becomes another thing
        digits = [i for i, c in enumerate(out) if chr(c).isdigit()]
        if digits:
            i = rng.choice(digits)
            out[i : i + 1] = rng.choice(NASTY)
    else:
        other = rng.randrange(len(out))
        out[at], out[other] = out[other], out[at]
