#!/usr/bin/env python3
"""Compiles tests/ptx/wrong/*.cu with the pinned nvcc, each as it stands and with MENDED defined.

As scripts/ptx makes the kernels that ship: same flags, same canonical text, paths from the root. Names
of kernels limit it to those. `// target: sm_90a` in a file compiles it for that, `// ptx: 8.6` gives that version.
MANIFEST has a SHA-256 of what each was made of, its source and all headers there; tests/ptx_wrong.rs compares.
"""

import hashlib

import importlib.machinery
import importlib.util
import re
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
loader = importlib.machinery.SourceFileLoader("ptx", str(HERE.parent.parent / "scripts/ptx"))
ptx = importlib.util.module_from_spec(importlib.util.spec_from_loader("ptx", loader))
loader.exec_module(ptx)

MANIFEST = HERE / "wrong/MANIFEST"
made = dict(line.split() for line in MANIFEST.read_text(encoding="utf-8").splitlines()) if MANIFEST.exists() else {}
headers = b"".join(path.read_bytes() for path in sorted((HERE / "wrong").glob("*.cuh")))
for source in sorted((HERE / "wrong").glob("*.cu")):
    if sys.argv[1:] and source.stem not in sys.argv[1:]:
        continue
    cuda = source.read_text(encoding="utf-8")
    arch, version = ("compute_90a", "8.0") if "// target: sm_90a" in cuda else ("compute_80", "7.0")
    if said := re.search(r"^// ptx: (.+)$", cuda, re.MULTILINE):
        version = said[1]
    for ending, flags in ((".ptx", []), (".mended.ptx", ["-DMENDED"])):
        with tempfile.NamedTemporaryFile(suffix=".ptx") as raw:
            command = [ptx.NVCC, *ptx.FLAGS, *flags, f"-arch={arch}", source, "-o", raw.name]
            ptx.remark(ptx.execute(command, f"compiling {source.name}"))
            text = ptx.canonical(Path(raw.name).read_text(encoding="utf-8"), version)
        source.with_suffix(ending).write_text(text, encoding="utf-8", newline="\n")
    made[source.stem] = hashlib.sha256(source.read_bytes() + headers).hexdigest()
MANIFEST.write_text("".join(f"{name} {made[name]}\n" for name in sorted(made)), encoding="utf-8", newline="\n")
