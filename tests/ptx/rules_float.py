"""Floating point and conversions. See rules.py."""

import exact
from exact import ANY_NAN, BF16, F16, F32, F64, NAN, flush
from rules import DOUBLES, FLOATS, I16, I32, I64, Group, H, L, W, rows
from rules_integer import s16, s32, s64, signed_byte


def bare(bits, change):
    """abs and neg: PTX does not say which NaN becomes of NaN."""
    return ANY_NAN if F32.read(bits)[0] == "nan" else change(bits)


def zeroed(rule):
    """`.ftz`: denormals are zeros on the way in and out."""
    def flushed(*operands):
        result = rule(*map(flush, operands))
        return result if result == ANY_NAN else flush(result)
    return flushed


def approximate_quotient(a, b):
    """div.approx: past 2^126 the reciprocal underflows (PTX ISA 9.0, 9.7.3.8)."""
    kind, negative, size = F32.read(b)
    if kind == "number" and size > 2**126:
        if F32.read(a)[0] == "number":
            return (a ^ b) & 1 << 31
        return NAN
    return exact.div(F32, a, b)


COMPARE = {"eq": lambda x, y: x == y, "ne": lambda x, y: x != y, "lt": lambda x, y: x < y,
           "le": lambda x, y: x <= y, "gt": lambda x, y: x > y, "ge": lambda x, y: x >= y}


def compare(f, name, ftz=False):
    def rule(a, b):
        if ftz:
            a, b = flush(a), flush(b)
        (ka, na, a), (kb, nb, b) = f.read(a), f.read(b)
        unordered = "nan" in (ka, kb)
        if name in ("num", "nan"):
            return int(unordered == (name == "nan"))
        if unordered:
            return int(name.endswith("u"))
        a, b = (2**2000 if k == "inf" else v for k, v in ((ka, a), (kb, b)))
        return int(COMPARE[name.rstrip("u")](-a if na else a, -b if nb else b))
    return rule


def comparisons(group, f, kind):
    for name in (*COMPARE, "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"):
        group.add(f"setp.{name}.{kind}", "p", compare(f, name))


def single():
    one = Group("float", "f1", "w", "One f32.", [(x,) for x in FLOATS])
    one.add("abs.f32", "w", lambda a: bare(a, lambda a: a & 0x7FFFFFFF))
    one.add("neg.f32", "w", lambda a: bare(a, lambda a: a ^ 0x80000000))
    one.add("abs.ftz.f32", "w", lambda a: bare(a, lambda a: flush(a) & 0x7FFFFFFF))
    one.add("neg.ftz.f32", "w", lambda a: bare(a, lambda a: flush(a) ^ 0x80000000))
    for name, rule in [("rcp", lambda a: exact.div(F32, 0x3F800000, a)), ("sqrt", lambda a: exact.sqrt(F32, a))]:
        one.add(f"{name}.rn.f32 {name}.approx.f32", "w", rule)
        one.add(f"{name}.rn.ftz.f32 {name}.approx.ftz.f32", "w", zeroed(rule))
    for name, rule in [("rsqrt", lambda a: exact.rsqrt(F32, a)), ("ex2", exact.ex2), ("lg2", exact.lg2)]:
        one.add(f"{name}.approx.f32", "w", rule)
        one.add(f"{name}.approx.ftz.f32", "w", zeroed(rule))
    one.add("cvt.rzi.f32.f32", "w", lambda a: exact.to_whole(a, "rzi"))
    one.add("cvt.rni.f32.f32", "w", lambda a: exact.to_whole(a, "rni"))
    one.add("cvt.rmi.f32.f32", "w", lambda a: exact.to_whole(a, "rmi"))
    one.add("cvt.rpi.f32.f32", "w", lambda a: exact.to_whole(a, "rpi"))
    one.add("cvt.rmi.ftz.f32.f32", "w", zeroed(lambda a: exact.to_whole(a, "rmi")))
    one.add("cvt.sat.f32.f32", "w", exact.saturate)
    one.add("cvt.ftz.sat.f32.f32 cvt.sat.ftz.f32.f32", "w", zeroed(exact.saturate))
    one.add("cvt.f64.f32", "l", lambda a: exact.convert(F64, F32, a))
    one.add("cvt.rna.tf32.f32", "w", exact.tf32)
    one.form("add.f32 {d}, {a}, 0f3F800000;", "w", lambda a: exact.add(F32, a, 0x3F800000))
    one.form("mul.f32 {d}, {a}, 0d3FE0000000000000;".replace("0d3FE0000000000000", "0f3F000000"), "w",
             lambda a: exact.mul(F32, a, 0x3F000000))
    # Angles and exponents where the approximations are meant to be used.
    sizes = [0x00000000, 0x80000000, 0x00000001, 0x807FFFFF, 0x3F800000, 0xBF800000, 0x40490FDB, 0xC0490FDB,
             0x3FC90FDB, 0x3E800000, 0x3DCCCCCD, 0x41200000, 0xC1200000, 0x42C80000, 0x7F800000, 0xFF800000,
             0x7FC00000, 0x42FE0000, 0x43000000, 0xC2FC0000, 0xC3160000, 0xC3170000, 0x3A83126F, 0xBA83126F,
             0x40000000, 0x40A00000, 0x3F000000, 0xC0E00000, 0x41880000, 0x30000000, 0x4048F5C3, 0x3F490FDB]
    wave = Group("float", "waves", "w", "Angles and exponents.", [(x,) for x in sizes])
    wave.add("sin.approx.f32", "w", lambda a: exact.wave(a, False))
    wave.add("cos.approx.f32", "w", lambda a: exact.wave(a, True))
    wave.add("sin.approx.ftz.f32", "w", zeroed(lambda a: exact.wave(a, False)))
    wave.add("cos.approx.ftz.f32", "w", zeroed(lambda a: exact.wave(a, True)))
    wave.add("tanh.approx.f32", "w", exact.tanh)
    wave.form("ex2.approx.f32 {d}, {a};", "w", exact.ex2)

    two = Group("float", "f2", "ww", "Two f32.", rows(
        [FLOATS, FLOATS], 21,
        [(0x3F800000, 0x33800000), (0x3F800001, 0x33800000), (0x3F800000, 0xB3800000), (0x3F800000, 0x00000001),
         (0x3F800000, 0x80000001), (0x00000000, 0x80000000), (0x80000000, 0x80000000), (0x3F800000, 0xBF800000),
         (0x7F7FFFFF, 0x7F7FFFFF), (0xFF7FFFFF, 0x7F7FFFFF), (0x00800000, 0x80000001), (0x7F800000, 0x00000000),
         (0x7F800000, 0xFF800000), (0x1F000001, 0x20000001), (0x3F800000, 0x7F000001), (0x7F800000, 0x7F000001)],
        [32, 32]))
    def of(name, mode="rn"):
        return lambda a, b: getattr(exact, name)(F32, a, b, mode)
    def minus(mode="rn"):
        return lambda a, b: exact.add(F32, a, b if F32.read(b)[0] == "nan" else b ^ 1 << 31, mode)
    two.add("add.f32 add.rn.f32", "w", of("add"))
    two.add("sub.f32 sub.rn.f32", "w", minus())
    two.add("mul.f32 mul.rn.f32", "w", of("mul"))
    two.add("add.ftz.f32 add.rn.ftz.f32", "w", zeroed(of("add")))
    two.add("sub.ftz.f32 sub.rn.ftz.f32", "w", zeroed(minus()))
    two.add("mul.ftz.f32 mul.rn.ftz.f32", "w", zeroed(of("mul")))
    two.add("add.sat.f32 add.rn.sat.f32", "w", lambda a, b: exact.saturate(of("add")(a, b)))
    two.add("mul.sat.f32 mul.rn.sat.f32", "w", lambda a, b: exact.saturate(of("mul")(a, b)))
    for mode in ("rz", "rm", "rp"):
        two.add(f"add.{mode}.f32", "w", of("add", mode))
        two.add(f"mul.{mode}.f32", "w", of("mul", mode))
    two.add("sub.rz.f32", "w", minus("rz"))
    two.add("div.rn.f32 div.full.f32", "w", of("div"))
    two.add("div.rn.ftz.f32 div.full.ftz.f32", "w", zeroed(of("div")))
    two.add("div.approx.f32", "w", approximate_quotient)
    two.add("div.approx.ftz.f32", "w", zeroed(approximate_quotient))
    two.add("min.f32", "w", exact.smaller)
    two.add("max.f32", "w", exact.larger)
    two.add("min.ftz.f32", "w", zeroed(exact.smaller))
    two.add("max.ftz.f32", "w", zeroed(exact.larger))
    nan = lambda *all: any(F32.read(x)[0] == "nan" for x in all)
    two.add("min.NaN.f32", "w", lambda a, b: NAN if nan(a, b) else exact.smaller(a, b))
    two.add("max.NaN.f32", "w", lambda a, b: NAN if nan(a, b) else exact.larger(a, b))
    comparisons(two, F32, "f32")
    for name in ("eq", "ne", "lt", "ge", "gt", "leu", "geu"):
        two.add(f"setp.{name}.ftz.f32", "p", compare(F32, name, True))
    two.add("cvt.rn.f16x2.f32", "w", lambda a, b: exact.convert(F16, F32, a) << 16 | exact.convert(F16, F32, b))
    two.add("cvt.rn.bf16x2.f32", "w", lambda a, b: exact.convert(BF16, F32, a) << 16 | exact.convert(BF16, F32, b))

    three = Group("float", "f3", "www", "Three f32.", rows(
        [FLOATS, FLOATS, FLOATS], 22,
        [(0x3F800001, 0x3F800001, 0xBF800002), (0x3F800001, 0x3F800001, 0), (0, 0x3F800000, 0x80000000),
         (0x80000000, 0x3F800000, 0x80000000), (0x3F800000, 0x3F800000, 0xBF800000),
         (0x3F800000, 0x3F800000, 0x00000001), (0x3F800000, 0x3F800000, 0x80000001),
         (0x7F7FFFFF, 0x40000000, 0xFF7FFFFF), (0x1F000001, 0x20000001, 0x00000001), (0x7F800000, 0, 0x3F800000),
         (0x7F800000, 0x3F800000, 0xFF800000), (0x3F7FFFFF, 0x3F7FFFFF, 0x26000000),
         (0x3F7FFFFF, 0x3F7FFFFF, 0xA6000000), (0x1A000001, 0x1A000001, 0x3F800000)], [32, 32, 32]))
    def fused(mode="rn"):
        return lambda a, b, c: exact.fma(F32, a, b, c, mode)
    three.add("fma.rn.f32 mad.rn.f32", "w", fused())
    three.add("fma.rn.ftz.f32", "w", zeroed(fused()))
    three.add("fma.rn.sat.f32", "w", lambda *abc: exact.saturate(fused()(*abc)))
    for mode in ("rz", "rm", "rp"):
        three.add(f"fma.{mode}.f32", "w", fused(mode))
    return [one, wave, two, three]


def double():
    one = Group("float", "d1", "l", "One f64.", rows([DOUBLES], 23, randoms=[64]))
    one.add("abs.f64", "l", lambda a: ANY_NAN if F64.read(a)[0] == "nan" else a & L >> 1)
    one.add("neg.f64", "l", lambda a: ANY_NAN if F64.read(a)[0] == "nan" else a ^ 1 << 63)
    one.add("rcp.rn.f64", "l", lambda a: exact.div(F64, 0x3FF << 52, a))
    one.add("sqrt.rn.f64", "l", lambda a: exact.sqrt(F64, a))
    two = Group("float", "d2", "ll", "Two f64.", rows([DOUBLES, DOUBLES], 24, [], [64, 64]))
    def of(name):
        return lambda a, b: getattr(exact, name)(F64, a, b)
    two.add("add.f64 add.rn.f64", "l", of("add"))
    two.add("sub.f64 sub.rn.f64", "l", lambda a, b: exact.add(F64, a, b ^ 1 << 63))
    two.add("mul.f64 mul.rn.f64", "l", of("mul"))
    two.add("div.rn.f64", "l", of("div"))
    comparisons(two, F64, "f64")
    three = Group("float", "d3", "lll", "Three f64.", rows([DOUBLES, DOUBLES, DOUBLES], 25, [], [64] * 3))
    three.add("fma.rn.f64", "l", lambda a, b, c: exact.fma(F64, a, b, c))
    return [one, two, three]


def conversions():
    from fractions import Fraction
    halves = [0x3F000000, 0xBF000000, 0x3FC00000, 0xBFC00000, 0x40200000, 0xC0200000, 0x00000000, 0x80000000,
              0x00000001, 0x4F000000, 0xCF000000, 0x4EFFFFFF, 0x4F7FFFFF, 0x4F800000, 0x5F000000, 0xDF000000,
              0x5F7FFFFF, 0x5F800000, 0x7F800000, 0xFF800000, 0x7FC00000, 0xBF800000, 0x3F7FFFFF, 0xBF7FFFFF,
              0x4B000001, 0x4AFFFFFF, 0xC2F6E979, 0x42F6E979, 0x7F7FFFFF, 0xFF7FFFFF, 0x3F800001, 0xCF000001]
    to = Group("convert", "from_f32", "w", "f32 to integers: halves, saturation, NaN.", [(x,) for x in halves])
    for spelling in ("cvt.rzi.s32.f32 cvt.rzi.ftz.s32.f32 cvt.rzi.u32.f32 cvt.rzi.ftz.u32.f32 cvt.rni.s32.f32 "
                     "cvt.rni.ftz.s32.f32 cvt.rni.u32.f32 cvt.rmi.s32.f32 cvt.rpi.s32.f32 cvt.rzi.s64.f32 "
                     "cvt.rzi.u64.f32").split():
        _, mode, *ftz, kind, _ = spelling.split(".")
        width = int(kind[1:])
        def rule(a, mode=mode, ftz=ftz, kind=kind, width=width):
            return exact.to_integer(F32, flush(a) if ftz else a, width, kind[0] == "s", mode)
        to.add(spelling, "w" if width == 32 else "l", rule)
    doubles = [exact.convert(F64, F32, x) for (x,) in to.rows]
    doubles = [0x7FF8000000000000 if x == ANY_NAN else x for x in doubles]
    doubles[8:12] = [0x41DFFFFFFFC00000, 0x41DFFFFFFFFFFFFF, 0xC1E00000001FFFFF, 0x43DFFFFFFFFFFFFF]
    wide = Group("convert", "from_f64", "l", "f64 to integers and f32.", [(x,) for x in doubles])
    wide.add("cvt.rzi.s32.f64", "w", lambda a: exact.to_integer(F64, a, 32, True, "rzi"))
    wide.add("cvt.rzi.s64.f64", "l", lambda a: exact.to_integer(F64, a, 64, True, "rzi"))
    wide.add("cvt.rn.f32.f64", "w", lambda a: exact.convert(F32, F64, a))

    def number(f, read):
        return lambda a: f.write(Fraction(read(a)))
    same = lambda x: x
    words = Group("convert", "from_w", "w", "32 bits to others.",
                  rows([I32 + [0x01000001, 0x01000003, 0xFEFFFFFF, 0x7FFFFFBF, 0xFFFFFF7F]], 31, randoms=[32]))
    words.add("cvt.u64.u32 cvt.s64.u32", "l", same)
    words.add("cvt.s64.s32 cvt.u64.s32", "l", lambda a: s32(a) & L)
    words.add("cvt.u16.u32 cvt.s16.s32 cvt.u16.s32 cvt.s16.u32", "h", lambda a: a & H)
    words.add("cvt.u32.u8 cvt.s32.u8 cvt.u8.u32", "w", lambda a: a & 255)
    words.add("cvt.u16.u8 cvt.s16.u8", "h", lambda a: a & 255)
    words.add("cvt.s16.s8", "h", lambda a: signed_byte(a & 255) & H)
    words.add("cvt.s32.s8", "w", lambda a: signed_byte(a & 255) & W)
    words.add("cvt.rn.f32.s32", "w", number(F32, s32))
    words.add("cvt.rn.f32.u32", "w", number(F32, same))
    words.add("cvt.rn.f32.u8", "w", number(F32, lambda a: a & 255))
    words.add("cvt.rn.f64.s32", "l", number(F64, s32))
    words.add("cvt.rn.f64.u32", "l", number(F64, same))
    halves16 = Group("convert", "from_h", "h", "16 bits to others.", rows([I16 + [0x7C00, 0xFC00, 0x7E00, 0x0001,
                     0x03FF, 0x0400, 0x3C00, 0x3F80, 0x7F80, 0x7BFF]], 32, randoms=[16]))
    halves16.add("cvt.u32.u16 cvt.s32.u16", "w", same)
    halves16.add("cvt.u16.u16", "h", same)
    halves16.add("cvt.s32.s16 cvt.u32.s16", "w", lambda a: s16(a) & W)
    halves16.add("cvt.u64.u16 cvt.s64.u16", "l", same)
    halves16.add("cvt.s64.s16", "l", lambda a: s16(a) & L)
    halves16.add("cvt.u8.u16", "h", lambda a: a & 255)
    halves16.add("cvt.rn.f32.u16", "w", number(F32, same))
    halves16.add("cvt.rn.f32.s16", "w", number(F32, s16))
    halves16.add("cvt.f32.f16", "w", lambda a: exact.convert(F32, F16, a))
    halves16.add("cvt.f32.bf16", "w", lambda a: ANY_NAN if BF16.read(a)[0] == "nan" else exact.convert(F32, BF16, a))
    longs = Group("convert", "from_l", "l", "64 bits to others.", rows([I64 + [
        0x0020000000000001, 0x0020000000000003, 0x0000008000004000, 0x000000800000C000, 0x7FFFFFBFFFFFFFFF,
        0xFFFFFF7FFFFFFFFF]], 33, randoms=[64]))
    longs.add("cvt.u32.u64 cvt.s32.s64 cvt.u32.s64 cvt.s32.u64", "w", lambda a: a & W)
    longs.add("cvt.u16.u64 cvt.s16.s64", "h", lambda a: a & H)
    longs.add("cvt.rn.f32.s64", "w", number(F32, s64))
    longs.add("cvt.rn.f32.u64", "w", number(F32, same))
    longs.add("cvt.rn.f64.s64", "l", number(F64, s64))
    longs.add("cvt.rn.f64.u64", "l", number(F64, same))
    small = Group("convert", "to_small", "w", "f32 to f16 and bf16: halves, denormals, overflow.", [(x,) for x in [
        0x3F800000, 0x3F801000, 0x3F803000, 0x3F802FFF, 0x3F808000, 0x3F818000, 0x3F808001, 0x477FE000, 0x477FEFFF,
        0x477FF000, 0x38800000, 0x387FC000, 0x387FE000, 0x33800000, 0x33000000, 0x33000001, 0x32FFFFFF, 0xB3C00000,
        0x00000000, 0x80000000, 0x00000001, 0x00008000, 0x00018000, 0x7F7FFFFF, 0x7F7F7FFF, 0xFF7F8000, 0x7F800000,
        0xFF800000, 0x7FC00000, 0xFF812345, 0xC2F6E979, 0x3EAAAAAB]])
    small.add("cvt.rn.f16.f32", "h", lambda a: exact.convert(F16, F32, a))
    small.add("cvt.rn.bf16.f32", "h", lambda a: exact.convert(BF16, F32, a))
    return [to, wide, words, halves16, longs, small]


def groups():
    return [*single(), *double(), *conversions()]
