"""Makes training.safetensors: ten training steps of a tiny VGG, by Keras.

    python make_training.py [--out DIR]

Versions: see requirements.txt.

The model takes 16x16x3 and has the layers block1_conv1 (8), block1_conv2 (8),
block1_pool, block2_conv1 (16), block2_conv2 (16), block2_pool, flatten,
dense (12, relu), dense_1 (1, sigmoid). Convolutions are 3x3, same, relu. It
starts from Glorot uniform kernels and zero biases, and trains with Keras'
RMSprop(1e-3) and binary cross-entropy on ten stored batches of six, in order.

Four runs, each from the same start:

    frozen     only dense and dense_1 are trainable
    block2     block2_conv1 and all after it
    all        everything
    softmax    as frozen, but dense_1 has 3 classes, softmax, and the loss is
               sparse categorical cross-entropy on `labels`

Names:

    x [10,6,16,16,3], targets [10,6], labels int32 [10,6]
    init/<layer>/{kernel,bias}, softmax/init/dense_1/{kernel,bias}
    <run>/losses [10]                   of each batch, before its update
    <run>/final/<layer>/{kernel,bias}   all layers, the frozen ones too

Keras computes in float64 from these float32 weights, and the result is
rounded to float32 once. The script also runs in float32, to show what a
correct float32 engine may differ by (largest relative difference of a loss;
largest absolute difference of a final weight):

    frozen   losses 7e-8   weights 3e-8
    block2   losses 1e-7   weights 4e-8
    all      losses 1e-7   weights 4e-8
    softmax  losses 1e-7   weights 4e-8

With the TensorFlow backend the loss is computed from the logits, not from
clipped probabilities. The script checks that.
"""

import argparse
import os

import common
import keras
import numpy as np
from common import f32
from keras import layers

STEPS, BATCH = 10, 6
CONV = ["block1_conv1", "block1_conv2", "block2_conv1", "block2_conv2"]
RUNS = {  # run: (layers that train, classes)
    "frozen": (["dense", "dense_1"], 1),
    "block2": (["block2_conv1", "block2_conv2", "dense", "dense_1"], 1),
    "all": (CONV + ["dense", "dense_1"], 1),
    "softmax": (["dense", "dense_1"], 3),
}


def build(classes):
    conv = lambda name, n: layers.Conv2D(n, 3, padding="same", activation="relu", name=name)
    return keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            conv("block1_conv1", 8),
            conv("block1_conv2", 8),
            layers.MaxPooling2D(2, 2, name="block1_pool"),
            conv("block2_conv1", 16),
            conv("block2_conv2", 16),
            layers.MaxPooling2D(2, 2, name="block2_pool"),
            layers.Flatten(name="flatten"),
            layers.Dense(12, activation="relu", name="dense"),
            layers.Dense(classes, activation="sigmoid" if classes == 1 else "softmax", name="dense_1"),
        ]
    )


def loss_name(classes):
    return "binary_crossentropy" if classes == 1 else "sparse_categorical_crossentropy"


def start(classes):
    """Float32 start weights. The seed of a layer is its place in the list."""
    out = {}
    for seed, layer in enumerate(layer for layer in build(classes).layers if layer.weights):
        shape = layer.kernel.shape
        kernel = keras.initializers.GlorotUniform(seed=seed)(shape, dtype="float32")
        out[layer.name] = [f32(kernel), np.zeros(shape[-1], np.float32)]
    return out


def train(dtype, classes, trainable, weights, x, y):
    """Returns the losses and the final weights of every layer."""
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    net = build(classes)
    for layer in net.layers:
        layer.trainable = layer.name in trainable
        if layer.name in weights:
            layer.set_weights(weights[layer.name])
            assert layer.compute_dtype == dtype
    # Without XLA, whose order of summation may change with the machine.
    net.compile(keras.optimizers.RMSprop(1e-3), loss_name(classes), jit_compile=False)
    losses = []
    for xb, yb in zip(x, y):
        net.reset_metrics()  # else train_on_batch returns the mean of all so far
        losses.append(net.train_on_batch(xb.astype(dtype), yb[:, None]))
    final = {layer.name: layer.get_weights() for layer in net.layers if layer.weights}
    for name in final:
        if name not in trainable:
            assert all(np.array_equal(a, b) for a, b in zip(final[name], weights[name]))
    return np.array(losses, np.float64), final


def check_logits(classes):
    """A sure and wrong answer costs 100 from the logits, but 16 if clipped."""
    net = build(classes)
    net.layers[-1].set_weights([w * 0 for w in net.layers[-1].get_weights()])
    net.layers[-1].bias.assign([100.0] + [0.0] * (classes - 1))
    net.compile(loss=loss_name(classes), jit_compile=False)
    wrong = 0 if classes == 1 else 1
    loss = net.train_on_batch(np.zeros((1, 16, 16, 3)), np.array([[wrong]]))
    print(f"{loss_name(classes)} at a logit of 100: {loss:.2f}")
    assert abs(loss - 100) < 1e-3


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--out", default=common.HERE, help="folder to write to")
    args = p.parse_args()
    for classes in (1, 3):
        check_logits(classes)

    rng = np.random.default_rng(7)
    x = f32(rng.random((STEPS, BATCH, 16, 16, 3)))
    targets = f32(rng.integers(0, 2, (STEPS, BATCH)))
    labels = rng.integers(0, 3, (STEPS, BATCH)).astype(np.int32)
    # A little of the answer in the image, so that the loss has a way down.
    x[..., 0] *= f32(0.5 + 0.5 * targets)[..., None, None]
    x[..., 1] *= f32(0.5 + 0.25 * labels)[..., None, None]

    out = dict(x=x, targets=targets, labels=labels)
    for run, (trainable, classes) in RUNS.items():
        weights = start(classes)
        for name, pair in weights.items():
            prefix = "init" if classes == 1 else "softmax/init"
            if classes == 1 or name == "dense_1":
                out[f"{prefix}/{name}/kernel"], out[f"{prefix}/{name}/bias"] = pair
            else:  # the rest is the same
                assert np.array_equal(out[f"init/{name}/kernel"], pair[0])
        y = targets if classes == 1 else labels
        losses, final = train("float64", classes, trainable, weights, x, y)
        low_losses, low_final = train("float32", classes, trainable, weights, x, y)
        out[f"{run}/losses"] = f32(losses)
        for name, pair in final.items():
            out[f"{run}/final/{name}/kernel"], out[f"{run}/final/{name}/bias"] = map(f32, pair)
        dl = np.abs(low_losses / losses - 1).max()
        dw = max(np.abs(a - b).max() for n in final for a, b in zip(final[n], low_final[n]))
        print(f"    {run:<8} losses {dl:.1e}   weights {dw:.1e}     {losses.round(3)}")
    common.save_tensors(os.path.join(args.out, "training.safetensors"), out, "make_training.py")


if __name__ == "__main__":
    main()
