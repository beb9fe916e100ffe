"""Weights of whole VGGs as the real tools save them, and what the tools compute with them.

    python make_weights.py DIR FAMILY NAME…

FAMILY is keras, tf_keras or torch: what is imported. Each NAME makes DIR/NAME.<ending>, DIR/NAME.logits.safetensors
(`logits`, f32 [2, 1000], before the softmax; or `features`) and a line of DIR/NAME.json. Images come from
DIR/pixels.safetensors (u8 [2, 224, 224, 3], RGB). Random weights, seeds fixed; the base is ImageNet's where
VGG_FT_TEST_DATA has it.
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
from safetensors.numpy import load_file, save_file

folder, family, names = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
pixels = load_file(folder / "pixels.safetensors")["pixels"]


def done(name, file, tool, kind, values):
    """What a test needs to know about a file."""
    save_file({kind: np.ascontiguousarray(values, np.float32)}, folder / f"{name}.expected.safetensors")
    (folder / f"{name}.json").write_text(
        json.dumps({"name": name, "file": file.name, "tool": tool, "kind": kind}) + "\n"
    )
    print(f"{name}: {tool}, {file.stat().st_size} bytes, {kind} {np.abs(values).max():.4g}", flush=True)


def imagenet():
    """ImageNet's convolutional base by Keras' names, if it is there."""
    data = os.environ.get("VGG_FT_TEST_DATA")
    path = data and pathlib.Path(data) / "vgg16_imagenet_notop.safetensors"
    return load_file(path) if path and path.exists() else None


def keras_model(keras, network, top):
    """VGG with random weights, the base ImageNet's where there is one."""
    keras.utils.set_random_seed(11)
    build = getattr(keras.applications, network.upper())
    if top:
        model = build(weights=None, classifier_activation=None)
    else:
        model = build(weights=None, include_top=False, input_shape=(224, 224, 3))
    for layer in model.layers:
        if len(layer.get_weights()) == 2:
            # Keras' zeros would not show a bias in the wrong place.
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, np.random.default_rng(len(bias)).normal(0, 0.05, bias.shape)])
    base = imagenet() if network == "vgg16" else None
    if base:
        for layer in model.layers:
            if f"{layer.name}.kernel" in base:
                layer.set_weights([base[f"{layer.name}.kernel"], base[f"{layer.name}.bias"]])
    return model


def keras_files():
    if family == "tf_keras":
        import tf_keras as keras
    else:
        import keras
    tool = f"{family} {keras.__version__}"
    for name in names:
        # keras-vgg16-top-h5
        _, network, top, form = name.split("-")[:4]
        top = top == "top"
        model = keras_model(keras, network, top)
        x = keras.applications.vgg16.preprocess_input(pixels.astype(np.float32))
        values = model.predict(x, verbose=0)
        if form == "legacy":
            file = folder / f"{name}.h5"
            if family == "keras":
                import h5py
                from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

                with h5py.File(file, "w") as out:
                    save_weights_to_hdf5_group(out, model)
            else:
                model.save_weights(file)
        elif form == "numbered":
            file = folder / f"{name}.weights.h5"
            model.save_weights(file)
        elif form == "nested":
            file = folder / f"{name}.h5"
            shape = model.output_shape[1:]
            outer = keras.Sequential([keras.Input((224, 224, 3)), model, keras.layers.Identity()])
            outer.save(file)
        elif form == "onnx":
            file = folder / f"{name}.onnx"
            model.export(file, format="onnx", verbose=False)
        else:
            file = folder / f"{name}.{form}"
            model.save(file)
        done(name, file, tool, "logits" if top else "features", values)


def torch_files():
    import torch
    import torchvision

    torch.set_num_threads(2)
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    x = (pixels.astype(np.float32) / np.float32(255) - mean) / std
    x = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    tool = f"torch {torch.__version__.split('+')[0]}, torchvision {torchvision.__version__.split('+')[0]}"
    for name in names:
        # torch-vgg16_bn-top-zip
        _, network, _, form = name.split("-")[:4]
        torch.manual_seed(11)
        model = getattr(torchvision.models, network)(weights=None).eval()
        with torch.no_grad():
            for module in model.modules():
                if getattr(module, "bias", None) is not None:
                    module.bias.normal_(0, 0.05)
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.weight.uniform_(0.5, 1.5)
                    module.running_mean.normal_(0, 0.1)
                    module.running_var.uniform_(0.5, 2)
            values = model(x).numpy()
        state = model.state_dict()
        if form == "zip":
            file = folder / f"{name}.pth"
            torch.save(state, file)
        elif form == "stream":
            file = folder / f"{name}.pth"
            torch.save(state, file, _use_new_zipfile_serialization=False)
        elif form == "timm":
            # timm's checkpoint of torchvision's VGG: the names of timm/vgg16.tv_in1k.
            file = folder / f"{name}.safetensors"
            theirs = {}
            for key, value in state.items():
                value = value.numpy()
                for ours, their in [("classifier.0", "pre_logits.fc1"), ("classifier.3", "pre_logits.fc2")]:
                    if key == f"{ours}.weight":
                        value = value.reshape(4096, -1, 7, 7) if ours == "classifier.0" else value[..., None, None]
                    key = key.replace(ours, their)
                theirs[key.replace("classifier.6", "head.fc")] = np.ascontiguousarray(value)
            save_file(theirs, file)
        elif form in ("dynamo", "script"):
            file = folder / f"{name}.onnx"
            torch.onnx.export(model, (x,), file, dynamo=form == "dynamo", verbose=False)
        else:
            sys.exit(f"error: {name}: the form {form} is not known")
        done(name, file, tool, "logits", values)


torch_files() if family == "torch" else keras_files()
