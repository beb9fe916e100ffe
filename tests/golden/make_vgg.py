"""Makes vgg16_features.safetensors and inputs/*.png: VGG16 features by Keras.

    python make_vgg.py --weights vgg16_imagenet_notop.safetensors [--out DIR]

Versions: see requirements.txt. The weights are the 26 float32 tensors of
Keras' ImageNet VGG16 without its top, named like `block1_conv1.kernel` (HWIO)
and `block1_conv1.bias`. They are not in this folder.

The inputs are drawings (drawings.py): four of 150x150, one 97 high and 64
wide. The stored tensors are the output of block5_pool, NHWC:

    <f32|f16>/notebook/150      [4,4,4,512]   x/255, RGB
    <f32|f16>/caffe/150         [4,4,4,512]   keras.applications.vgg16.preprocess_input
    <f32|f16>/torch/150         [4,4,4,512]   x/255, less the mean, over the deviation
    <f32|f16>/notebook/97x64    [1,3,2,512]
    f16/notebook/150/block4_pool  [1,9,9,512]   of the first image only, for its size

The batch order is the sorted order of the names inputs/150_*.png. `f32` means
the weights as they are; `f16` means rounded to float16 and widened again.

Everything is computed in float64 and rounded to float32 once. TensorFlow's own
float32 result was compared with that, as relative Frobenius error:

               notebook  caffe    torch    notebook/97x64
    f32        1.7e-7    3.3e-7   2.0e-7   2.6e-7
    f16        1.5e-7    4.6e-7   2.1e-7   2.0e-7

Rounding the weights to float16 itself moves the features far more: 2.8e-4,
5.6e-4, 3.2e-4 and 2.9e-4.

So an engine that sums in float32 should come out near 5e-7, and 1e-5 is a
comfortable limit for a test.
"""

import argparse
import os

import common
import keras
import numpy as np
import drawings
from common import f32
from PIL import Image

INPUTS = {
    "150_0_shapes": lambda: drawings.shapes(150, 150, seed=11),
    "150_1_gradient": lambda: drawings.gradient(150, 150),
    "150_2_stripes": lambda: drawings.stripes(150, 150),
    "150_3_noise": lambda: drawings.noise(150, 150),
    "97x64_shapes": lambda: drawings.shapes(64, 97, seed=12),
}
TORCH_MEAN, TORCH_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def preprocess(name, x):
    """`x` is float64 RGB, 0 to 255."""
    if name == "notebook":
        return x / 255
    if name == "caffe":  # works in place, hence the copy
        return keras.applications.vgg16.preprocess_input(x.copy())
    if name == "torch":
        return (x / 255 - TORCH_MEAN) / TORCH_STD
    raise ValueError(name)


def model(weights, shape, dtype):
    """VGG16 without top, and with block4_pool as a second output."""
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    net = keras.applications.VGG16(include_top=False, weights=None, input_shape=shape)
    for layer in net.layers:
        if layer.weights:
            layer.set_weights([weights[f"{layer.name}.{k}"] for k in ("kernel", "bias")])
            assert layer.compute_dtype == dtype
    return keras.Model(net.input, [net.get_layer("block4_pool").output, net.output])


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--weights", required=True, help="vgg16_imagenet_notop.safetensors")
    p.add_argument("--out", default=common.HERE, help="folder to write to")
    args = p.parse_args()

    os.makedirs(os.path.join(args.out, "inputs"), exist_ok=True)
    pixels = {}
    for name, draw in INPUTS.items():
        path = os.path.join(args.out, "inputs", name + ".png")
        draw().save(path, optimize=True)
        pixels[name] = np.asarray(Image.open(path), np.float64)
    batches = {
        "150": np.stack([pixels[n] for n in sorted(pixels) if n.startswith("150")]),
        "97x64": pixels["97x64_shapes"][None],
    }

    weights = {"f32": common.load_tensors(args.weights)}
    weights["f16"] = {k: f32(v.astype(np.float16)) for k, v in weights["f32"].items()}

    out = {}
    for size, batch in batches.items():
        for kind in weights:
            nets = {d: model(weights[kind], batch.shape[1:], d) for d in ("float64", "float32")}
            for prep in ["notebook", "caffe", "torch"] if size == "150" else ["notebook"]:
                x = preprocess(prep, batch)
                b4, b5 = (np.asarray(t) for t in nets["float64"](x))
                _, low = nets["float32"](f32(x))
                assert b5.dtype == np.float64 and low.dtype == "float32"
                key = f"{kind}/{prep}/{size}"
                out[key] = f32(b5)
                print(f"    {key:<20} {common.relative_error(low, b5):.1e}")
                if key == "f16/notebook/150":
                    out[key + "/block4_pool"] = f32(b4[:1])
    for k in [k for k in out if k.startswith("f32/")]:
        e = common.relative_error(out[k.replace("f32", "f16")], out[k])
        print(f"float16 weights against float32, {k[4:]}: {e:.1e}")
    common.save_tensors(os.path.join(args.out, "vgg16_features.safetensors"), out, "make_vgg.py")


if __name__ == "__main__":
    main()
