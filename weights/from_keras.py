#!/usr/bin/env python3
"""Keras HDF5 weights -> safetensors (f32), for vgg-ft.

    pip install h5py safetensors numpy
    python weights/from_keras.py vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5 vgg16.safetensors
    vgg-ft weights convert vgg16.safetensors vgg16.f16.safetensors --dtype f16

Reads weights-only files and whole models (`model.save("x.h5")`). The order and the paths come from the
attributes `layer_names` and `weight_names`; the names inside differ between versions of Keras
(`block1_conv1_W_1:0`, `block1_conv1/kernel:0`, `block1_conv1/kernel`). Layers without weights are left
out. Tensors are named `<layer>.kernel` and `<layer>.bias`, in Keras' layouts (HWIO, in x out).
"""

import argparse
import hashlib
import sys

import h5py
import numpy as np
from safetensors.numpy import save_file

# Over the 13 x (kernel, then bias) of the ImageNet weights in order, as little-endian f32.
IMAGENET = "d9a27cc1fc7f975ef8cff49180e794ccd7c4bc868ebb49740803b3bbaa8dbefd"
METADATA = {
    "format": "keras",
    "layout": "HWIO",
    "channel-order": "BGR: input channel 0 of block1_conv1 is blue",
    "source": "K. Simonyan and A. Zisserman, Very Deep Convolutional Networks for Large-Scale Image "
    "Recognition, arXiv:1409.1556; ported by Keras (fchollet/deep-learning-models)",
    "license": "Creative Commons Attribution (CC BY), as released by the Visual Geometry Group, "
    "University of Oxford",
}


def strings(group, name):
    """An attribute of strings; one too long for HDF5 is split into name0, name1, ..."""
    if name in group.attrs:
        parts = [group.attrs[name]]
    else:
        parts = []
        while f"{name}{len(parts)}" in group.attrs:
            parts.append(group.attrs[f"{name}{len(parts)}"])
        if not parts:
            sys.exit(f"error: {group.name} has no attribute {name}: not a Keras weights file of version 1 to 3")
    return [s.decode() if isinstance(s, bytes) else str(s) for part in parts for s in part]


def read(root):
    """[(name, array)] in the order of the network."""
    out = []
    for layer in strings(root, "layer_names"):
        group = root[layer]
        paths = strings(group, "weight_names")
        # A model inside a model is one layer with the weights of many: their own names are in the paths.
        inner = [path.split("/")[-2] if "/" in path else layer for path in paths]
        nested = len(paths) > 2
        for at, (path, owner) in enumerate(zip(paths, inner)):
            array = np.asarray(group[path])
            if array.dtype != np.float32:
                sys.exit(f"error: {layer}/{path} is {array.dtype}, expected float32")
            kind = {4: "kernel", 2: "kernel", 1: "bias"}.get(array.ndim)
            if kind is None or (not nested and at != ["kernel", "bias"].index(kind)):
                sys.exit(f"error: {layer}/{path} of shape {array.shape} is neither a kernel nor a bias")
            out.append((f"{owner if nested else layer}.{kind}", array))
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("keras", help="the .h5 file")
    parser.add_argument("output", help="the .safetensors file to write")
    args = parser.parse_args()
    if not h5py.is_hdf5(args.keras):
        sys.exit(f"error: {args.keras} is not an HDF5 file")
    with h5py.File(args.keras, "r") as file:
        tensors = read(file["model_weights"] if "model_weights" in file else file)
    names = [name for name, _ in tensors]
    if len(set(names)) != len(names):
        sys.exit(f"error: two tensors have the same name: {sorted(n for n in names if names.count(n) > 1)[0]}")

    imagenet = False
    if names[:1] == ["block1_conv1.kernel"]:
        digest = hashlib.sha256()
        for _, array in [t for t in tensors if t[0].startswith("block")]:
            digest.update(np.ascontiguousarray(array, "<f4").tobytes())
        imagenet = digest.hexdigest() == IMAGENET
        print(f"sha256 of the convolutions: {digest.hexdigest()}"
              f" ({'the' if imagenet else 'NOT the'} ImageNet weights that vgg-ft ships)")
    # Only of these numbers is it known where they come from.
    keep = METADATA if imagenet else {k: METADATA[k] for k in ("format", "layout")}
    save_file({name: np.ascontiguousarray(array) for name, array in tensors}, args.output, metadata=keep)
    print(f"{args.output}: {len(tensors)} tensors, {sum(a.size for _, a in tensors)} values")


if __name__ == "__main__":
    main()
