"""Small files as PyTorch saves them, and the tensors that a reader must find.

Writes into weights/torch/:

    NAME.pth                what torch.save makes of the object below that is called NAME
    NAME-stream.pth         the same, in the format from before PyTorch 1.6
    expected.safetensors    the tensors, dense, under "NAME/tensor"; the metadata has, per NAME, the
                            names in the order of the file, separated by line feeds

same.pth and no-checksums.pth are plain.pth as Python's zipfile and a PyTorch in a hurry write it. All other
files without an entry in expected.safetensors are to be refused. The numbers are multiples of 1/8 between
-6.25 and 6.25, so every float type of 16 bits and more holds them exactly.

Run with torch 2.15.0, torchvision is not needed; safetensors 0.8.0 and numpy 2.4.6. The zip files but
script.pth have the same bytes each time. The stream files do not (PyTorch names storages by their address in
memory), nor has expected.safetensors (its metadata are in any order).

    python make_torch.py [--out DIR]
    python make_torch.py --check        loads written.pth, which our writer makes of expected tensors
"""

import argparse
import collections
import os
import warnings
import zipfile

import numpy as np
import torch
import torch.serialization
from safetensors.torch import load_file, save
from torch import nn

HERE = os.path.dirname(os.path.abspath(__file__))
BOTH = (True, False)


def numbers(*shape, start=0):
    """The numbers of a tensor: (37 i + start) mod 101, minus 50, in eighths."""
    count = int(np.prod(shape, dtype=np.int64))
    i = torch.arange(start, start + 37 * count, 37)[:count]
    return ((i % 101 - 50) / 8).reshape(shape)


def network():
    layers = [nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 4)]
    model = nn.Sequential(collections.OrderedDict(zip(["conv", "norm", "flatten", "fc"], layers)))
    with torch.no_grad():
        for at, value in enumerate(model.state_dict().values()):
            value.copy_(numbers(*value.shape, start=at) if value.is_floating_point() else torch.tensor(7))
    return model


class System:
    """Python runs its command when it loads the pickle; our reader must not."""

    def __reduce__(self):
        return os.system, ("echo executed > executed.txt",)


def trained():
    """What a training script saves: weights, optimizer, counters, and objects of other libraries."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(1, 3, 4, 4)).sum().backward()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer.step()
    return {
        "epoch": 3,
        "arch": "small",
        "best": np.float64(0.5),
        "args": argparse.Namespace(lr=0.1, folders=["a", "b"]),
        "history": [0.5, 0.25, None, True, (1, 2**40, -(2**80))],
        "optimizer": optimizer.state_dict(),
        "state_dict": weights,
    }


def strided():
    x = numbers(4, 6)
    image = numbers(2, 3, 4, 5)
    one = numbers(12).as_strided((3, 1, 2), (4, 9, 1))
    return {
        "transposed": x.t(),
        "rows": x[1:3],
        "columns": x[:, 2:5],
        "every other": x[::2, ::3],
        "channels last": image.contiguous(memory_format=torch.channels_last),
        "permuted": image.permute(3, 1, 0, 2),
        "picked": image[1, :, 2],
        "an axis of one": one,
        "dense with an axis of one": numbers(6).as_strided((2, 1, 3), (3, 99, 1)),
        "overlapping": numbers(8).as_strided((3, 2), (1, 1)),
        "windows": numbers(8).as_strided((3, 2), (2, 3)),
        "empty": torch.empty(0, 5),
        "last": x[3, 5],
    }


def parameters():
    marked = numbers(3)
    marked.mark = "an attribute"
    with_state = nn.Parameter(numbers(2, 2))
    with_state.mark = "an attribute"
    return {
        "parameter": nn.Parameter(numbers(2, 3)),
        "frozen": nn.Parameter(numbers(3, start=1), requires_grad=False),
        "buffer": nn.Buffer(numbers(4)),
        "with state": with_state,
        "marked": marked,
        "none": None,
    }


def types():
    names = "float32 float16 bfloat16 float64 int64 int32 int16 int8 uint8 uint16 uint32 uint64"
    found = {name: (numbers(2, 3) + 7).to(getattr(torch, name)) for name in names.split()}
    found["float8_e4m3fn"] = (numbers(2, 3) + 7).to(torch.float8_e4m3fn)
    found["bool"] = numbers(2, 3) > 0
    found["complex64"] = torch.complex(numbers(3), numbers(3, start=1))
    found["scalar"] = torch.tensor(2.5)
    found["count"] = torch.tensor(7)
    return found


def shared():
    base = numbers(10)
    return {"whole": base, "tied": base, "head": base[:4], "tail": base[4:].view(2, 3)}


def good():
    """What has weights to be found: name, object, where they are in it, options of torch.save."""
    plain = dict(network().state_dict())
    yield "plain", plain, plain, BOTH, {}
    for protocol in (3, 4, 5):
        yield f"protocol{protocol}", plain, plain, BOTH, {"pickle_protocol": protocol}
    found = types()
    # PyTorch writes types-stream.pth and cannot load it: uint16 and the like have a storage of a kind that
    # its loader of streams does not know. It says all that a reader needs.
    yield "types", found, found, BOTH, {}
    found = strided()
    yield "strided", found, found, BOTH, {}
    found = shared()
    yield "shared", found, found, BOTH, {}
    found = parameters()
    yield "parameters", found, {k: v for k, v in found.items() if v is not None}, BOTH, {}
    checkpoint = trained()
    yield "checkpoint", checkpoint, checkpoint["state_dict"], BOTH, {}
    nested = {"step": 1, "model": {"state_dict": plain, "classes": ["cat", "dog"]}}
    yield "nested", nested, plain, [True], {}
    odd = {"hyper": {"lr": 0.1}, "my weights": plain, "none": []}
    yield "odd", odd, plain, [True], {}
    mixed = {**plain, "epoch": 3, "rng": {"state": numbers(2)}}
    yield "mixed", mixed, plain, [True], {}
    parallel = nn.DataParallel(network()).state_dict()
    yield "parallel", parallel, plain, BOTH, {}
    compiled = {"model": {f"module._orig_mod.{k}": v for k, v in plain.items()}}
    yield "compiled", compiled, plain, [True], {}


def refused():
    plain = dict(network().state_dict())
    yield "module", network(), BOTH
    yield "module-inside", {"model": network(), "epoch": 1}, [True]
    yield "malicious", System(), BOTH
    yield "malicious-inside", {"state_dict": plain, "note": System()}, BOTH
    yield "expanded", {"x": torch.zeros(1).expand(1000, 1000)}, BOTH
    yield "sparse", {"x": torch.eye(3).to_sparse()}, [True]
    yield "meta", {"x": torch.empty(3, device="meta")}, [True]
    yield "negated", {"x": torch.tensor([1 + 2j, 3 - 1j]).conj().imag}, [True]
    yield "complex128", {"x": torch.zeros(2, dtype=torch.complex128)}, [True]
    yield "list", [numbers(2), numbers(3)], [True]
    yield "tensor", numbers(2), [True]
    yield "numbers", {"epoch": 3, "loss": [1.0, 2.0]}, [True]
    yield "parts", {"encoder": {"w": numbers(2)}, "decoder": {"w": numbers(2)}}, [True]


def save_as(folder, name, value, formats, **options):
    for zipped in formats:
        # The folder inside the archive is named after the file.
        path = os.path.join(folder, f"{name}.pth" if zipped else f"{name}-stream.pth")
        torch.save(value, path, _use_new_zipfile_serialization=zipped, **options)


def rewritten(source, target, change):
    """The archive as Python's zipfile writes it, with entries changed by `change`."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            changed = change(entry.filename.split("/", 1)[1], old.read(entry))
            if changed:
                new.writestr(zipfile.ZipInfo(entry.filename), changed[0], compress_type=changed[1])


def make(folder):
    os.makedirs(folder, exist_ok=True)
    expected, order = {}, {}
    for name, value, weights, formats, options in good():
        save_as(folder, name, value, formats, **options)
        order[name] = "\n".join(weights)
        for key, tensor in weights.items():
            expected[f"{name}/{key}"] = tensor.detach().clone(memory_format=torch.contiguous_format)
    with open(os.path.join(folder, "expected.safetensors"), "wb") as file:
        file.write(save(expected, order))
    # The stream would hold the classes' source code, and where it lies.
    torch.serialization.get_source_lines_and_file = None
    for name, value, formats in refused():
        save_as(folder, name, value, formats)
    plain = os.path.join(folder, "plain.pth")
    torch.serialization.set_crc32_options(False)
    torch.save(torch.load(plain), os.path.join(folder, "no-checksums.pth"))
    torch.serialization.set_crc32_options(True)

    def same(_, data):
        return data, zipfile.ZIP_STORED

    def big_endian(name, data):
        return b"big" if name == "byteorder" else data, zipfile.ZIP_STORED

    def compressed(name, data):
        return data, zipfile.ZIP_DEFLATED if name == "data/0" else zipfile.ZIP_STORED

    for change in (same, big_endian, compressed):
        rewritten(plain, os.path.join(folder, f"{change.__name__.replace('_', '-')}.pth"), change)

    # Without the names of source files.
    script = os.path.join(folder, "script.pth")
    torch.jit.save(torch.jit.script(network()), script + ".tmp")
    rewritten(script + ".tmp", script, lambda name, data: None if name.endswith(".debug_pkl") else same(0, data))
    os.remove(script + ".tmp")


def check(folder):
    """Whether PyTorch finds in our writer's file what was written: some of the expected tensors."""
    path = os.path.join(folder, "written.pth")
    expected = load_file(os.path.join(folder, "expected.safetensors"))
    for options in ({}, {"mmap": True}):
        found = torch.load(path, weights_only=True, **options)
        assert type(found) is collections.OrderedDict and len(found) == 10, found
        for name, tensor in found.items():
            right = expected[name]
            assert tensor.dtype == torch.float32 and tensor.is_contiguous(), name
            assert tensor.shape == right.shape and torch.equal(tensor, right), name
    assert zipfile.ZipFile(path).testzip() is None
    print(len(found), "tensors are equal, by torch", torch.__version__)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default=os.path.join(HERE, "weights", "torch"))
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.check:
        check(options.out)
    else:
        make(options.out)


if __name__ == "__main__":
    main()
