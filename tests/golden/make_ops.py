"""Makes ops.safetensors: forward and gradient of every op, by Keras.

    python make_ops.py [--out DIR]

Versions: see requirements.txt.

Each op gets random float32 inputs and a random upstream gradient `dy`. Keras
computes in float64 on the CPU (the inputs are widened, which is exact) and the
results are rounded to float32 once. So a golden value is within half a unit in
the last place of the true one, and the whole error in a test is ours. The
gradients come from tf.GradientTape.

RMSprop is the one exception: it runs in float32, because its state is kept
in float32 from step to step and the rounding of `w` in each step belongs to
the result. The script checks it against the formula in float64.

Names:
    conv2d/<n>x<h>x<w>x<cin>x<cout>/<linear|relu>/{x,w,b,y,dy,dx,dw,db}
    dense/<batch>x<in>x<out>/<linear|relu>/{x,w,b,y,dy,dx,dw,db}
    maxpool2d/<n>x<h>x<w>x<c>/{x,y,dy,dx}
    global_avgpool2d/<n>x<h>x<w>x<c>/{x,y,dy,dx}
    bce/{logits,targets,loss,dlogits}           logits and targets are [n]
    softmax_ce/{logits,labels,loss,dlogits}     labels are int32
    rmsprop/<lr2e-5|lr1e-3>/{w0,grads,w,velocity}

Images are NHWC, convolution kernels HWIO, dense kernels [in,out]. Losses are
the mean over the batch, in a tensor of shape [1]; `dlogits` is the gradient of
that mean.

The largest convolution stores relu only, to keep the file small.
"""

import argparse
import os

import common
import keras
import numpy as np
import tensorflow as tf
from common import f32

CONV = [
    (1, 5, 7, 3, 4),
    (2, 9, 9, 8, 16),
    (2, 17, 16, 16, 33),
    (1, 1, 1, 5, 3),
    (1, 16, 15, 64, 64),
]
DENSE = [(1, 7, 5), (20, 64, 33)]
POOL = [(1, 4, 4, 3), (2, 9, 9, 8), (1, 5, 7, 4)]
GLOBAL_POOL = [(3, 1, 1, 5), (2, 4, 4, 16), (1, 5, 7, 3)]


def wide(a):
    return tf.constant(np.asarray(a, np.float64))


def layer_case(rng, make, x_shape, w_shape):
    """Runs one Keras layer with kernel and bias, and its gradient."""
    fan_in = int(np.prod(w_shape[:-1]))
    x = f32(rng.standard_normal(x_shape))
    w = f32(rng.standard_normal(w_shape) * np.sqrt(2 / fan_in))
    b = f32(rng.standard_normal(w_shape[-1]) * 0.1)
    layer = make()
    layer.build(x_shape)
    layer.set_weights([w, b])
    with tf.GradientTape() as tape:
        xt = wide(x)
        tape.watch(xt)
        y = layer(xt)
    dy = f32(rng.standard_normal(y.shape))
    dx, dw, db = tape.gradient(y, [xt, *(v.value for v in layer.weights)], wide(dy))
    assert dx.dtype == dw.dtype == tf.float64
    return dict(x=x, w=w, b=b, y=f32(y), dy=dy, dx=f32(dx), dw=f32(dw), db=f32(db))


def conv2d(rng, out):
    for n, h, w, cin, cout in CONV:
        for act in ["relu"] if cin == 64 else ["linear", "relu"]:
            make = lambda: keras.layers.Conv2D(
                cout, 3, padding="same", activation=act, dtype="float64"
            )
            case = layer_case(rng, make, (n, h, w, cin), (3, 3, cin, cout))
            for k, v in case.items():
                out[f"conv2d/{n}x{h}x{w}x{cin}x{cout}/{act}/{k}"] = v


def dense(rng, out):
    for n, i, o in DENSE:
        for act in ["linear", "relu"]:
            make = lambda: keras.layers.Dense(o, activation=act, dtype="float64")
            for k, v in layer_case(rng, make, (n, i), (i, o)).items():
                out[f"dense/{n}x{i}x{o}/{act}/{k}"] = v


def maxpool2d(rng, out):
    """Integers from -2 to 0: many ties, and windows where all are negative.

    TensorFlow on the CPU gives the whole gradient to one winner, the first of
    the window in row-major order. The script checks that rule here.
    """
    for n, h, w, c in POOL:
        x = f32(rng.integers(-2, 1, (n, h, w, c)))
        layer = keras.layers.MaxPooling2D(2, 2, padding="valid", dtype="float64")
        with tf.GradientTape() as tape:
            xt = wide(x)
            tape.watch(xt)
            y = layer(xt)
        dy = f32(rng.standard_normal(y.shape))
        dx = f32(tape.gradient(y, xt, wide(dy)))
        first, ties = np.zeros_like(x), 0
        for i, oh, ow, k in np.ndindex(*y.shape):
            win = x[i, 2 * oh : 2 * oh + 2, 2 * ow : 2 * ow + 2, k].ravel()
            ties += np.sum(win == win.max()) > 1
            a = int(np.argmax(win))  # numpy's argmax is the first one
            first[i, 2 * oh + a // 2, 2 * ow + a % 2, k] += dy[i, oh, ow, k]
        assert np.array_equal(dx, first), "the tie rule is not 'first in row-major order'"
        # The engine works in float32, so make sure that TF there does the same.
        with tf.GradientTape() as tape:
            xt = tf.constant(x)
            tape.watch(xt)
            y32 = tf.nn.max_pool2d(xt, 2, 2, "VALID")
        assert np.array_equal(tape.gradient(y32, xt, tf.constant(dy)), dx)
        print(f"maxpool2d {n}x{h}x{w}x{c}: {ties} of {dy.size} windows tie, first wins")
        for k, v in dict(x=x, y=f32(y), dy=dy, dx=dx).items():
            out[f"maxpool2d/{n}x{h}x{w}x{c}/{k}"] = v


def global_avgpool2d(rng, out):
    for n, h, w, c in GLOBAL_POOL:
        x = f32(rng.standard_normal((n, h, w, c)))
        layer = keras.layers.GlobalAveragePooling2D(dtype="float64")
        with tf.GradientTape() as tape:
            xt = wide(x)
            tape.watch(xt)
            y = layer(xt)
        dy = f32(rng.standard_normal(y.shape))
        dx = f32(tape.gradient(y, xt, wide(dy)))
        for k, v in dict(x=x, y=f32(y), dy=dy, dx=dx).items():
            out[f"global_avgpool2d/{n}x{h}x{w}x{c}/{k}"] = v


def bce(out):
    """Sigmoid and binary cross-entropy in one, from logits: nothing is clipped."""
    values = [0, 1e-4, 0.5, 1, 3, 10, 30, 100, -1e-4, -0.5, -1, -3, -10, -30, -100]
    logits = f32(values + values)
    targets = f32([0] * len(values) + [1] * len(values))
    loss_fn = keras.losses.BinaryCrossentropy(from_logits=True, dtype="float64")
    with tf.GradientTape() as tape:
        z = wide(logits[:, None])
        tape.watch(z)
        loss = loss_fn(wide(targets[:, None]), z)
    assert loss.dtype == tf.float64
    out["bce/logits"], out["bce/targets"] = logits, targets
    out["bce/loss"] = f32([loss])
    out["bce/dlogits"] = f32(tape.gradient(loss, z))[:, 0]


def softmax_ce(rng, out):
    logits = f32(rng.standard_normal((7, 5)) * 2)
    logits[1] = 0
    logits[2] = [100, -100, 30, -30, 0]
    logits[3] = [1000, 999, 0, -1000, 1000]  # overflows without subtracting the row's maximum
    logits[4] = [-100, -100, -100, -100, -99]
    labels = np.array([0, 1, 2, 1, 4, 3, 2], np.int32)
    loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float64")
    with tf.GradientTape() as tape:
        z = wide(logits)
        tape.watch(z)
        loss = loss_fn(labels, z)
    assert loss.dtype == tf.float64
    out["softmax_ce/logits"], out["softmax_ce/labels"] = logits, labels
    out["softmax_ce/loss"] = f32([loss])
    out["softmax_ce/dlogits"] = f32(tape.gradient(loss, z))


def rmsprop(rng, out):
    grads = f32(rng.standard_normal((6, 10)))
    grads[:, 0] = 0
    grads[:, 1] = 1e-5
    grads[:, 2] = 1e-8  # so small that epsilon decides the step
    grads[:, 3] = 1e3
    grads[:, 4] = [1e3, 0, 0, 1e-5, 0, -1e3]
    grads[:, 5] = [0, 0, -1e-5, 1e-8, 1e3, 0]
    w0 = f32(rng.standard_normal(10))
    for name, lr, opt in [
        ("lr2e-5", 2e-5, keras.optimizers.RMSprop(learning_rate=2e-5)),
        ("lr1e-3", 1e-3, keras.optimizers.RMSprop(1e-3, rho=0.9, epsilon=1e-7)),
    ]:
        var = keras.Variable(w0, name="w")
        opt.build([var])
        (vel,) = [v for v in opt.variables if v.path.endswith("velocity")]
        ws, vs = [], []
        w64, v64 = w0.astype(np.float64), np.zeros(10)
        for g in grads:
            opt.apply([tf.constant(g)])
            ws.append(f32(var.value))
            vs.append(f32(vel.value))
            v64 = 0.9 * v64 + 0.1 * g.astype(np.float64) ** 2
            w64 -= lr * g / np.sqrt(v64 + 1e-7)  # epsilon inside the root
        print(
            f"rmsprop {name}: largest difference from the formula in float64:",
            f"w {np.abs(ws[-1] - w64).max():.1e},",
            f"velocity {np.nanmax(np.abs(vs[-1] - v64) / np.where(v64, v64, np.nan)):.1e} (relative)",
        )
        case = dict(w0=w0, grads=grads, w=np.stack(ws), velocity=np.stack(vs))
        for k, v in case.items():
            out[f"rmsprop/{name}/{k}"] = v.copy()


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--out", default=common.HERE, help="folder to write to")
    args = p.parse_args()
    out = {}
    # One seed per op: a new case in one does not change the others.
    conv2d(np.random.default_rng(1), out)
    dense(np.random.default_rng(2), out)
    maxpool2d(np.random.default_rng(3), out)
    global_avgpool2d(np.random.default_rng(6), out)
    bce(out)
    softmax_ce(np.random.default_rng(4), out)
    rmsprop(np.random.default_rng(5), out)
    common.save_tensors(os.path.join(args.out, "ops.safetensors"), out, "make_ops.py")


if __name__ == "__main__":
    main()
