"""Small helpers shared by the scripts of this folder.

Import this module before keras or tensorflow: it fixes the settings that must
be in the environment first, so that another machine makes the same numbers.
"""

import json
import os
import struct

# oneDNN picks its convolution by CPU model, so the last bits would depend on
# the machine. The plain Eigen kernels do not. A GPU is not wanted either.
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

HERE = os.path.dirname(os.path.abspath(__file__))


def tool():
    """The versions that go in the metadata of every file."""
    import keras
    import tensorflow

    return f"keras {keras.__version__}, tensorflow {tensorflow.__version__}"


def f32(a):
    """Rounds an array or tensor to contiguous float32."""
    return np.ascontiguousarray(np.asarray(a), dtype=np.float32)


def save_tensors(path, tensors, script):
    """Writes `tensors` with the metadata {"tool", "script"}, and says how big.

    safetensors writes its metadata in hash order, which differs from run to
    run. The header is rewritten in name order so that the bytes stay equal.
    """
    tensors = {k: np.ascontiguousarray(v) for k, v in tensors.items()}
    data = save(tensors, {"tool": tool(), "script": script})
    (n,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + n])
    meta = dict(sorted(header.pop("__metadata__").items()))
    text = json.dumps({"__metadata__": meta, **header}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data[8 + n :])
    print(f"{os.path.basename(path)}: {len(tensors)} tensors, {os.path.getsize(path)} bytes")


def load_tensors(path):
    """Reads every tensor of a safetensors file."""
    with safe_open(path, "np") as f:
        return {k: f.get_tensor(k) for k in f.keys()}


def relative_error(a, b):
    """Relative Frobenius error |a - b| / |b|, summed in float64."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.linalg.norm(a - b) / np.linalg.norm(b)
