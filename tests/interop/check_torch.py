"""torchvision's VGG with the exported weights, against what vgg-ft predicted. After check.py.

    check_torch.py FOLDER
"""

import sys

import numpy as np
import safetensors
import torch
import torchvision
from common import Report, file_of
from safetensors.torch import load_file

folder = sys.argv[1]
path = file_of(folder, "torchvision")
with safetensors.safe_open(str(path), "pt") as file:
    recipe = file.metadata()["vgg_ft_torch"]
print(recipe)
*lines, last = recipe.split("; ")
names = {"torch": torch, "torchvision": torchvision}
for line in lines:
    exec(line, names)
m = names["m"]
m.load_state_dict(load_file(str(path)))
saved = np.load(f"{folder}/want.npz")
x = torch.from_numpy(np.ascontiguousarray(saved["x"].transpose(0, 3, 1, 2)))
with torch.no_grad():
    parts = [eval(last.removeprefix("probabilities = "), {**names, "x": x[i : i + 16]}) for i in range(0, len(x), 16)]
report = Report()
tool = f"torchvision {torchvision.__version__}"
report.compare(tool, "torchvision", torch.cat(parts).numpy(), saved["want"])
report.end()
