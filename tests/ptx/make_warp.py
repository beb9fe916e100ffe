#!/usr/bin/env python3
"""Writes tests/ptx/forms/warp.ptx and tensor.ptx: what the lanes of a warp do together.

Shuffles follow the ISA's pseudo-code (9.7.9.6), fragments its figures (9.7.14.5), tensor-core sums the
model of MMA-Sim (arXiv 2511.10909, "truncated fused dot-product-add"), all on exact integers and fractions.
"""

from fractions import Fraction

from exact import BF16, F16, F32, Format
from make_forms import HERE, assemble, comment
from rules import Lcg, W

LANES = range(32)
HEAD = [".version 8.0", ".target sm_90", ".address_size 64", ""]


def shuffle(kind, a, b, c):
    """(value, predicate) of each lane; b and c may differ from lane to lane."""
    out = []
    for lane in LANES:
        bval, cval, segment = b[lane] & 31, c[lane] & 31, c[lane] >> 8 & 31
        most, least = lane & segment | cval & ~segment, lane & segment
        j = {"up": lane - bval, "down": lane + bval, "bfly": lane ^ bval, "idx": least | bval & ~segment}[kind]
        inside = j >= most if kind == "up" else j <= most
        out.append((a[j if inside else lane], inside))
    return out


def joined(values, rule):
    total = values[0]
    for value in values[1:]:
        total = rule(total, value)
    return [total & W] * 32


def signed(x):
    return x - (1 << 32) if x >> 31 else x


def warp_forms(a, b, p):
    """label, text, result of each lane. %a %b words, %p predicate, %d the result, %q a predicate."""
    for kind, c in [("up", 0), ("up", 0x1800), ("up", 4), ("down", 0x1F), ("down", 0x181F), ("down", 0x0F),
                    ("bfly", 0x1F), ("bfly", 0x1C1F), ("bfly", 0x0B), ("idx", 0x1F), ("idx", 0x181F), ("idx", 7)]:
        for by in (1, 5, 16, 33):
            text = f"shfl.sync.{kind}.b32 %d|%q, %a, {by}, {c:#x}, -1;"
            found = shuffle(kind, a, [by] * 32, [c] * 32)
            yield text, text, [value for value, _ in found]
            yield f"inside {text}", "selp.b32 %d, 1, 0, %q;", [int(inside) for _, inside in found]
    for kind in ("up", "down", "bfly", "idx"):
        c = 0x1000 if kind == "up" else 0x101F
        text = f"shfl.sync.{kind}.b32 %d, %a, %b, {c:#x}, 0xffffffff;"
        yield text, text, [value for value, _ in shuffle(kind, a, b, [c] * 32)]
    some = sum(p[lane] << lane for lane in LANES)
    for negated, bits in (("", some), ("!", some ^ W)):
        yield (f"vote ballot {negated}p", f"vote.sync.ballot.b32 %d, {negated}%p, -1;", [bits] * 32)
        for kind in ("all", "any", "uni"):
            says = {"all": bits == W, "any": bits != 0, "uni": bits in (0, W)}[kind]
            yield (f"vote {kind} {negated}p", f"vote.sync.{kind}.pred %q, {negated}%p, -1; selp.b32 %d, 1, 0, %q;",
                   [int(says)] * 32)
    for kind, says in (("all", 1), ("any", 1), ("uni", 1)):
        text = f"setp.eq.s32 %q, %a, %a; vote.sync.{kind}.pred %q, %q, -1; selp.b32 %d, 1, 0, %q;"
        yield f"vote {kind} of ones", text, [says] * 32
        text = f"setp.ne.s32 %q, %a, %a; vote.sync.{kind}.pred %q, %q, -1; selp.b32 %d, 1, 0, %q;"
        yield f"vote {kind} of zeros", text, [int(kind == "uni")] * 32
    for kind, rule in [("add.s32", lambda x, y: x + y), ("add.u32", lambda x, y: x + y), ("min.u32", min),
                       ("max.u32", max), ("min.s32", lambda x, y: min(x, y, key=signed)),
                       ("max.s32", lambda x, y: max(x, y, key=signed)), ("and.b32", lambda x, y: x & y),
                       ("or.b32", lambda x, y: x | y), ("xor.b32", lambda x, y: x ^ y)]:
        yield f"redux {kind}", f"redux.sync.{kind} %d, %a, -1;", joined(a, rule)
    yield ("redux and of odd", "or.b32 %d, %a, 17; redux.sync.and.b32 %d, %d, -1;",
           joined([x | 17 for x in a], lambda x, y: x & y))
    yield ("match any", "match.any.sync.b32 %d, %b, -1;",
           [sum((b[lane] == b[other]) << other for other in LANES) for lane in LANES])
    yield "activemask", "activemask.b32 %d;", [W] * 32
    # Which lane is elected is the hardware's choice: one, and every lane learns which.
    yield ("elect", "elect.sync %d|%q, -1; vote.sync.ballot.b32 %a, %q, -1; shr.u32 %a, %a, %d; mov.b32 %d, %a;",
           [1] * 32)


def warp():
    random = Lcg(5)
    a = [random(32) for _ in LANES]
    a[3], a[7] = 0x80000000, 0x7FFFFFFF
    b = [random(32) & 0x1F | (lane % 3 == 0) << 5 for lane in LANES]
    b[4] = b[20] = b[21] = 7
    p = [random(32) >> 7 & 1 for _ in LANES]
    out, code = ["// Shuffles, votes, reductions of all 32 lanes."], []
    for name, column in (("a", a), ("b", b), ("p", p)):
        out += comment(f"in {name}", column, "w")
    for at, (label, text, result) in enumerate(warp_forms(a, b, p)):
        out += comment(f"out {label.rstrip(';')}", result, "w")
        code += [f"\t{text}", f"\tst.global.b32 [%out+{128 * at}], %d;"]
    return [*out, *prologue("warp", ".reg .b32 %a, %b, %d; .reg .pred %p, %q;"), "\tld.global.b32 %a, [%in];",
            "\tld.global.b32 %b, [%in+128];", "\tld.global.b32 %d, [%in+256];", "\tsetp.ne.s32 %p, %d, 0;", *code,
            "\tret;", "}", ""]


def prologue(name, registers):
    return [f".visible .entry {name}(.param .u64 in, .param .u64 out)", "{", f"\t{registers}",
            "\t.reg .b64 %in, %out, %step; .reg .b32 %lane;", "\tmov.u32 %lane, %tid.x;",
            "\tmul.wide.u32 %step, %lane, 4;", "\tld.param.u64 %in, [in];", "\tadd.s64 %in, %in, %step;",
            "\tld.param.u64 %out, [out];", "\tadd.s64 %out, %out, %step;"]


# Tensor cores.

TF32 = Format(11, 8, 19)
KINDS = {"bf16": (BF16, 2), "f16": (F16, 2), "tf32": (TF32, 1)}


def fragments(kind, k):
    """(register, part) → (row, column) for a and b, and for c, of each lane: the ISA's figures."""
    _, packed = KINDS[kind]
    a, b, c = {}, {}, {}
    for lane in LANES:
        group, thread = lane >> 2, lane % 4
        for r in range(k // (2 * packed)):
            for part in range(packed):
                row = group + 8 * (r % 2)
                column = thread * packed + part + (r // 2) * 4 * packed
                a[lane, r, part] = row, column
        for r in range(k // (4 * packed)):
            for part in range(packed):
                b[lane, r, part] = thread * packed + part + r * 4 * packed, group
        for r in range(4):
            c[lane, r] = group + 8 * (r // 2), thread * 2 + r % 2
    return a, b, c


def parts(f, bits):
    """Significand and exponent as the unit sees them: denormals keep the lowest exponent."""
    _, negative, size = f.read(bits)
    e = f.low
    while size >= Fraction(2) ** (e + 1):
        e += 1
    return (-size if negative else size) / Fraction(2) ** e, e


def fused(f, a, b, c, fraction):
    terms = [(sa * sb, ea + eb) for (sa, ea), (sb, eb) in ((parts(f, x), parts(f, y)) for x, y in zip(a, b))]
    terms.append(parts(F32, c))
    most = max([e for s, e in terms if s != 0], default=-126)
    most = max(most, -126)
    total = sum(int(s * Fraction(2) ** (fraction + e - most)) for s, e in terms)  # int() cuts towards zero
    return F32.write(total * Fraction(2) ** (most - fraction), "rz")


def product(f, a, b, c, mode, step):
    if mode == "fast":
        exact = sum((value(f, x) * value(f, y) for x, y in zip(a, b)), value(F32, c))
        bits = F32.write(exact)
        assert F32.read(bits)[2] == abs(exact), "the fast mode is only told exact sums"
        return bits
    if mode == "hopper":
        return fused(f, a, b, c, 25)
    for at in range(0, len(a), step):
        c = fused(f, a[at : at + step], b[at : at + step], c, 24)
    return c


def value(f, bits):
    _, negative, size = f.read(bits)
    return -size if negative else size


def mma(kind, k, model, seed):
    f, packed = KINDS[kind]
    random = Lcg(seed)

    def element(lane_exact):
        if lane_exact:
            return f.write(Fraction(random(4) - 8, 2))
        # Exponents far enough apart that much is cut off; now and then a zero or a denormal.
        part, sign, spread = random(f.p - 1), random(1) << f.width - 1, random(4)
        field = 0 if random(5) == 0 else f.bias - 6 + spread % 13
        return sign | field << f.p - 1 | part
    def summand():
        return F32.write(Fraction(random(8) - 128, 4)) if not model else random(1) << 31 | 118 + random(4) << 23 | random(23)

    a = [[element(not model) for _ in range(k)] for _ in range(16)]
    b = [[element(not model) for _ in range(8)] for _ in range(k)]
    c = [[summand() for _ in range(8)] for _ in range(16)]
    ha, hb, hc = fragments(kind, k)
    ra, rb = k // (2 * packed), k // (4 * packed)
    def register(where, matrix, lane, r):
        # The unit reads the upper 19 bits of a tf32; what lies below must not matter.
        at = lambda part: matrix[where[lane, r, part][0]][where[lane, r, part][1]]
        return at(0) << 13 | 0x1234 if packed == 1 else at(0) | at(1) << 16
    columns = [[register(ha, a, lane, r) for lane in LANES] for r in range(ra)]
    columns += [[register(hb, b, lane, r) for lane in LANES] for r in range(rb)]
    columns += [[c[hc[lane, r][0]][hc[lane, r][1]] for lane in LANES] for r in range(4)]
    name = f"mma_{kind}_k{k}_{'model' if model else 'layout'}"
    out = []
    for at, column in enumerate(columns):
        out += comment(f"in {'abc'[(at >= ra) + (at >= ra + rb)]}{at}", column, "w")
    step = k if k == {"bf16": 8, "f16": 8, "tf32": 4}[kind] else k // 2
    for mode in ("ampere", "hopper") if model else ("fast", "ampere", "hopper"):
        out.append(f"//> tensor {mode}")
        d = [[product(f, a[i], [row[j] for row in b], c[i][j], mode, step) for j in range(8)] for i in range(16)]
        for r in range(4):
            out += comment(f"out d{r}", [d[hc[lane, r][0]][hc[lane, r][1]] for lane in LANES], "w")
    names = [f"%w{at}" for at in range(len(columns))]
    vector = lambda list: "{" + ", ".join(list) + "}"
    out += prologue(name, f".reg .b32 %w<{len(names)}>, %d<4>;")
    out += [f"\tld.global.b32 {register}, [%in+{128 * at}];" for at, register in enumerate(names)]
    out += [f"\tmma.sync.aligned.m16n8k{k}.row.col.f32.{kind}.{kind}.f32", f"\t\t{vector([f'%d{r}' for r in range(4)])},",
            f"\t\t{vector(names[:ra])}, {vector(names[ra:ra + rb])}, {vector(names[ra + rb:])};"]
    out += [f"\tst.global.b32 [%out+{128 * r}], %d{r};" for r in range(4)]
    return out + ["\tret;", "}", ""]


def ldmatrix(count, transposed):
    """Lane i writes row i (8 elements, 16 bytes) and gives its address; matrix m is rows 8m to 8m+7."""
    rows = [[row << 8 | column for column in range(8)] for row in LANES]
    name = f"ldmatrix_x{count}{'_trans' if transposed else ''}"
    words = [[row[2 * w] | row[2 * w + 1] << 16 for row in rows] for w in range(4)]
    out = []
    for w, column in enumerate(words):
        out += comment(f"in word {w}", column, "w")
    for m in range(count):
        def at(i, j, m=m):
            return rows[8 * m + (j if transposed else i)][i if transposed else j]
        out += comment(f"out d{m}", [at(lane // 4, lane % 4 * 2) | at(lane // 4, lane % 4 * 2 + 1) << 16
                                     for lane in LANES], "w")
    vector = "{" + ", ".join(f"%d{m}" for m in range(count)) + "}"
    trans = ".trans" if transposed else ""
    return [*out, *prologue(name, ".reg .b32 %w<4>, %d<4>, %at;"), "\t.shared .align 16 .b8 tile[528];",
            *[f"\tld.global.b32 %w{w}, [%in+{128 * w}];" for w in range(4)], "\tmov.u32 %at, tile;",
            "\tmad.lo.s32 %at, %lane, 16, %at;", "\tst.shared.v4.b32 [%at+16], {%w0, %w1, %w2, %w3};",
            "\tbar.warp.sync -1;",
            f"\tldmatrix.sync.aligned.m8n8.x{count}{trans}.shared.b16 {vector}, [%at+16];",
            *[f"\tst.global.b32 [%out+{128 * m}], %d{m};" for m in range(count)], "\tret;", "}", ""]


def write(name, note, lines):
    path = HERE / f"forms/{name}.ptx"
    path.write_text("\n".join([*note, *HEAD, *lines]).rstrip("\n") + "\n", encoding="utf-8")
    assemble(path)


def main():
    write("warp", ["// Written by tests/ptx/make_warp.py."], warp())
    lines = []
    for count in (1, 2, 4):
        lines += ldmatrix(count, False) + ldmatrix(count, True)
    shapes = [("bf16", 16), ("bf16", 8), ("f16", 16), ("f16", 8), ("tf32", 8), ("tf32", 4)]
    for seed, (kind, k) in enumerate(shapes):
        lines += mma(kind, k, False, seed) + mma(kind, k, True, seed + 20)
    write("tensor", ["// Written by tests/ptx/make_warp.py. The `layout` entries have sums without rounding, the `model`",
                     "// entries follow a published model of the hardware. Verification on hardware is pending."], lines)


if __name__ == "__main__":
    main()
