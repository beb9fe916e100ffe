"""Reads the committed tests/golden/export/* with Keras 3, tf_keras and ONNX Runtime.

The Rust tests hold the writers to these bytes, so what is shown here stays true of them.

    golden.py            compare with expected.safetensors
    golden.py --write    write expected.safetensors: what Keras 3 says of the .h5 files
"""

import pathlib
import sys

import numpy as np
from common import Report, scaled
import readers
from readers import KERAS3, ONNX, TF_KERAS, keras, tf_keras
from safetensors.numpy import load_file, save_file

# As tests/export.rs has them: the network and how its pixels are scaled.
CASES = [("two", "caffe"), ("three", "torch"), ("means", "torch"), ("lone", "torch")]

folder = pathlib.Path(__file__).parent.parent / "golden" / "export"
# Bytes without a pattern, from integers alone.
n = np.arange(2 * 12 * 10 * 3, dtype=np.uint64)
pixels = ((n * np.uint64(2654435761) >> np.uint64(13)) % np.uint64(256)).astype(np.uint8).reshape(2, 12, 10, 3)

if sys.argv[1:] == ["--write"]:
    expected = {"pixels": pixels}
    for name, recipe in CASES:
        expected[name] = readers.keras_predict(keras, folder / f"{name}.h5", scaled(pixels, recipe))
    save_file(expected, folder / "expected.safetensors", {"tool": KERAS3, "script": "tests/interop/golden.py"})

expected = load_file(folder / "expected.safetensors")
assert np.array_equal(expected["pixels"], pixels)
report = Report()
for name, recipe in CASES:
    x, raw, want = scaled(pixels, recipe), pixels.astype(np.float32), expected[name]
    of = lambda ending: folder / f"{name}{ending}"
    for library, tool in [(keras, KERAS3), (tf_keras, TF_KERAS)]:
        report.compare(tool, f"{name}.h5", readers.keras_predict(library, of(".h5"), x), want)
        report.compare(tool, f"{name}.pixels.h5", readers.keras_predict(library, of(".pixels.h5"), raw), want)
        for ending in [".layers.h5", ".keras3.layers.h5"]:
            got = readers.keras_weights(library, of(".h5"), of(ending), x)
            report.compare(tool, name + ending, got, want)
    report.compare(KERAS3, f"{name}.keras3.h5", readers.keras_predict(keras, of(".keras3.h5"), x), want)
    report.compare(KERAS3, f"{name}.keras", readers.keras_predict(keras, of(".keras"), x), want)
    report.compare(KERAS3, f"{name}.pixels.keras", readers.keras_predict(keras, of(".pixels.keras"), raw), want)
    report.compare(ONNX, f"{name}.onnx", readers.onnx_predict(of(".onnx"), x), want)
    nchw = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    report.compare(ONNX, f"{name}.nchw.onnx", readers.onnx_predict(of(".nchw.onnx"), nchw), want)
    report.compare(ONNX, f"{name}.pixels.onnx", readers.onnx_predict(of(".pixels.onnx"), raw), want)
report.end()
