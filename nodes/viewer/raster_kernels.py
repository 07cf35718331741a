"""Compiled loops of the rasteriser: triangles into a z-buffer, and the z-buffer over a picture."""

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.compiled import kernel

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]


@kernel(nogil=True, fastmath={"contract", "arcp", "reassoc"})
def fill(px: F32, near: F32, shade: F32, faces: I32, who: int, depth: F32, light: F32, owner: U8) -> None:
    """Draw one person's triangles, in place; those that are turned away, or have a corner that is not seen, are not.

    px: (V, 2) samples, NaN for a vertex that is not seen. near: (V,) 1 / depth, shade: (V,), both taken as linear over
    a triangle. faces: (F, 3), counter-clockwise from outside. depth, light, owner: (H, W) buffers of the greatest
    1 / depth, its shade, and ``who``, which must not be 0.
    """
    height, width = depth.shape
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        xa, ya, xb, yb, xc, yc = px[a, 0], px[a, 1], px[b, 0], px[b, 1], px[c, 0], px[c, 1]
        area = (xb - xa) * (yc - ya) - (xc - xa) * (yb - ya)
        if not area < -1e-6:  # y points down in a picture; also NaN
            continue
        x0, x1 = max(0, int(np.ceil(min(xa, xb, xc)))), min(width - 1, int(np.floor(max(xa, xb, xc))))
        y0, y1 = max(0, int(np.ceil(min(ya, yb, yc)))), min(height - 1, int(np.floor(max(ya, yb, yc))))
        # weights of a and b at a sample are linear in x and y
        ux, uy = (yb - yc) / area, (xc - xb) / area
        vx, vy = (yc - ya) / area, (xa - xc) / area
        zx = ux * (near[a] - near[c]) + vx * (near[b] - near[c])
        sx = ux * (shade[a] - shade[c]) + vx * (shade[b] - shade[c])
        for y in range(y0, y1 + 1):
            u = ux * (x0 - xc) + uy * (y - yc)
            v = vx * (x0 - xc) + vy * (y - yc)
            z = near[c] + u * (near[a] - near[c]) + v * (near[b] - near[c])
            s = shade[c] + u * (shade[a] - shade[c]) + v * (shade[b] - shade[c])
            for x in range(x0, x1 + 1):
                if u >= 0 and v >= 0 and u + v <= 1 and z > depth[y, x]:
                    depth[y, x], light[y, x], owner[y, x] = z, s, who
                u += ux
                v += vx
                z += zx
                s += sx


@kernel(nogil=True)
def lay(picture: U8, light: F32, owner: U8, colours: F32, finer: int) -> None:
    """Lay the z-buffer over the picture (H, W, 3), in place, each pixel the mean of its finer × finer samples.

    light, owner: (finer H, finer W). colours: (256, 4), blue green red at shade 1, and how much of it covers.
    """
    share = np.float32(1.0 / (finer * finer))
    for y in range(picture.shape[0]):
        for x in range(picture.shape[1]):
            b = g = r = cover = np.float32(0.0)
            for j in range(finer * y, finer * y + finer):
                for i in range(finer * x, finer * x + finer):
                    who = owner[j, i]
                    if who:
                        part = colours[who, 3] * share
                        shine = part * light[j, i]
                        b += shine * colours[who, 0]
                        g += shine * colours[who, 1]
                        r += shine * colours[who, 2]
                        cover += part
            if cover > 0:
                rest = 1 - cover
                picture[y, x, 0] = min(255.0, rest * picture[y, x, 0] + b)
                picture[y, x, 1] = min(255.0, rest * picture[y, x, 1] + g)
                picture[y, x, 2] = min(255.0, rest * picture[y, x, 2] + r)
