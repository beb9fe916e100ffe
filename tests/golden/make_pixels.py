"""Makes pixels/: what Pillow and Keras make of image files.

    python make_pixels.py [--out DIR]

Versions: see requirements.txt. Pillow must be 11.3 or older, because newer
ones choose the order of the two BILINEAR passes by cost.

    pixels/sources/    drawings in many formats and modes
    pixels/expected/   the RGB pixels of each, as keras.utils.load_img gives them
    pixels/resize/     results of Image.resize with NEAREST and BILINEAR, and of load_img with
                       keep_aspect_ratio=True ("crop_nearest") where they are others
    pixels/broken/     damaged files
    pixels/index.json  lists all of it

load_img(color_mode="rgb") is Image.open, then convert("RGB") unless the mode
is RGB already. It does not turn by EXIF and does not apply gamma. The RGB
results are PNGs; only those of JPEG sources need a tolerance ("exact": false).

In index.json, `size`, `from` and `to` are [width, height]. `mode` is Pillow's
mode after opening. A resize entry with "accumulated": true is one where
NEAREST differs from the closed form floor((i + 0.5) * in / out): Pillow adds
up in / out in double precision instead, starting at half of it. A broken file
with "ok": true is one that Pillow reads without a complaint, and `expected`
says what it gets.
"""

import argparse
import io
import json
import os
import re
import struct
import zlib

import common
import keras
import numpy as np
import drawings
from PIL import Image
from PIL.PngImagePlugin import PngInfo

W, H = 41, 33  # both odd, so that subsampled JPEG has half blocks

RESIZE = [  # (source drawing, from, to)
    ("ramp", (499, 374), (150, 150)),
    ("ramp", (499, 374), (224, 224)),
    ("ramp", (500, 372), (150, 150)),
    ("ramp", (320, 256), (224, 224)),
    ("ramp", (100, 187), (150, 150)),
    ("shapes", (300, 281), (150, 150)),
    ("ramp", (41, 33), (150, 150)),
    ("ramp", (41, 33), (20, 17)),
    ("ramp", (41, 33), (41, 20)),
    ("ramp", (41, 33), (20, 33)),
    ("ramp", (64, 48), (63, 47)),
    ("shapes", (320, 240), (37, 211)),
    ("ramp", (7, 5), (13, 11)),
    ("ramp", (97, 64), (1, 1)),
    ("ramp", (41, 1), (30, 1)),
    ("ramp", (1, 33), (3, 10)),
    ("ramp", (1, 1), (5, 7)),
]


def ramp(w, h):
    """Neighbouring rows and columns all differ, so a wrong index shows."""
    y, x = np.mgrid[0:h, 0:w]
    a = np.stack([x * 5 % 256, y * 7 % 256, (x + y) * 3 % 256], -1)
    return Image.fromarray(a.astype(np.uint8))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(w, h, depth, color, body, interlace=0, extra=b""):
    """A PNG by hand, for what Pillow cannot write."""
    ihdr = struct.pack(">IIBBBBB", w, h, depth, color, 0, 0, interlace)
    idat = zlib.compress(body, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + extra + chunk(b"IDAT", idat) + chunk(b"IEND", b"")


def rows(a):
    """Scan lines without a filter; 16-bit samples are big-endian."""
    a = a.astype(">u2") if a.dtype == np.uint16 else a
    return b"".join(b"\0" + row.tobytes() for row in a)


def adam7(a):
    steps = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    return b"".join(rows(a[y::dy, x::dx]) for x, y, dx, dy in steps)


def encode(im, fmt, **options):
    f = io.BytesIO()
    im.save(f, fmt, **options)
    return f.getvalue()


def sources():
    """Yields (file name, bytes, note). The stems are all different."""
    rgb = drawings.shapes(W, H, seed=21)
    smooth = drawings.gradient(W, H)
    grey = smooth.convert("L")
    # From clear on the left to solid on the right.
    alpha = Image.fromarray(np.tile(np.linspace(0, 255, W).astype(np.uint8), (H, 1)))
    rgba = rgb.copy()
    rgba.putalpha(alpha)
    la = Image.merge("LA", [grey, alpha])
    pal = rgb.quantize(16)
    assert 1 in pal.tobytes()  # the entry that is made clear below
    y, x = np.mgrid[0:H, 0:W]

    yield "mode_1.png", encode(grey.convert("1"), "PNG"), "1 bit: 0 and 255"
    yield "mode_l.png", encode(grey, "PNG"), "grey is repeated three times"
    yield "mode_l_trns.png", encode(grey, "PNG", transparency=128), "tRNS is ignored"
    yield "mode_la.png", encode(la, "PNG"), "alpha is dropped, not blended"
    yield "mode_p.png", encode(pal, "PNG"), "4-bit palette"
    yield "mode_p2.png", encode(rgb.quantize(4), "PNG", bits=2), "2-bit palette"
    yield "mode_p_trns.png", encode(pal, "PNG", transparency=1), "one clear entry: its palette colour stays"
    yield "mode_p_alpha.png", encode(pal, "PNG", transparency=bytes(range(0, 256, 16))), "alpha per entry: dropped"
    yield "mode_rgb.png", encode(rgb, "PNG"), ""
    yield "mode_rgb_trns.png", encode(rgb, "PNG", transparency=rgb.getpixel((0, 0))), "tRNS is ignored"
    yield "mode_rgba.png", encode(rgba, "PNG"), "alpha is dropped, also where it is 0"
    info = PngInfo()
    info.add(b"gAMA", struct.pack(">I", 100000))
    yield "mode_rgb_gamma.png", encode(smooth, "PNG", pnginfo=info), "gAMA is ignored"
    yield "interlaced.png", png(W, H, 8, 2, adam7(np.asarray(rgb)), interlace=1), "Adam7"

    packed = np.packbits(((x + y) % 4)[..., None] >> [1, 0] & 1, axis=-1)[..., 0] >> 6
    packed = np.pad(packed, ((0, 0), (0, -W % 4))).reshape(H, -1, 4) @ [64, 16, 4, 1]
    yield "grey_2bit.png", png(W, H, 2, 0, rows(packed.astype(np.uint8))), "values are times 85"

    low = (x * 12 + y).astype(np.uint16)  # crosses 255, where Pillow clips
    wide = (x * 1600 + y * 7).astype(np.uint16)
    yield "grey_16bit_low.png", png(W, H, 16, 0, rows(low)), "I;16: clipped at 255, not scaled"
    yield "grey_16bit.png", png(W, H, 16, 0, rows(wide)), "I;16: clipped at 255, so nearly white"
    rgb16 = np.stack([wide, (y * 1985 + x).astype(np.uint16), 65535 - wide], -1)
    yield "rgb_16bit.png", png(W, H, 16, 2, rows(rgb16)), "the high byte of each sample"
    a16 = (x * 1599).astype(np.uint16)
    yield "rgba_16bit.png", png(W, H, 16, 6, rows(np.dstack([rgb16, a16]))), "the high byte; alpha is dropped"
    yield "la_16bit.png", png(W, H, 16, 4, rows(np.dstack([wide, a16]))), "unlike I;16: the high byte; alpha is dropped"

    yield "rgb.bmp", encode(rgb, "BMP"), ""
    yield "palette.bmp", encode(rgb.quantize(200), "BMP"), ""
    yield "grey.bmp", encode(grey, "BMP"), ""
    yield "still.gif", encode(pal, "GIF"), ""
    yield "clear.gif", encode(pal, "GIF", transparency=1), "the clear entry keeps its palette colour"
    frames = [drawings.shapes(W, H, seed=s, n=4).quantize(8) for s in (31, 32, 33)]
    yield "animated.gif", encode(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50), "first frame"
    yield "lossless.webp", encode(rgb, "WEBP", lossless=True), ""
    yield "lossless_alpha.webp", encode(rgba, "WEBP", lossless=True, exact=True), "alpha is dropped"
    yield "rgb.tiff", encode(rgb, "TIFF"), ""
    yield "lzw.tiff", encode(rgb, "TIFF", compression="tiff_lzw"), ""
    yield "grey.tiff", encode(grey, "TIFF"), ""
    yield "rgb.ppm", encode(rgb, "PPM"), ""
    yield "grey.pgm", encode(grey, "PPM"), ""

    jpeg = Image.blend(smooth, rgb, 0.3)
    yield "s444.jpg", encode(jpeg, "JPEG", quality=90, subsampling="4:4:4"), ""
    yield "s422.jpg", encode(jpeg, "JPEG", quality=90, subsampling="4:2:2"), ""
    yield "s420.jpg", encode(jpeg, "JPEG", quality=90, subsampling="4:2:0"), ""
    yield "progressive.jpg", encode(jpeg, "JPEG", quality=90, progressive=True), "4:2:0"
    yield "grey.jpg", encode(grey, "JPEG", quality=90), ""
    black = Image.linear_gradient("L").resize((W, H)).point(lambda v: v // 2)
    cmyk = Image.merge("CMYK", [*jpeg.convert("CMYK").split()[:3], black])
    yield "cmyk.jpg", encode(cmyk, "JPEG", quality=90), "Adobe marker: stored inverted; R = (255-K) - C*(255-K)/255"
    exif = Image.Exif()
    exif[0x0112] = 6
    yield "exif_turn.jpg", encode(jpeg, "JPEG", quality=90, exif=exif), "orientation 6 is not applied"


def broken():
    """Yields (file name, bytes, note)."""
    im = Image.blend(drawings.gradient(W, H), drawings.shapes(W, H, seed=21), 0.3)
    jpg = encode(im, "JPEG", quality=90, subsampling="4:2:0")
    good = encode(im, "PNG")
    at = good.index(b"IDAT")
    size = struct.unpack(">I", good[at - 4 : at])[0]
    crc_at = at + 4 + size

    yield "truncated.jpg", jpg[: len(jpg) * 6 // 10], "cut in the scan"
    yield "no_eoi.jpg", jpg[:-2], "only the end marker is missing"
    yield "header_only.jpg", jpg[:120], "cut in the tables"
    yield "empty.jpg", b"", "zero bytes"
    yield "truncated.png", good[: len(good) * 6 // 10], "cut in IDAT"
    yield "no_iend.png", good[:-12], "all pixels are there, IEND is not"
    yield "text.png", b"This is not a picture.\n", ""
    yield "crc.png", good[:crc_at] + bytes([good[crc_at] ^ 1]) + good[crc_at + 1 :], "one bit of the CRC of IDAT"
    data = bytearray(good[at + 4 : crc_at])
    data[len(data) // 2] ^= 0x55
    yield "idat.png", good[: at - 4] + chunk(b"IDAT", bytes(data)) + good[crc_at + 4 :], "damaged deflate data, right CRC"
    yield "short_rows.png", png(W, H, 8, 2, rows(np.asarray(im)[:20])), "valid stream with 20 of 33 rows: the rest is black"
    text = bytearray(chunk(b"tEXt", b"Title\0x"))
    text[-1] ^= 1
    yield "crc_text.png", good[: at - 4] + bytes(text) + good[at - 4 :], "one bit of the CRC of a tEXt before IDAT"
    yield "bomb.png", png(50000, 50000, 8, 2, b""), "claims 2.5 billion pixels"
    yield "trailing.png", good + b"rubbish", "bytes after IEND"
    yield "jpeg_named.png", jpg, "a JPEG by content"


def load(path):
    """The pixels of keras.utils.load_img as a plain image, without its tRNS."""
    im = keras.utils.load_img(path)
    assert im.mode == "RGB"
    return Image.fromarray(np.asarray(im))


def nearest_index(n, m):
    """Pillow's source index of each output of NEAREST, and the closed form."""
    step = n / m
    at, acc = step * 0.5, []
    for _ in range(m):
        acc.append(int(at))
        at += step
    return acc, [int((i + 0.5) * n / m) for i in range(m)]


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--out", default=common.HERE, help="folder to write pixels/ to")
    root = os.path.join(p.parse_args().out, "pixels")
    for d in ("sources", "expected", "resize", "broken"):
        os.makedirs(os.path.join(root, d), exist_ok=True)

    def put(name, data):
        with open(os.path.join(root, name), "wb") as f:
            f.write(data)
        return name

    import PIL

    convert, resize, bad = [], [], []
    stems = set()
    for name, data, note in sources():
        stem, ext = name.rsplit(".", 1)
        # rgb.bmp and rgb.ppm share a stem.
        result = stem + ".png" if ext in ("png", "jpg") else f"{stem}_{ext}.png"
        assert result not in stems and not stems.add(result)
        path = os.path.join(root, put("sources/" + name, data))
        with Image.open(path) as im:
            mode, size = im.mode, im.size
        rgb = load(path)
        entry = dict(file="sources/" + name, mode=mode, size=size, exact=ext != "jpg")
        entry["expected"] = put("expected/" + result, encode(rgb, "PNG", optimize=True))
        convert.append(entry | ({"note": note} if note else {}))

    for kind, (w, h), (tw, th) in RESIZE:
        im = ramp(w, h) if kind == "ramp" else drawings.shapes(w, h, seed=41)
        entry = {"source": put(f"resize/{kind}_{w}x{h}.png", encode(im, "PNG", optimize=True))}
        entry |= {"from": (w, h), "to": (tw, th)}
        pairs = [nearest_index(w, tw), nearest_index(h, th)]
        entry["accumulated"] = any(a != b for a, b in pairs)
        for filt in ("NEAREST", "BILINEAR"):
            out = im.resize((tw, th), getattr(Image, filt))
            if filt == "NEAREST":
                a = np.asarray(im)[pairs[1][0]][:, pairs[0][0]]
                assert np.array_equal(a, np.asarray(out)), "Pillow's NEAREST is not as described"
            name = f"resize/{kind}_{w}x{h}_to_{tw}x{th}_{filt.lower()}.png"
            entry[filt.lower()] = put(name, encode(out, "PNG", optimize=True))
            source = os.path.join(root, entry["source"])
            try:
                cut = keras.utils.load_img(
                    source, target_size=(th, tw), interpolation=filt.lower(), keep_aspect_ratio=True
                )
            except ValueError:
                continue  # Pillow has no part of no pixels: nothing of this image has the target's shape
            if cut.tobytes() != out.tobytes():
                entry[f"crop_{filt.lower()}"] = put(name.replace(".png", "_crop.png"), encode(cut, "PNG", optimize=True))
        resize.append(entry)

    for name, data, note in broken():
        path = os.path.join(root, put("broken/" + name, data))
        entry = dict(file="broken/" + name, note=note)
        try:
            rgb = load(path)
            stem, ext = name.split(".")
            entry |= dict(ok=True, exact=data[:2] != b"\xff\xd8")
            entry["expected"] = put(f"expected/broken_{stem}_{ext}.png", encode(rgb, "PNG", optimize=True))
        except Exception as e:
            # Keras hands Pillow a BytesIO, whose address is of no interest.
            text = re.sub(r" at 0x[0-9a-f]+", "", str(e))
            entry |= dict(ok=False, error=f"{type(e).__name__}: {text}")
        bad.append({k: v for k, v in entry.items() if v != ""})

    lines = lambda es: "[\n" + ",\n".join("    " + json.dumps(e) for e in es) + "\n  ]"
    tool = f"pillow {PIL.__version__}, keras {keras.__version__}"
    head = [("tool", json.dumps(tool)), ("script", '"make_pixels.py"')]
    body = head + [("convert", lines(convert)), ("resize", lines(resize)), ("broken", lines(bad))]
    text = "{\n" + ",\n".join(f'  "{k}": {v}' for k, v in body) + "\n}\n"
    json.loads(text)
    put("index.json", text.encode())
    print(f"pixels: {len(convert)} conversions, {len(resize)} resizes, {len(bad)} broken files")


if __name__ == "__main__":
    main()
