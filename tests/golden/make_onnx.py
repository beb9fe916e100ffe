"""Makes weights/onnx/*: one small VGG as ONNX, by every exporter that people use.

    python make_onnx.py tensorflow [--out DIR]    tf2onnx of Keras 3 and of tf_keras, and truth.safetensors
    python make_onnx.py torch [--out DIR]         PyTorch's two exporters, and Keras 3's on PyTorch

Versions. tensorflow: requirements.txt with tf_keras 2.21.0, tf2onnx 1.17.0, onnx 1.23.2, onnxruntime 1.32.0.
torch: torch 2.15.0, onnxscript 0.7.2, onnx 1.23.2, onnxruntime 1.32.0, keras 3.15.1. Python 3.11 for both.

The network reads pictures of 8x12: conv1 (4 filters), pool, conv2 (5), pool, flatten to 30, dense1 (8), ReLU,
dropout, dense2 (3). No two sizes are the same, so that no axis can be taken for another. Where a name says
`norm`, a batch normalisation (epsilon 0.001) stands after each convolution.

truth.safetensors holds the weights that all exporters were given, in Keras' layouts: kernels HWIO and in x out,
the rows of dense1 in the order H, W, C. `folded/` is what is left of convolution and normalisation when an
exporter puts them together, computed in float64 and rounded once.

Each file is run by ONNX Runtime, and what comes out is compared with the same network computed in float64 from
the truth; so the truth is that of the file, and not of what we think an exporter does.

    torch-script*      torch.onnx.export(dynamo=False); `inputs`: opset 9, initializers as inputs; `folded`:
                       normalisation put into the convolutions; `f16`: half precision
    torch-dynamo*      dynamo=True; `beside`: external data; `norm`: optimize=False; `bf16`
    keras*             Keras 3's model.export(format="onnx") on TensorFlow, or on PyTorch (keras-torch)
    tf2onnx*           tf2onnx.convert.from_keras of tf_keras; `nchw`: inputs_as_nchw
    keras-means        Keras 3, its classifier on global means
    not-*              no VGG, or none that may be read: averages, a residual connection, in training
"""

import argparse
import os
import sys

import common
import numpy as np

SIZES = {"conv1": (3, 3, 3, 4), "conv2": (3, 3, 4, 5), "dense1": (30, 8), "dense2": (8, 3)}
EPSILON = 1e-3


def truth():
    """The tensors of truth.safetensors."""
    rng = np.random.default_rng(7)
    out = {}
    for name, shape in SIZES.items():
        out[f"{name}.kernel"] = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[:-1]))
        out[f"{name}.bias"] = rng.standard_normal(shape[-1]) * 0.1
        if len(shape) == 4:
            for what, middle, width in [("scale", 1, 0.5), ("offset", 0, 0.2), ("mean", 0, 0.2), ("variance", 1, 0.5)]:
                out[f"{name}.{what}"] = middle + width * rng.uniform(-1, 1, shape[-1])
    out = {name: common.f32(values) for name, values in out.items()}
    for name in ("conv1", "conv2"):
        of = {what: out[f"{name}.{what}"].astype(np.float64) for what in ("scale", "offset", "mean", "variance")}
        factor = of["scale"] / np.sqrt(of["variance"] + EPSILON)
        out[f"folded/{name}.kernel"] = common.f32(out[f"{name}.kernel"] * factor)
        out[f"folded/{name}.bias"] = common.f32((out[f"{name}.bias"] - of["mean"]) * factor + of["offset"])
    return out


def forward(x, weights, norm, softmax):
    """The network in float64. `x` is NHWC."""
    w = {name: values.astype(np.float64) for name, values in weights.items()}
    for name in ("conv1", "conv2"):
        prefix = "folded/" if norm else ""
        kernel, bias = w[f"{prefix}{name}.kernel"], w[f"{prefix}{name}.bias"]
        n, height, width, _ = x.shape
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        y = sum(
            padded[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3)
        )
        y = np.maximum(y + bias, 0)
        x = y.reshape(n, height // 2, 2, width // 2, 2, -1).max((2, 4))
    x = np.maximum(x.reshape(len(x), -1) @ w["dense1.kernel"] + w["dense1.bias"], 0)
    x = x @ w["dense2.kernel"] + w["dense2.bias"]
    if softmax:
        x = np.exp(x - x.max(1, keepdims=True))
        x /= x.sum(1, keepdims=True)
    return x


def check(path, *, norm=False, softmax=False, nchw=False, scale=1.0, limit=1e-6):
    """Runs the file, and compares. `scale` is what the file itself multiplies pictures by."""
    import onnx
    import onnxruntime

    text = open(path, "rb").read()
    for word in (b"/home", b"/root", b"/tmp", b"/usr", os.getcwd().encode(), sys.prefix.encode()):
        assert word not in text, f"{path} names {word}"
    session = onnxruntime.InferenceSession(path)
    (about,) = session.get_inputs()
    x = np.random.default_rng(8).uniform(0, 1, (1, 8, 12, 3))
    fed = np.transpose(x, (0, 3, 1, 2)) if nchw else x
    kind = np.float16 if "float16" in about.type else np.float32
    (got,) = session.run(None, {about.name: (fed / scale).astype(kind)})
    error = common.relative_error(got, forward(x, truth(), norm, softmax))
    operations = [node.op_type for node in onnx.load(path, load_external_data=False).graph.node]
    print(f"{os.path.basename(path)}: {os.path.getsize(path)} bytes, error {error:.1e}")
    print("    " + " ".join(operations))
    assert error < limit, error


def keras_net(keras, norm=False, scale=1.0, average=False):
    """The network with the weights of `truth`, in Keras 3 or tf_keras."""
    layers, weights = keras.layers, truth()
    x = picture = keras.Input((8, 12, 3), name="picture")
    if scale != 1:
        x = layers.Rescaling(scale)(x)
    for number, filters in ((1, 4), (2, 5)):
        activation = None if norm else "relu"
        x = layers.Conv2D(filters, 3, padding="same", activation=activation, name=f"conv{number}")(x)
        if norm:
            x = layers.BatchNormalization(epsilon=EPSILON, name=f"norm{number}")(x)
            x = layers.Activation("relu", name=f"relu{number}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{number}")(x)
    if average:
        x = layers.GlobalAveragePooling2D(name="average")(x)
    else:
        x = layers.Flatten(name="flatten")(x)
        x = layers.Dense(8, activation="relu", name="dense1")(x)
        x = layers.Dropout(0.5, name="dropout")(x)
    x = layers.Dense(3, activation="softmax", name="dense2")(x)
    net = keras.Model(picture, x, name="vgg")
    net(np.zeros((1, 8, 12, 3), np.float32))
    if average:
        return net
    for layer in net.layers:
        if layer.name in SIZES:
            layer.set_weights([weights[f"{layer.name}.{what}"] for what in ("kernel", "bias")])
        elif layer.name.startswith("norm"):
            name = layer.name.replace("norm", "conv")
            layer.set_weights([weights[f"{name}.{what}"] for what in ("scale", "offset", "mean", "variance")])
    return net


def by_tensorflow(at):
    import keras
    import tensorflow as tf
    import tf2onnx
    import tf_keras

    common.save_tensors(at("truth.safetensors"), truth(), "make_onnx.py")

    def export(name, **how):
        keras.backend.clear_session()
        keras_net(keras, **how).export(at(name), format="onnx", verbose=False)
        return at(name)

    check(export("keras.onnx"), softmax=True)
    check(export("keras-norm.onnx", norm=True), softmax=True, norm=True)
    check(export("keras-pixels.onnx", scale=1 / 255), softmax=True, scale=1 / 255)
    export("keras-means.onnx", average=True)

    def convert(name, nchw=False, **how):
        tf_keras.backend.clear_session()
        spec = [tf.TensorSpec((None, 8, 12, 3), tf.float32, name="picture")]
        inputs = ["picture"] if nchw else None
        net = keras_net(tf_keras, **how)
        tf2onnx.convert.from_keras(net, spec, opset=13, output_path=at(name), inputs_as_nchw=inputs)
        return at(name)

    check(convert("tf2onnx.onnx"), softmax=True)
    check(convert("tf2onnx-norm.onnx", norm=True), softmax=True, norm=True)
    check(convert("tf2onnx-nchw.onnx", nchw=True), softmax=True, nchw=True)


def torch_net(norm=False, residual=False):
    """The network with the weights of `truth`, built as torchvision builds VGG."""
    import torch
    from torch import nn

    class Residual(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return x + self.inner(x)

    class Vgg(nn.Module):
        def __init__(self):
            super().__init__()
            features = []
            for inputs, filters in ((3, 4), (4, 5)):
                features.append(nn.Conv2d(inputs, filters, 3, padding=1))
                if norm:
                    features.append(nn.BatchNorm2d(filters, eps=EPSILON))
                features += [nn.ReLU(inplace=True), nn.MaxPool2d(2, 2)]
            if residual:
                features.append(Residual(nn.Sequential(nn.Conv2d(5, 5, 3, padding=1), nn.ReLU())))
            self.features = nn.Sequential(*features)
            self.avgpool = nn.AdaptiveAvgPool2d((2, 3))
            self.classifier = nn.Sequential(nn.Linear(30, 8), nn.ReLU(True), nn.Dropout(), nn.Linear(8, 3))

        def forward(self, x):
            x = self.avgpool(self.features(x))
            return self.classifier(torch.flatten(x, 1))

    torch.manual_seed(1)
    net, weights = Vgg(), truth()
    tensor = lambda values: nn.Parameter(torch.from_numpy(np.ascontiguousarray(values)), requires_grad=False)
    layers = [m for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    if not residual:
        for name, layer in zip(SIZES, layers, strict=True):
            kernel = weights[f"{name}.kernel"]
            if name == "dense1":
                kernel = kernel.reshape(2, 3, 5, 8).transpose(2, 0, 1, 3).reshape(30, 8)
            layer.weight = tensor(kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T)
            layer.bias = tensor(weights[f"{name}.bias"])
    for name, layer in zip(SIZES, [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]):
        layer.weight, layer.bias = tensor(weights[f"{name}.scale"]), tensor(weights[f"{name}.offset"])
        layer.running_mean.copy_(torch.from_numpy(weights[f"{name}.mean"]))
        layer.running_var.copy_(torch.from_numpy(weights[f"{name}.variance"]))
    return net.eval()


def by_torch(at):
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    import torch

    mode = torch.onnx.TrainingMode
    size = (2, 3, 8, 12)

    def script(name, net, size=size, kind=torch.float32, **how):
        how = {"input_names": ["picture"], "dynamic_axes": {"picture": {0: "n"}}, "opset_version": 17, **how}
        torch.onnx.export(net.to(kind), (torch.zeros(size, dtype=kind),), at(name), dynamo=False, **how)
        return at(name)

    plain = {"training": mode.PRESERVE, "do_constant_folding": False}
    check(script("torch-script.onnx", torch_net()), nchw=True)
    inputs = {"opset_version": 9, "keep_initializers_as_inputs": True}
    check(script("torch-script-inputs.onnx", torch_net(), **inputs), nchw=True)
    check(script("torch-script-norm.onnx", torch_net(norm=True), **plain), nchw=True, norm=True)
    check(script("torch-script-folded.onnx", torch_net(norm=True)), nchw=True, norm=True)
    check(script("torch-script-f16.onnx", torch_net(), kind=torch.float16), nchw=True, limit=1e-2)
    training = {**plain, "training": mode.TRAINING}
    script("not-inference.onnx", torch_net(norm=True).train(), **training)
    script("not-identity.onnx", torch_net(), size=(1, 3, 16, 24), dynamic_axes=None)
    script("not-chain.onnx", torch_net(residual=True))

    def dynamo(name, net, kind=torch.float32, beside=False, **how):
        how = {"dynamic_shapes": ({0: torch.export.Dim("n")},), "verbose": False, **how}
        program = torch.onnx.export(net.to(kind), (torch.zeros(size, dtype=kind),), dynamo=True, **how)
        for node in program.model.graph:
            # Paths of this machine.
            node.metadata_props.pop("pkg.torch.onnx.stack_trace", None)
        program.save(at(name), external_data=beside)
        return at(name)

    check(dynamo("torch-dynamo.onnx", torch_net()), nchw=True)
    check(dynamo("torch-dynamo-beside.onnx", torch_net(), beside=True), nchw=True)
    check(dynamo("torch-dynamo-norm.onnx", torch_net(norm=True), optimize=False), nchw=True, norm=True)
    # ONNX Runtime has no convolution of bf16 on the CPU.
    dynamo("torch-dynamo-bf16.onnx", torch_net(), kind=torch.bfloat16)

    keras_net(keras).export(at("keras-torch.onnx"), format="onnx", verbose=False)
    check(at("keras-torch.onnx"), softmax=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("by", choices=["tensorflow", "torch"])
    p.add_argument("--out", default=os.path.join(common.HERE, "weights", "onnx"), help="folder to write to")
    args = p.parse_args()
    os.makedirs(args.out, exist_ok=True)
    at = lambda name: os.path.join(args.out, name)
    by_tensorflow(at) if args.by == "tensorflow" else by_torch(at)


if __name__ == "__main__":
    main()
