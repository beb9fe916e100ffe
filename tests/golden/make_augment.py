"""Makes augment.safetensors: images moved by Keras' own ImageDataGenerator.

    python make_augment.py [--out DIR]

Versions: see requirements.txt.

Every case calls `apply_transform` of the legacy ImageDataGenerator (order 1)
on a drawing as float32, 0 to 255, with parameters that are given below or
drawn by its own `get_random_transform`. Nothing is rescaled afterwards.

Names:

    x/<h>x<w>                   uint8 [h,w,3], the drawing
    <mode>/<h>x<w>/<k>/params   float64 [11]: theta (degrees), tx, ty (pixels),
                                shear (degrees), zx, zy, flip_horizontal,
                                flip_vertical, channel_shift_intensity,
                                brightness (NaN where there is none), cval
    <mode>/<h>x<w>/<k>/matrix   float64 [6]: what scipy was given, rows of the
                                matrix each with its offset; all NaN where
                                Keras moved nothing
    <mode>/<h>x<w>/<k>/y        float32 [h,w,3]
"""

import argparse
import os

import common
import drawings
import numpy as np
import scipy.ndimage
from keras.src.legacy.preprocessing import image

MODES = ["nearest", "reflect", "wrap", "constant"]
SIZES = [(17, 11), (16, 16), (13, 24)]
CVAL = 77.0
NAMES = ["theta", "tx", "ty", "shear", "zx", "zy", "flip_horizontal", "flip_vertical",
         "channel_shift_intensity", "brightness"]

# theta, tx, ty, shear, zx, zy, flips, channel shift, brightness
GIVEN = [
    (33.0, 4.1, -3.2, 0.15, 0.85, 1.17, 0, 0, None, None),
    (-170.5, 19.7, -30.1, 25.0, 1.9, 0.55, 1, 0, None, None),
    (0.0, 0.4, 0.0, 0.0, 1.0, 1.0, 0, 1, -31.7, 1.37),
    (12.5, 0.0, 2.25, -40.0, 1.3, 1.3, 1, 1, 90.25, 0.6),
    (0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1, 0, 25.0, 1.0),
]


def generator(mode):
    """The book's ranges, and the two that it leaves out."""
    return image.ImageDataGenerator(
        rotation_range=40, width_shift_range=0.2, height_shift_range=0.2, shear_range=0.2,
        zoom_range=0.2, channel_shift_range=30.0, brightness_range=(0.5, 1.5),
        horizontal_flip=True, vertical_flip=True, fill_mode=mode, cval=CVAL)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default=common.HERE)
    out = parser.parse_args().out

    seen = []
    real = scipy.ndimage.interpolation.affine_transform

    def watched(x, matrix, offset, **rest):
        seen.append(np.column_stack([matrix, offset]).astype(np.float64).ravel())
        return real(x, matrix, offset, **rest)

    scipy.ndimage.interpolation.affine_transform = watched

    tensors = {}
    for k, (h, w) in enumerate(SIZES):
        make = [drawings.shapes, drawings.gradient, drawings.noise][k]
        tensors[f"x/{h}x{w}"] = np.asarray(make(w, h), np.uint8)
    for mode in MODES:
        gen = generator(mode)
        for h, w in SIZES:
            x = tensors[f"x/{h}x{w}"].astype(np.float32)
            cases = [dict(zip(NAMES, given)) for given in GIVEN]
            cases += [gen.get_random_transform(x.shape, seed=seed) for seed in (1, 2)]
            for k, params in enumerate(cases):
                seen.clear()
                y = gen.apply_transform(x.copy(), params)
                values = [np.nan if params[name] is None else float(params[name]) for name in NAMES]
                name = f"{mode}/{h}x{w}/{k}"
                tensors[f"{name}/params"] = np.array(values + [CVAL], np.float64)
                tensors[f"{name}/matrix"] = seen[0] if seen else np.full(6, np.nan)
                tensors[f"{name}/y"] = common.f32(y)
    common.save_tensors(os.path.join(out, "augment.safetensors"), tensors, "make_augment.py")


if __name__ == "__main__":
    main()
