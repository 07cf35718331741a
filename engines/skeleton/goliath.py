"""The 308 joints of Goliath, as Sapiens gives them: body, feet, fingers and 240 points of face, eyes and ears.

The order is that of the publication's 344 points without the 36 of the teeth (220 to 255). It begins as COCO's does and
leaves it at the wrists, which follow each hand. A finger is listed from its tip. Points of the face keep their number
among the 344, a pair that of its left point; what is left and right there is as published (by name), and the points of
the lips are published without a side.
"""

_BODY = "nose *eye *ear *shoulder *elbow *hip *knee *ankle"
_FEET = ("big_toe", "small_toe", "heel")
_ARMS = "*olecranon *cubital_fossa *acromion"
_FIRST_FACE, _TEETH, _END = 69, range(220, 256), 344


def _sided(text: str) -> list[str]:
    out: list[str] = []
    for word in text.split():
        out += [f"left_{word[1:]}", f"right_{word[1:]}"] if word[0] == "*" else [word]
    return out


def _pairs() -> dict[int, int]:
    """Right point → left point of the face, by their numbers among the 344."""
    lash, lash_r, lid, lid_r = "ioc216543", "ioc123456", "o625c413", "o314c526"
    crease, crease_r = lid[1:], lid_r[1:]
    pairs = {78 + i: 87 + i for i in range(9)}  # eyebrows
    for left, right, ours, theirs in (
        (96, 120, lash, lash_r),
        (105, 129, lid, lid_r),
        (113, 137, crease, crease_r),
        (144, 161, lash, lash_r),
        (153, 170, lid, lid_r),
    ):
        pairs |= {right + theirs.index(point): left + ours.index(point) for point in ours}
    pairs |= {180: 181, 182: 185, 183: 186, 184: 187, 188: 189, 204: 205}  # nose, nostrils, corners of the mouth
    pairs |= {282 + i: 256 + i for i in range(26)} | {307: 265, 291: 281}  # ears, and the two that changed places
    return pairs | {317 + i: 308 + i for i in range(9)} | {335 + i: 326 + i for i in range(9)}  # irises, pupils


def joints() -> list[str]:
    """The names in the order of the network."""
    hands = [
        [f"{side}_hand_{4 * finger + 4 - i}" for finger in range(5) for i in range(4)] + [f"{side}_wrist"]
        for side in ("right", "left")
    ]
    feet = [f"{side}_{name}" for side in ("left", "right") for name in _FEET]
    left = _pairs()
    sides = {r: f"right_face_{n}" for r, n in left.items()} | {n: f"left_face_{n}" for n in left.values()}
    face = [sides.get(i, f"face_{i}") for i in range(_FIRST_FACE, _END) if i not in _TEETH]
    return [*_sided(_BODY), *feet, *hands[0], *hands[1], *_sided(_ARMS), *face]


def tree() -> str:
    """Parents beyond those of body and feet, in the words of ``tables``."""
    fingers = " ".join(f"*hand_{i}<{'*wrist' if i % 4 == 1 else f'*hand_{i - 1}'}" for i in range(1, 21))
    face = " ".join(f"{name}<nose" for name in joints() if "face_" in name)
    return f"*olecranon<*elbow *cubital_fossa<*elbow *acromion<*shoulder {fingers} {face}"
