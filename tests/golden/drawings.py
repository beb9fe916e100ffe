"""Small drawings made from a seed: the only images in this folder.

They are ours, so the folder holds no photograph of anybody. Every function
takes a size (w, h) and returns an RGB image. They are kept simple enough for
PNG to pack them well.
"""

import numpy as np
from PIL import Image, ImageDraw


def _grid(w, h):
    y, x = np.mgrid[0:h, 0:w]
    return x / max(w - 1, 1), y / max(h - 1, 1)


def _image(channels):
    a = np.stack(channels, -1)
    return Image.fromarray(np.clip(np.rint(a), 0, 255).astype(np.uint8))


def gradient(w, h):
    """Red grows to the right, green downwards, blue towards the middle."""
    x, y = _grid(w, h)
    return _image([255 * x, 255 * y, 255 - 340 * np.hypot(x - 0.5, y - 0.5)])


def shapes(w, h, seed=1, n=14):
    """Filled ellipses, boxes and triangles in loud colours."""
    rng = np.random.default_rng(seed)
    im = Image.new("RGB", (w, h), (40, 90, 160))
    d = ImageDraw.Draw(im)
    for i in range(n):
        color = tuple(int(v) for v in rng.integers(0, 256, 3))
        cx, cy = rng.random(2) * (w, h)
        rx, ry = (0.08 + 0.2 * rng.random(2)) * (w, h)
        box = [cx - rx, cy - ry, cx + rx, cy + ry]
        if i % 3 == 0:
            d.ellipse(box, fill=color)
        elif i % 3 == 1:
            d.rectangle(box, fill=color)
        else:
            d.polygon([(cx, cy - ry), (cx - rx, cy + ry), (cx + rx, cy + ry)], fill=color)
    return im


def stripes(w, h):
    """Slanted waves, another direction and length for each colour."""
    y, x = np.mgrid[0:h, 0:w]
    wave = lambda a, b: 127.5 + 127.5 * np.sin(2 * np.pi * (a * x + b * y))
    # Few levels, so that it packs.
    c = [wave(1 / 20, 1 / 40), wave(-1 / 30, 1 / 15), wave(0, 1 / 50)]
    return _image([np.rint(v / 51) * 51 for v in c])


def noise(w, h, seed=2):
    """Blocks of random colour under a fine grey noise."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (-(-h // 15), -(-w // 15), 3))
    a = np.kron(blocks, np.ones((15, 15, 1), int))[:h, :w]
    a = a + rng.integers(-4, 5, (h, w, 1)) * 8
    return _image([a[..., i] for i in range(3)])
