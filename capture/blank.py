"""Pictures that show nothing: black ones, and the green that decoders give where a picture's data are missing."""

from kinecast.capture.planes import Pixels, Planes

STEP = 16  # one pixel of so many in both directions is looked at
SHARE = 0.98  # of the pixels
BLACK = 12  # no brighter than this: video's black with the noise of a codec
GREEN, NO_GREEN = 60, 30  # all-zero planes are (0, 135, 0) in BT.601 and (0, 77, 0) in BT.709


def blank(picture: Pixels) -> str:
    """``black`` or ``green`` where a picture, (H, W, 3) BGR or planes, is that and nothing else, "" for any other."""
    if isinstance(picture, Planes):
        few = picture.sparse(STEP)
    else:
        few = picture[STEP // 2 :: STEP, STEP // 2 :: STEP].reshape(-1, 3)
    if not len(few):
        return ""
    if (few.max(axis=1) <= BLACK).mean() >= SHARE:
        return "black"
    b, g, r = few.T
    return "green" if ((g >= GREEN) & (b <= NO_GREEN) & (r <= NO_GREEN)).mean() >= SHARE else ""
