"""Files that vgg-ft wrote from one network, read by the real tools: do they compute what the first tool computed?

    python check_weights.py DIR FAMILY SOURCE FILE…

DIR/SOURCE.expected.safetensors has what the network computes (make_weights.py), DIR/pixels.safetensors the images.
FILEs are in DIR. Prints a row of a table for each; ends with 1 if a relative error is over 1e-5.
"""

import json
import os
import pathlib
import sys

os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from safetensors.numpy import load_file

LIMIT = 1e-5
folder, family, source, files = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]
pixels = load_file(folder / "pixels.safetensors")["pixels"].astype(np.float32)
(expected,) = load_file(folder / f"{source}.expected.safetensors").values()
network = source.split("-")[1]
caffe = not source.startswith("torch")


def scaled():
    if caffe:
        return np.ascontiguousarray(pixels[..., ::-1] - np.float32([103.939, 116.779, 123.68]))
    x = pixels / np.float32(255)
    return (x - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def keras_reads(path):
    if family == "tf_keras":
        import tf_keras as keras
    else:
        import keras
    tool = f"{family} {keras.__version__}"
    if path.name.endswith(".weights.h5") or "weights" in path.name:
        if path.name.endswith(".weights.h5"):
            # Keras 3 matches by position: the flat Sequential of our exports.
            base = getattr(keras.applications, network.upper())(weights=None, classifier_activation=None)
            model = keras.Sequential([keras.Input((224, 224, 3)), *base.layers[1:]])
        else:
            model = getattr(keras.applications, network.upper())(weights=None, classifier_activation=None)
        model.load_weights(path)
        return tool, model.predict(scaled(), verbose=0), expected
    model = keras.models.load_model(path, compile=False)
    return tool, model.predict(scaled(), verbose=0), softmax(expected)


def torch_reads(path):
    import torch
    import torchvision

    tool = f"torchvision {torchvision.__version__.split('+')[0]}"
    model = getattr(torchvision.models, network)(weights=None).eval()
    if path.suffix == ".pth":
        state = torch.load(path, weights_only=True)
        tool = f"torch {torch.__version__.split('+')[0]} (weights_only)"
    else:
        from safetensors.torch import load_file as load

        state = load(path)
    if "pre_logits.fc1.weight" in state:
        tool += ", timm's names"
        state = {
            key.replace("pre_logits.fc1", "classifier.0")
            .replace("pre_logits.fc2", "classifier.3")
            .replace("head.fc", "classifier.6"): value.flatten(1) if value.ndim == 4 and "fc" in key else value
            for key, value in state.items()
        }
    model.load_state_dict(state)
    with torch.no_grad():
        x = torch.from_numpy(np.ascontiguousarray(scaled().transpose(0, 3, 1, 2)))
        return tool, model(x).numpy(), expected


def onnx_reads(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return f"onnxruntime {onnxruntime.__version__}", session.run(None, {"input": scaled()})[0], softmax(expected)


failed = False
for name in files:
    path = folder / name
    reads = {"torch": torch_reads, "onnx": onnx_reads}.get(family, keras_reads)
    tool, got, wanted = reads(path)
    error = np.linalg.norm(got.astype(np.float64) - wanted) / np.linalg.norm(wanted.astype(np.float64))
    print(f"| {name} | {source} | {tool} | {error:.1e} |", flush=True)
    failed |= not error <= LIMIT
sys.exit(failed)
