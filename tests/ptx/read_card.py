#!/usr/bin/env python3
"""Writes tests/ptx/hopper/layouts.txt and sums.txt from what a GPU did (VECTORS, a file of probes' dumps).

A record of layouts: which element of shared memory one wgmma took for every row and k of an operand; kept is
a hash (FNV-1a, 64 bits). A record of sums: m64n64k16 of random bf16; kept are some rows and columns.
"""

import struct
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent / "hopper"
data = Path(sys.argv[1]).read_bytes()
layouts = ["# b mn rows swizzle start lead stride base hash: H200, driver 13.0. Of the 16-bit elements' numbers, row by row."]
sums = ["# a (16 bf16) b (16 bf16) c d (f32): d = c + a · b of one wgmma.m64n64k16 on an H200, driver 13.0."]
at = 0
while at < len(data):
    head = struct.unpack_from("<12i", data, at)
    at += 48
    if head[0] == 0x4C41594F:
        _, b, mn, n, swizzle, start, lead, stride, base, rows, k, _ = head
        index = data[at : at + 2 * rows * k]
        at += len(index)
        number = 0xCBF29CE484222325
        for byte in index:
            number = (number ^ byte) * 0x100000001B3 % 2**64
        layouts.append(f"{b} {mn} {rows} {swizzle} {start} {lead} {stride} {base} {number:016x}")
    else:
        assert head[0] == 0x4E554D45, hex(head[0])
        a = struct.unpack_from("<1024H", data, at)
        b = struct.unpack_from("<1024H", data, at + 2048)
        c = struct.unpack_from("<4096I", data, at + 4096)
        d = struct.unpack_from("<4096I", data, at + 4096 + 16384)
        at += 4096 + 2 * 16384
        for i in range(16):
            m, n = (4 * i + head[1]) % 64, (7 * i + 3 * head[1]) % 64
            word = lambda values: "".join(f"{value:04x}" for value in values)
            sums.append(
                f"{word(a[16 * m : 16 * m + 16])} {word(b[16 * n : 16 * n + 16])} {c[64 * m + n]:08x} {d[64 * m + n]:08x}"
            )
for name, lines in (("layouts.txt", layouts), ("sums.txt", sums)):
    (HERE / name).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    print(name, len(lines) - 1)
