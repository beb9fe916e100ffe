"""Exports a run in every format, has each read by the tools it is for, and compares predictions.

    check.py [--main] PROGRAM RUN FOLDER IMAGE...

With --main only what most people do, for thousands of images: keras-h5 in Keras 3 and tf_keras, ONNX in ONNX
Runtime; and TensorFlow may use oneDNN's kernels, which are five times as fast and sum in another order.
"""

import os
import sys

import numpy as np
from common import Job, Report, file_of

main = "--main" in sys.argv
if main:
    sys.argv.remove("--main")
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
import readers  # noqa: E402
from readers import KERAS3, ONNX, TF_KERAS, keras, tf_keras

program, run, folder, *images = sys.argv[1:]
job = Job(program, run, folder, images)
job.export()
want = job.predict()
np.savez(job.folder / "want.npz", x=job.x, pixels=job.pixels, want=want)
print(f"{len(want)} images of {job.h}x{job.w}, {job.recipe}; probabilities {want.min():.2e} to {want.max():.6f}")
report = Report()
of = lambda name: file_of(folder, name)
pixels = job.pixels.astype(np.float32)

for library, tool in [(keras, KERAS3), (tf_keras, TF_KERAS)]:
    got = readers.keras_predict(library, of("keras-h5"), job.x)
    report.compare(tool, "keras-h5", got, want)
    if main:
        continue
    report.compare(tool, "keras-h5, pixels", readers.keras_predict(library, of("keras-h5, pixels"), pixels), want)
    for name in ["keras-h5-weights", "keras-h5-weights (3)"]:
        got = readers.keras_weights(library, of("keras-h5"), of(name), job.x)
        report.compare(tool, name, got, want)
if main:
    report.compare(ONNX, "onnx", readers.onnx_predict(of("onnx"), job.x), want)
    report.end()
    sys.exit()
for name, x in [("keras-h5 (3)", job.x), ("keras", job.x), ("keras, pixels", pixels)]:
    report.compare(KERAS3, name, readers.keras_predict(keras, of(name), x), want)

for name, x in [
    ("onnx", job.x),
    ("onnx, nchw", np.ascontiguousarray(job.x.transpose(0, 3, 1, 2))),
    ("onnx, pixels", pixels),
]:
    report.compare(ONNX, name, readers.onnx_predict(of(name), x), want)

# keras.applications' own VGG16 takes the base's weights by name: every tensor is where it belongs.
for library, tool in [(keras, KERAS3), (tf_keras, TF_KERAS)]:
    base = readers.base_by_name(library, of("keras-h5-weights"), (job.h, job.w, 3))
    ours = readers.model(library, of("keras-h5"))
    for layer in base.layers:
        for a, b in zip(layer.get_weights(), ours.get_layer(layer.name).get_weights() if layer.weights else []):
            assert np.array_equal(a, b), f"{tool}: {layer.name} differs"
    print(f"ok    {tool:22} VGG16(include_top=False).load_weights(by_name=True): equal to the bit")
report.end()
