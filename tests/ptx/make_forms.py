#!/usr/bin/env python3
"""Writes tests/ptx/forms/table_*.ptx: every lane-by-lane spelling with 32 rows of operands and results.

An entry loads its operands from `in` (a column of 32 lanes after the other), runs many instructions on
them and stores each result to a column of `out`. Comments that begin with `//>` say what comes in and
what must come out; tests/ptx_forms.rs reads them. Results are those of exact.py and of the rules of the
PTX ISA written down in rules.py, never the emulator's.

    tests/ptx/make_forms.py            writes the files; ptxas, where it is, must assemble them
"""

import subprocess
import tempfile
from pathlib import Path

import exact
import rules

HERE = Path(__file__).resolve().parent
PTXAS = HERE.parent.parent / ".toolchain/cuda-13.0/nvidia/cu13/bin/ptxas"
BYTES = {"h": 2, "w": 4, "l": 8, "p": 1}
NAMES = "abce"


def words(values, kind):
    """Lines of at most 108 characters."""
    digits = 2 * BYTES[kind]
    shown = []
    for value in values:
        if value == exact.ANY_NAN:
            shown.append("~" + {4: "7fff", 8: "7fffffff", 16: "7fffffffffffffff"}[digits])
        else:
            shown.append("-" * digits if value is None else f"{value:0{digits}x}")
    per = 1 << (96 // (digits + 1)).bit_length() - 1
    return [" ".join(shown[at : at + per]) for at in range(0, len(shown), per)]


def comment(label, values, kind):
    first, *rest = words(values, kind)
    return [f"//> {label}: {first}", *(f"//>   {line}" for line in rest)]


def entry(group):
    kinds, columns = group.kinds, list(zip(*group.rows))
    out = [f"// {group.about}"]
    for name, kind, column in zip(NAMES, kinds, columns):
        out += comment(f"in {name}", column, kind)
    code, at = [], 0
    for label, text, kind, rule in group.forms:
        out += comment(f"out {label}", [rule(*row) for row in group.rows], kind)
        code.append(text.format(d=f"%{kind}d", **{n: f"%{k}{n}" for n, k in zip(NAMES, kinds)}))
        if kind == "p":
            code.append("selp.b16 %hd, 1, 0, %pd;")
        stored = "h" if kind == "p" else kind
        code.append(f"st.global.b{8 * BYTES[kind]} [%out{BYTES[kind]}+{at}], %{stored}d;")
        at += 32 * BYTES[kind]
    out += [
        f".visible .entry {group.name}(.param .u64 in, .param .u64 out, .param .u32 lanes)",
        "{",
        "\t.reg .b16 %ha, %hb, %hc, %he, %hd;",
        "\t.reg .b32 %wa, %wb, %wc, %we, %wd, %lane, %bit;",
        "\t.reg .b64 %la, %lb, %lc, %le, %ld, %step;",
        "\t.reg .b64 %in1, %in2, %in4, %in8, %out1, %out2, %out4, %out8;",
        "\t.reg .pred %pa, %pb, %pc, %pe, %pd, %pq, %away;",
        "\tmov.u32 %lane, %tid.x;",
        "\tld.param.u32 %bit, [lanes];",
        "\tshr.u32 %bit, %bit, %lane;",
        "\tand.b32 %bit, %bit, 1;",
        "\tsetp.eq.s32 %away, %bit, 0;",
        "\t@%away bra END;",
    ]
    for array, size in ((array, size) for array in ("in", "out") for size in (1, 2, 4, 8)):
        out += [f"\tld.param.u64 %{array}{size}, [{array}];", f"\tmul.wide.u32 %step, %lane, {size};",
                f"\tadd.s64 %{array}{size}, %{array}{size}, %step;"]
    at = 0
    for name, kind in zip(NAMES, kinds):
        to = "hd" if kind == "p" else kind + name
        out.append(f"\tld.global.b{8 * BYTES[kind]} %{to}, [%in{BYTES[kind]}+{at}];")
        if kind == "p":
            out.append(f"\tsetp.ne.s16 %p{name}, %hd, 0;")
        at += 32 * BYTES[kind]
    return out + [f"\t{line}" for line in code] + ["END:\tret;", "}", ""]


def main():
    files = {}
    for group in rules.groups():
        files.setdefault(group.file, []).extend(entry(group))
    for name, lines in files.items():
        head = ["// Written by tests/ptx/make_forms.py. Bit-exact but for `.approx`, where the results are the correctly",
                "// rounded ones; hardware may differ there in the last bits. Not yet compared with hardware.",
                ".version 8.0", ".target sm_90", ".address_size 64", ""]
        path = HERE / f"forms/table_{name}.ptx"
        path.write_text("\n".join(head + lines).rstrip("\n") + "\n", encoding="utf-8")
        assemble(path)


def assemble(path):
    if PTXAS.is_file():
        with tempfile.NamedTemporaryFile(suffix=".cubin") as cubin:
            subprocess.run([PTXAS, "-O0", "-arch=sm_90", path, "-o", cubin.name], check=True)


if __name__ == "__main__":
    main()
