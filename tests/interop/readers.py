"""Keras 3, tf_keras and ONNX Runtime as readers: a file and an input in, probabilities out."""

import common  # noqa: F401  (sets the environment before TensorFlow is loaded)
import keras
import numpy as np
import onnx
import onnxruntime
import tf_keras

KERAS3 = f"keras {keras.__version__}"
TF_KERAS = f"tf_keras {tf_keras.__version__}"
ONNX = f"onnxruntime {onnxruntime.__version__}"


def model(library, path):
    return library.models.load_model(str(path), compile=False)


def keras_predict(library, path, x, batch=16):
    return model(library, path).predict(x, batch_size=batch, verbose=0)


def keras_weights(library, model_path, weights_path, x, batch=16):
    """A model of the same layers with other values, and then the weights of the file."""
    empty = library.models.clone_model(model(library, model_path))
    empty.load_weights(str(weights_path))
    return empty.predict(x, batch_size=batch, verbose=0)


def base_by_name(library, path, shape):
    """The convolutional base of keras.applications takes a file's weights by name; its features."""
    base = library.applications.VGG16(include_top=False, weights=None, input_shape=shape)
    base.load_weights(str(path), by_name=True)
    return base


def onnx_predict(path, x, batch=16):
    onnx.checker.check_model(str(path), full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    parts = [session.run(None, {"input": x[i : i + batch]})[0] for i in range(0, len(x), batch)]
    return np.concatenate(parts)
