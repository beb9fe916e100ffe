"""Writes optimizers.safetensors: five steps of every rule as Keras 3 and PyTorch take them, in float64.

Gradients, first weights and numbers of the rules are float32 (the rules' are powers of two and their sums,
so that nothing is rounded on the way); AdamW's betas are Keras' defaults. Names say what a variant adds:

    keras/NAME/w, torch/NAME/w     the weights after each step, (5, 12), rounded to float32 once
    w0, grads                      (12), (10, 12): variants take the first five gradients, "accumulated" the
                                   sum of two at each step

Needs keras, jax and torch (any build) instead of TensorFlow: `pip install keras jax torch safetensors`.
"""

import argparse
import os

import common

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_ENABLE_X64"] = "1"

import jax
import keras
import numpy as np
import torch

RATE, RHO, MOMENTUM, EPSILON, DECAY = 2.0**-6, 0.875, 0.75, 2.0**-20, 0.25
STEPS = 5


def with_keras():
    """Name and optimizer."""
    o = keras.optimizers
    yield "sgd", o.SGD(RATE)
    yield "sgd_momentum", o.SGD(RATE, momentum=MOMENTUM)
    yield "sgd_nesterov", o.SGD(RATE, momentum=MOMENTUM, nesterov=True)
    yield "sgd_decay", o.SGD(RATE, momentum=MOMENTUM, weight_decay=DECAY)
    yield "sgd_accumulated", o.SGD(RATE, momentum=MOMENTUM, gradient_accumulation_steps=2)
    rmsprop = dict(learning_rate=RATE, rho=RHO, epsilon=EPSILON)
    yield "rmsprop", o.RMSprop(**rmsprop)
    yield "rmsprop_momentum", o.RMSprop(**rmsprop, momentum=MOMENTUM)
    yield "rmsprop_centered", o.RMSprop(**rmsprop, centered=True)
    yield "rmsprop_all", o.RMSprop(**rmsprop, momentum=MOMENTUM, centered=True, weight_decay=DECAY)
    yield "adam", o.Adam(RATE, epsilon=EPSILON)
    yield "adamw", o.AdamW(RATE, epsilon=EPSILON, weight_decay=DECAY)


def with_torch(w):
    """Name and optimizer of the parameters `w()`."""
    o = torch.optim
    yield "sgd", o.SGD(w(), RATE)
    yield "sgd_momentum", o.SGD(w(), RATE, momentum=MOMENTUM)
    yield "sgd_nesterov", o.SGD(w(), RATE, momentum=MOMENTUM, nesterov=True)
    yield "sgd_l2", o.SGD(w(), RATE, momentum=MOMENTUM, weight_decay=DECAY)
    rmsprop = dict(lr=RATE, alpha=RHO, eps=EPSILON)
    yield "rmsprop", o.RMSprop(w(), **rmsprop)
    yield "rmsprop_momentum", o.RMSprop(w(), **rmsprop, momentum=MOMENTUM)
    yield "rmsprop_centered", o.RMSprop(w(), **rmsprop, centered=True)
    yield "rmsprop_all", o.RMSprop(w(), **rmsprop, momentum=MOMENTUM, centered=True, weight_decay=DECAY)
    yield "adam", o.AdamW(w(), RATE, eps=EPSILON, weight_decay=0.0)
    yield "adamw", o.AdamW(w(), RATE, eps=EPSILON, weight_decay=DECAY)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--out", default=common.HERE, help="folder to write to")
    args = p.parse_args()
    keras.config.set_floatx("float64")
    rng = np.random.default_rng(7)
    w0 = common.f32(rng.uniform(-1, 1, 12))
    grads = common.f32(rng.normal(size=(2 * STEPS, 12)) * 10.0 ** rng.integers(-4, 2, 12))
    grads[:, 3] = 0.0                                # never learns
    grads[:3, 5] = 0.0                               # learns late
    out = dict(w0=w0, grads=grads)

    for name, opt in with_keras():
        var = keras.Variable(w0.astype(np.float64), name="w")
        opt.build([var])
        at_once = 2 if name.endswith("accumulated") else 1
        rows = []
        for step in range(STEPS):
            for g in grads[step * at_once : (step + 1) * at_once]:
                opt.apply([keras.ops.convert_to_tensor(g.astype(np.float64))])
            assert np.asarray(var.value).dtype == np.float64
            rows.append(common.f32(var.value))
        out[f"keras/{name}/w"] = np.stack(rows)

    made = []

    def fresh():
        made.append(torch.tensor(w0.astype(np.float64), requires_grad=True))
        return [made[-1]]

    for name, opt in with_torch(fresh):
        w, rows = made[-1], []
        for g in grads[:STEPS]:
            w.grad = torch.tensor(g.astype(np.float64))
            opt.step()
            rows.append(common.f32(w.detach().numpy()))
        out[f"torch/{name}/w"] = np.stack(rows)

    torch_version = torch.__version__.split("+")[0]
    common.tool = lambda: f"keras {keras.__version__}, jax {jax.__version__}, torch {torch_version}"
    common.save_tensors(os.path.join(args.out, "optimizers.safetensors"), out, "make_optimizers.py")


if __name__ == "__main__":
    main()
