"""Makes weights/keras/*: small networks with VGG's names, in every layout in which Keras keeps weights.

    python make_keras_weights.py [--out DIR]

Keras 3 and tf_keras write their own files; h5py writes what no Keras of today writes (Keras 1's layout,
compressed and big-endian data, links in circles).

Every number follows from the name of its tensor and from its place in it, see `values`, and is exact in
f16 and bf16. `.keras` archives hold the date, so their bytes differ from run to run.

Versions: keras 3.15.1 and tf_keras 2.21.0 on tensorflow-cpu 2.21.0, h5py 3.14.0, numpy 2.4.6.
"""

import argparse
import os

import common
import h5py
import keras
import numpy as np
import tf_keras
from keras.src.legacy.saving import legacy_h5_format

PARTS = {
    "Conv2D": ["kernel", "bias"],
    "Dense": ["kernel", "bias"],
    "BatchNormalization": ["gamma", "beta", "moving_mean", "moving_variance"],
}


def values(name, shape):
    """The tensor `name`, `block1_conv1.kernel`: (37 i + the name's number) mod 251, from -125/64 to 125/64."""
    number = sum((at + 1) * byte for at, byte in enumerate(name.encode()))
    i = np.arange(int(np.prod(shape)), dtype=np.int64)
    return (((i * 37 + number) % 251 - 125) / 64).astype(np.float32).reshape(shape)


def fill(model):
    for layer in model.layers:
        if hasattr(layer, "layers"):
            fill(layer)
        parts = PARTS.get(type(layer).__name__, [])
        if parts:
            layer.set_weights([values(f"{layer.name}.{p}", w.shape) for p, w in zip(parts, layer.get_weights())])
    return model


def base(k, blocks, filters, side):
    """VGG16's convolutions: `blocks` counts those of each block."""
    x = image = k.layers.Input((side, side, 3), name="input_1")
    for b, count in enumerate(blocks, 1):
        for c in range(1, count + 1):
            x = k.layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"block{b}_conv{c}")(x)
        x = k.layers.MaxPooling2D(2, name=f"block{b}_pool")(x)
    return image, x


def flat(k):
    k.backend.clear_session()
    image, x = base(k, [2, 1], 4, 8)
    x = k.layers.Flatten(name="flatten")(x)
    x = k.layers.Dense(5, activation="relu", name="fc1")(x)
    x = k.layers.Dense(3, activation="softmax", name="predictions")(x)
    return fill(k.Model(image, x, name="vgg"))


def nested(k, blocks, trained=False):
    """The book's model around a base; the base's first layer is frozen, so its weights are listed last."""
    k.backend.clear_session()
    k.utils.set_random_seed(1)
    side = 2 ** len(blocks) * 2
    image, x = base(k, blocks, 2, side)
    inner = k.Model(image, x, name="vgg16")
    inner.layers[1].trainable = False
    model = k.Sequential(
        [
            k.layers.Rescaling(1 / 127.5, offset=-1.0, input_shape=(side, side, 3)),
            inner,
            k.layers.Flatten(),
            k.layers.Dense(4, activation="relu"),
            k.layers.BatchNormalization(),
            k.layers.Dropout(0.5),
            k.layers.Dense(1, activation="sigmoid"),
        ]
    )
    if trained:
        model.compile(k.optimizers.RMSprop(1e-4), "binary_crossentropy")
        model.train_on_batch(np.ones((2, side, side, 3)), np.ones((2, 1)))
    return fill(model)


def pair(k):
    """A VGG11 of few filters whose two classes have an output each; kernels a quarter, lest ReLUs overflow a softmax."""
    k.backend.clear_session()
    image, x = base(k, [1, 1, 2, 2, 2], 4, 32)
    x = k.layers.Flatten(name="flatten")(x)
    x = k.layers.Dense(5, activation="relu", name="fc1")(x)
    model = fill(k.Model(image, k.layers.Dense(2, activation="softmax", name="predictions")(x), name="vgg"))
    for layer in model.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel / 4, bias])
    return model


def pixels():
    """Two images of 32 x 32, (37 i) mod 256 and (101 i) mod 256, divided by 255."""
    i = np.arange(32 * 32 * 3, dtype=np.int64)
    return np.stack([(i * step % 256).reshape(32, 32, 3) for step in (37, 101)]).astype(np.float32) / 255


def half(k):
    k.backend.clear_session()
    layer = k.layers.Dense(3, dtype="bfloat16", name="dense")
    return fill(k.Sequential([k.layers.Input((4,)), layer]))


def legacy(path, model, limit=None):
    """What `save_weights("x.h5")` was before Keras 3; lists of names over `limit` bytes are split."""
    kept = legacy_h5_format.HDF5_OBJECT_HEADER_LIMIT
    legacy_h5_format.HDF5_OBJECT_HEADER_LIMIT = limit or kept
    with h5py.File(path, "w") as f:
        legacy_h5_format.save_weights_to_hdf5_group(f, model)
    legacy_h5_format.HDF5_OBJECT_HEADER_LIMIT = kept


def fixed(texts):
    """Text of fixed length, as numpy keeps it; without any, h5py makes an empty list of f64 of it."""
    return np.array([text.encode() for text in texts], dtype="S") if texts else []


def keras1(path, layers, turn=lambda x: x):
    """The files of 2016: fixed-length names, `block1_conv1_W_1:0`, no version."""
    with h5py.File(path, "w") as f:
        f.attrs["layer_names"] = fixed([name for name, _ in layers])
        for name, shape in layers:
            group = f.create_group(name)
            parts = {"kernel": "W", "bias": "b"} if shape else {}
            names = [f"{name}_{short}_1:0" for short in parts.values()]
            group.attrs["weight_names"] = fixed(names)
            for part, weight in zip(parts, names):
                size = shape if part == "kernel" else shape[-1:]
                value = values(f"{name}.{part}", size)
                group.create_dataset(weight, data=turn(value) if part == "kernel" else value)


def storage(path, libver):
    """Every way to keep an array, each as the kernel of the layer that is called after it."""
    shape = (3, 3, 3, 5)
    ways = {
        "plain": {},
        "half": {"dtype": "<f2"},
        "double": {"dtype": "<f8"},
        "big": {"dtype": ">f4"},
        "big_half": {"dtype": ">f2"},
        "big_double": {"dtype": ">f8"},
        "chunked": {"chunks": (2, 2, 3, 2)},
        "packed": {"chunks": (2, 3, 2, 3), "compression": "gzip", "shuffle": True},
        "packed_big": {"chunks": (3, 3, 3, 5), "compression": "gzip", "dtype": ">f4"},
        "lzf": {"chunks": (3, 3, 3, 2), "compression": "lzf"},
        "summed": {"chunks": (3, 3, 3, 5), "fletcher32": True},
        "growing": {"chunks": (3, 3, 3, 2), "maxshape": (3, 3, 3, None), "compression": "gzip"},
    }
    with h5py.File(path, "w", libver=libver) as f:
        names = [*ways, "compact", "brain", "integers"]
        f.attrs["layer_names"] = names
        for name in names:
            group = f.create_group(name)
            group.attrs["weight_names"] = [f"{name}/kernel:0"]
            data = values(f"{name}.kernel", shape)
            if name in ways:
                group.create_dataset(f"{name}/kernel:0", data=data.astype(ways[name].get("dtype", "<f4")),
                                     **{k: v for k, v in ways[name].items() if k != "dtype"})
            elif name == "integers":
                group.create_dataset(f"{name}/kernel:0", data=np.arange(-3, 9, dtype="<i4").reshape(3, 4))
            else:
                inner = group.create_group(name)
                how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
                how.set_obj_track_times(False)
                kind = h5py.h5t.IEEE_F32LE.copy()
                if name == "compact":
                    how.set_layout(h5py.h5d.COMPACT)
                else:
                    # HDF5 2's own bfloat16; Keras keeps its as two opaque bytes.
                    kind.set_fields(15, 7, 8, 0, 7)
                    kind.set_size(2)
                    kind.set_ebias(127)
                space = h5py.h5s.create_simple(shape)
                made = h5py.h5d.create(inner.id, b"kernel:0", kind, space, how)
                made.write(h5py.h5s.ALL, h5py.h5s.ALL, data)


def strings(path):
    """["kernel", "für"], in every form that an attribute can have; only ASCII where a form has no more."""
    with h5py.File(path, "w") as f:
        f.attrs["vlen_utf8"] = ["kernel", "für"]
        f.attrs["vlen_ascii"] = np.array([b"kernel", b"fur"], dtype=h5py.string_dtype("ascii"))
        f.attrs["vlen_scalar"] = "kernel"
        f.attrs["fixed_scalar"] = np.bytes_(b"kernel")
        f.attrs["numpy"] = fixed(["kernel", "fur"])
        f.attrs["empty"] = []
        f.attrs["empty_vlen"] = np.array([], dtype=h5py.string_dtype())
        f.attrs["null"] = h5py.Empty(h5py.string_dtype())
        f.attrs["one"] = ["kernel"]
        for rule in ["NULLTERM", "NULLPAD", "SPACEPAD"]:
            for charset in ["ASCII", "UTF8"]:
                kind = h5py.h5t.C_S1.copy()
                kind.set_size(9)
                kind.set_strpad(getattr(h5py.h5t, f"STR_{rule}"))
                kind.set_cset(getattr(h5py.h5t, f"CSET_{charset}"))
                fill = b" " if rule == "SPACEPAD" else b"\0"
                text = "für" if charset == "UTF8" else "fur"
                data = np.array([t.encode().ljust(9, fill) for t in ["kernel", text]], dtype="S9")
                name = f"{rule}_{charset}".lower().encode()
                made = h5py.h5a.create(f.id, name, kind, h5py.h5s.create_simple((2,)))
                made.write(data, mtype=kind)


def links(path):
    """Groups that contain themselves and each other, and links that lead nowhere."""
    with h5py.File(path, "w") as f:
        a, b = f.create_group("layers/a"), f.create_group("layers/b")
        for group in [a, b]:
            for at in range(4):
                group[f"a{at}"], group[f"b{at}"] = a, b
        a["up"] = f["/"]
    with h5py.File(path.replace(".h5", "_soft.h5"), "w") as f:
        f.attrs["layer_names"] = ["dense"]
        group = f.create_group("dense")
        group.attrs["weight_names"] = ["kernel:0", "bias:0"]
        group["kernel:0"] = h5py.SoftLink("/dense/kernel:0")
        group["bias:0"] = h5py.ExternalLink("other.h5", "/bias")


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--out", default=os.path.join(common.HERE, "weights", "keras"), help="folder to write to")
    out = p.parse_args().out
    os.makedirs(out, exist_ok=True)
    at = lambda name: os.path.join(out, name)

    flat(tf_keras).save_weights(at("tf_flat_weights.h5"))
    nested(tf_keras, [2, 1]).save_weights(at("tf_nested_weights.h5"))
    nested(tf_keras, [2, 1], trained=True).save(at("tf_nested.h5"))
    nested(tf_keras, [2, 1]).save_weights(at("tf_nested.weights.h5"))
    nested(tf_keras, [2, 1]).save(at("tf_nested.keras"))

    legacy(at("flat_weights.h5"), flat(keras))
    legacy(at("split_weights.h5"), flat(keras), limit=64)
    legacy(at("nested_weights.h5"), nested(keras, [2, 1]))
    flat(keras).save(at("flat.h5"))
    nested(keras, [2, 1], trained=True).save(at("nested.h5"))
    flat(keras).save_weights(at("flat.weights.h5"))
    nested(keras, [2, 2, 3, 3, 3], trained=True).save_weights(at("nested.weights.h5"))
    flat(keras).save(at("flat.keras"))
    nested(keras, [2, 2, 3, 3, 3]).save(at("nested.keras"))
    pair(keras).save(at("pair.keras"))
    # These are in tests/weights/formats.rs.
    print("pair.keras predicts", pair(keras).predict(pixels(), verbose=0).tolist())
    half(keras).save_weights(at("bfloat16.weights.h5"))

    convs = [("block1_conv1", (3, 3, 3, 4)), ("block1_conv2", (3, 3, 4, 4)), ("block1_pool", None)]
    keras1(at("keras1.h5"), [*convs, ("flatten", None), ("fc1", (24, 5))])
    keras1(at("theano.h5"), convs, turn=lambda kernel: kernel.transpose(3, 2, 0, 1))
    storage(at("storage.h5"), "earliest")
    storage(at("latest.h5"), "latest")
    strings(at("strings.h5"))
    links(at("links.h5"))
    with h5py.File(at("foreign.h5"), "w") as f:
        f.create_dataset("data/images", data=np.zeros((2, 3), dtype="<f4"))
        f.create_group("labels")
    with h5py.File(at("unwritten.h5"), "w") as f:
        f.attrs["layer_names"] = ["dense"]
        f.create_group("dense").attrs["weight_names"] = ["dense/kernel:0"]
        f.create_dataset("dense/dense/kernel:0", (4, 3), dtype="<f4")

    for name in sorted(os.listdir(out)):
        print(f"{name}: {os.path.getsize(at(name))} bytes")


if __name__ == "__main__":
    main()
