#!/usr/bin/env python3
"""Compiles tests/ptx/hopper/*.cu for sm_90a with the pinned nvcc and writes wgmma.h beside them.

As scripts/ptx makes the kernels that ship: same flags, same canonical text, paths from the root, and ptxas
has to take it. Names of kernels limit it to those.
"""

import importlib.machinery
import importlib.util
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
loader = importlib.machinery.SourceFileLoader("ptx", str(HERE.parent.parent / "scripts/ptx"))
ptx = importlib.util.module_from_spec(importlib.util.spec_from_loader("ptx", loader))
loader.exec_module(ptx)


def wrappers():
    out = ["// m64nNk16 of bf16 from shared memory; written by make_hopper.py.", "#pragma once", "#include <cstdint>"]
    for n in (64, 128, 256):
        r = n // 2
        regs = ", ".join(f"%{i}" for i in range(r))
        ops = ", ".join(f'"+f"(d[{i}])' for i in range(r))
        out.append(
            f"__device__ __forceinline__ void wg{n}(float (&d)[{r}], uint64_t a, uint64_t b, int sd) {{\n"
            f'  asm volatile("{{.reg .pred p; setp.ne.b32 p, %{r + 2}, 0;\\n"\n'
            f'    "wgmma.mma_async.sync.aligned.m64n{n}k16.f32.bf16.bf16 {{{regs}}}, %{r}, %{r + 1}, p, 1, 1, 0, 0;}}\\n"\n'
            f'    : {ops} : "l"(a), "l"(b), "r"(sd)); }}'
        )
    return "\n".join(out) + "\n"


(HERE / "hopper/wgmma.h").write_text(wrappers(), encoding="utf-8", newline="\n")
for source in sorted((HERE / "hopper").glob("*.cu")):
    if sys.argv[1:] and source.stem not in sys.argv[1:]:
        continue
    with tempfile.NamedTemporaryFile(suffix=".ptx") as raw, tempfile.NamedTemporaryFile(suffix=".cubin") as out:
        command = [ptx.NVCC, *ptx.FLAGS, "-arch=compute_90a", source, "-o", raw.name]
        ptx.remark(ptx.execute(command, f"compiling {source.name}"))
        text = ptx.canonical(Path(raw.name).read_text(encoding="utf-8"), "8.0")
        made = source.with_suffix(".ptx")
        made.write_text(text, encoding="utf-8", newline="\n")
        ptx.execute([ptx.PTXAS["13.0"], "-arch=sm_90a", made, "-o", out.name], f"assembling {made.name}", text)
