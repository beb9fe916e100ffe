"""Compares features that vgg-ft extracted with those of Keras on the same images.

    python parity.py --features FILE.safetensors --images DIR --weights W.safetensors
                     [--preprocess notebook|caffe|torch] [--size 150]
                     [--interpolation nearest|bilinear] [--round-weights]
                     [--pixels FILE.safetensors] [--max-error 1e-3]

Versions: see requirements.txt. This is for a maintainer to run by hand; no
test needs it.

FILE holds the tensor `features` [n,h,w,c], and in its metadata the key `files`:
a JSON array of n paths relative to DIR. W holds `block1_conv1.kernel` (HWIO),
`block1_conv1.bias` and so on, in float32 or float16.

Without --pixels, Pillow decodes and resizes the files. Our JPEG decoder may
differ from Pillow's by a few grey levels, and that shows in the features. To
compare the network alone, give the pixels that the engine decoded: --pixels
names a file with the u8 tensor `images` [n,h,w,3], in the order of `files`.
With both --pixels and --images, the difference of the pixels is printed too.

Prints the relative Frobenius error over all images and the worst image. Ends
with status 1 if the error over all is above --max-error.
"""

import argparse
import json
import os
import sys

import common
import keras
import numpy as np
from common import f32
from make_vgg import model, preprocess
from safetensors import safe_open


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--features", required=True, help="what vgg-ft extracted")
    p.add_argument("--images", help="folder that the paths of the features are relative to")
    p.add_argument("--weights", required=True, help="VGG16 without top, safetensors")
    p.add_argument("--preprocess", choices=["notebook", "caffe", "torch"], default="notebook")
    p.add_argument("--size", type=int, default=150, help="width and height")
    p.add_argument("--interpolation", choices=["nearest", "bilinear"], default="nearest")
    p.add_argument("--round-weights", action="store_true", help="round the weights to float16 first")
    p.add_argument("--pixels", help="decoded pixels to use in place of the files")
    p.add_argument("--batch", type=int, default=20)
    p.add_argument("--max-error", type=float, default=1e-3)
    args = p.parse_args()
    if not args.images and not args.pixels:
        p.error("give --images or --pixels, or both")

    with safe_open(args.features, "np") as f:
        ours = f.get_tensor("features")
        recipe = json.loads((f.metadata() or {}).get("recipe", "null"))
    if recipe is None:
        sys.exit(f"{args.features}: the metadata has no key `recipe`")
    files = [name for name, *_ in recipe["files"]]
    if len(files) != len(ours):
        sys.exit(f"{args.features}: {len(files)} files but {len(ours)} features")

    pixels = common.load_tensors(args.pixels)["images"] if args.pixels else None
    shape = (args.size, args.size, 3)
    if pixels is not None and pixels.shape != (len(files), *shape):
        sys.exit(f"{args.pixels}: expected images {(len(files), *shape)}, found {pixels.shape}")

    weights = common.load_tensors(args.weights)
    if args.round_weights:
        weights = {k: v.astype(np.float16) for k, v in weights.items()}
    net = model({k: f32(v) for k, v in weights.items()}, shape, "float32")

    diff = norm = 0.0
    worst = (-1.0, None)
    grey_sum, grey_max = 0, 0
    for i in range(0, len(files), args.batch):
        names = files[i : i + args.batch]
        if args.images:
            load = lambda name: keras.utils.load_img(
                os.path.join(args.images, name),
                target_size=shape[:2],
                interpolation=args.interpolation,
            )
            x = np.stack([np.asarray(load(name)) for name in names])
        if pixels is not None:
            given = pixels[i : i + args.batch]
            if args.images:
                d = np.abs(given.astype(int) - x)
                grey_sum, grey_max = grey_sum + d.sum(), max(grey_max, d.max())
            x = given
        theirs = np.asarray(net(f32(preprocess(args.preprocess, x.astype(np.float64))))[1])
        mine = ours[i : i + args.batch]
        if mine.shape != theirs.shape:
            sys.exit(f"{args.features}: features are {mine.shape[1:]}, Keras has {theirs.shape[1:]}")
        for name, a, b in zip(names, mine.astype(np.float64), theirs.astype(np.float64)):
            d, n = np.sum((a - b) ** 2), np.sum(b**2)
            diff, norm = diff + d, norm + n
            # A black image may have features of zero, and so no relative error.
            error = float(np.sqrt(d / n)) if n else float(d > 0)
            # `not <=` also catches a NaN.
            if not error <= worst[0]:
                worst = (error, name)
        print(f"\r{i + len(names)} of {len(files)} images", end="", file=sys.stderr)
    print(file=sys.stderr)

    if pixels is not None and args.images:
        mean = grey_sum / pixels.size
        print(f"pixels against Pillow's: mean difference {mean:.4f}, largest {grey_max}")
    error = np.sqrt(diff / norm)
    print(f"relative Frobenius error over {len(files)} images: {error:.2e}")
    print(f"worst image: {worst[0]:.2e}  {worst[1]}")
    sys.exit(0 if error <= args.max_error else 1)


if __name__ == "__main__":
    main()
