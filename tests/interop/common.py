"""Images as vgg-ft sees them, its own predictions, and the comparison."""

import json
import os
import pathlib
import subprocess
import tomllib

# The plain kernels of TensorFlow: the same numbers on every machine. No GPU.
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from PIL import Image

# The largest error of a probability, relative to the largest of its image (which is at least a half for
# two classes). Relative to itself would ask more than f32 has: a probability of 1e-22 is a logit of -50,
# whose last place alone is 4e-6, and ONNX Runtime's sigmoid gives 0 from -18 on. That error is printed too.
LIMIT = 1e-5
# The order of sums changes VGG16's features by some millionths of the largest, and logits with them: those of a classifier
# that is very sure by more than others. A probability follows with p(1-p), at most half of the larger of both.
FEATURES = 3e-6

EXPORTS = {
    "keras-h5": ["--format", "keras-h5"],
    "keras-h5 (3)": ["--format", "keras-h5", "--keras-version", "3"],
    "keras-h5, pixels": ["--format", "keras-h5", "--with-preprocessing"],
    "keras-h5-weights": ["--format", "keras-h5-weights"],
    "keras-h5-weights (3)": ["--format", "keras-h5-weights", "--keras-version", "3"],
    "keras": ["--format", "keras"],
    "keras, pixels": ["--format", "keras", "--with-preprocessing"],
    "onnx": ["--format", "onnx"],
    "onnx, nchw": ["--format", "onnx", "--layout", "nchw"],
    "onnx, pixels": ["--format", "onnx", "--with-preprocessing"],
    "torchvision": ["--format", "torchvision"],
    "safetensors": ["--format", "safetensors"],
}
ENDINGS = {"keras-h5": ".h5", "keras-h5-weights": ".h5", "keras": ".keras", "onnx": ".onnx"}


def file_of(folder, name):
    """Where the export called `name` lies."""
    return pathlib.Path(folder) / (name.replace(" ", "_") + ENDINGS.get(EXPORTS[name][1], ".safetensors"))


def scaled(pixels, recipe):
    """u8 RGB to the network's input, by the definitions of Keras and torchvision."""
    x = pixels.astype(np.float32)
    if recipe == "caffe":
        return np.ascontiguousarray(x[..., ::-1] - np.float32([103.939, 116.779, 123.68]))
    x = x / np.float32(255)
    if recipe == "torch":
        x = (x - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    return x


class Job:
    """A run, images of its size, and what vgg-ft predicts for them."""

    def __init__(self, program, run, folder, images):
        self.program, self.run, self.folder = program, pathlib.Path(run), pathlib.Path(folder)
        network = tomllib.loads((self.run / "run.toml").read_text())["network"]
        self.recipe, (self.h, self.w) = network["preprocess"], network["size"]
        self.classes = network["classes"]
        # As PNG and to size, so that every tool sees the same pixels (JPEG decoders differ).
        (self.folder / "images").mkdir(parents=True, exist_ok=True)
        self.paths = []
        for n, path in enumerate(images):
            image = Image.open(path).convert("RGB")
            if image.size != (self.w, self.h):
                image = image.resize((self.w, self.h), Image.Resampling.NEAREST)
            self.paths.append(self.folder / "images" / f"{n:04}.png")
            image.save(self.paths[-1])
        self.pixels = np.stack([np.asarray(Image.open(p)) for p in self.paths])
        self.x = scaled(self.pixels, self.recipe)

    def export(self):
        for name, options in EXPORTS.items():
            out = file_of(self.folder, name)
            call = [self.program, "export", self.run, *options, "-o", out, "--force", "--quiet"]
            subprocess.run([str(a) for a in call], check=True, stdout=subprocess.DEVNULL)

    def predict(self):
        """What vgg-ft says, as Keras lays it out: one column for two classes, else one per class."""
        call = [self.program, "predict", self.run, "--json", "--quiet", "--top", len(self.classes), *self.paths]
        out = subprocess.run([str(a) for a in call], check=True, capture_output=True, text=True).stdout
        rows = []
        for line in out.splitlines():
            of = {entry["class"]: entry["probability"] for entry in json.loads(line)["top"]}
            rows.append([of[c] for c in self.classes])
        rows = np.float32(rows)
        return rows[:, 1:] if len(self.classes) == 2 else rows


class Report:
    """One line per comparison; `end` says how it went."""

    def __init__(self):
        self.wrong = 0

    def compare(self, tool, name, got, want):
        got, want = np.asarray(got, np.float32), np.asarray(want, np.float32)
        assert got.shape == want.shape, f"{tool}, {name}: {got.shape}, not {want.shape}"
        largest = np.maximum(want, 1 - want) if want.shape[1] == 1 else want.max(1, keepdims=True)
        error = float(np.max(np.abs(got - want) / largest))
        own = float(np.max(np.abs(got - want) / want))
        sure = np.abs(np.log(np.maximum(want, 1e-30)) - np.log(np.maximum(1 - want, 1e-30))).max()
        limit = max(LIMIT, FEATURES * float(sure) / 2)
        good = error <= limit
        self.wrong += not good
        print(f"{'ok   ' if good else 'WRONG'} {tool:22} {name:24} {error:.1e} of {limit:.1e} (by its own size {own:.1e})", flush=True)

    def end(self):
        if self.wrong:
            raise SystemExit(f"{self.wrong} comparisons are over their limit")
