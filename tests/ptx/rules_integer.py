"""Moves, integers, bits, comparisons of integers. See rules.py."""

from rules import I16, I32, I64, Group, H, L, W, rows
from exact import signed


def s32(x):
    return signed(x, 32)


def s16(x):
    return signed(x, 16)


def s64(x):
    return signed(x, 64)


def quotient(a, b, sign, mask):
    """Truncated; PTX leaves division by zero open."""
    if b == 0:
        return None
    a, b = sign(a), sign(b)
    return (abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)) & mask


def remainder(a, b, sign, mask):
    if b == 0:
        return None
    a, b = sign(a), sign(b)
    return (abs(a) % abs(b) * (-1 if a < 0 else 1)) & mask


def plain(x):
    return x


def bits_of(x, width):
    return [x >> i & 1 for i in range(width)]


def number(bits):
    return sum(bit << i for i, bit in enumerate(bits))


def bfe(a, b, c, is_signed):
    """The ISA's own words: 9.7.1.19."""
    pos, length, a = b & 255, c & 255, bits_of(a, 32)
    sbit = a[min(pos + length - 1, 31)] if is_signed and length else 0
    return number([a[pos + i] if i < length and pos + i <= 31 else sbit for i in range(32)])


def bfi(a, b, c, d, width):
    """9.7.1.20."""
    f, a, pos, length = bits_of(b, width), bits_of(a, width), c & 255, d & 255
    for i in range(length):
        if pos + i < width:
            f[pos + i] = a[i]
    return number(f)


def prmt(a, b, c):
    """9.7.9.7, default mode."""
    out = []
    for k in range(4):
        choice = c >> 4 * k & 15
        byte = (a | b << 32) >> 8 * (choice & 7) & 255
        out.append((255 if byte & 128 else 0) if choice & 8 else byte)
    return number([bit for byte in out for bit in bits_of(byte, 8)])


def lop3(table):
    return lambda a, b, c: number([table >> (x * 4 + y * 2 + z) & 1
                                   for x, y, z in zip(*(bits_of(v, 32) for v in (a, b, c)))])


def dp4a(sign):
    return lambda a, b, c: (c + sum(sign(a >> k & 255) * sign(b >> k & 255) for k in (0, 8, 16, 24))) & W


def shifted(width, right=False, sign=plain):
    """Amounts are unsigned, those past the width count as the width."""
    mask = (1 << width) - 1
    if right:
        return lambda a, n: sign(a) >> min(n, width) & mask
    return lambda a, n: a << min(n, width) & mask


def arithmetic(group, kind, width, signed_types):
    """What integers of all widths have."""
    sign = {16: s16, 32: s32, 64: s64}[width]
    mask = (1 << width) - 1
    s, u = f"s{width}", f"u{width}"
    group.add(f"add.{s} add.{u}", kind, lambda a, b: a + b & mask)
    group.add(f"sub.{s} sub.{u}", kind, lambda a, b: a - b & mask)
    group.add(f"mul.lo.{s} mul.lo.{u}", kind, lambda a, b: a * b & mask)
    group.add(f"min.{s}", kind, lambda a, b: min(a, b, key=sign))
    group.add(f"max.{s}", kind, lambda a, b: max(a, b, key=sign))
    group.add(f"min.{u}", kind, lambda a, b: min(a, b))
    group.add(f"max.{u}", kind, lambda a, b: max(a, b))
    group.add(f"div.{u}", kind, lambda a, b: quotient(a, b, plain, mask))
    group.add(f"rem.{u}", kind, lambda a, b: remainder(a, b, plain, mask))
    if signed_types:
        group.add(f"div.{s}", kind, lambda a, b: quotient(a, b, sign, mask))
        group.add(f"rem.{s}", kind, lambda a, b: remainder(a, b, sign, mask))
    group.add(f"and.b{width}", kind, lambda a, b: a & b)
    group.add(f"or.b{width}", kind, lambda a, b: a | b)
    group.add(f"xor.b{width}", kind, lambda a, b: a ^ b)


def comparisons(group, width):
    sign = {16: s16, 32: s32, 64: s64}[width]
    tests = {"eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "lt": lambda a, b: a < b,
             "le": lambda a, b: a <= b, "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b}
    def rule(test, read):
        return lambda a, b: int(test(read(a), read(b)))
    for name, test in tests.items():
        group.add(f"setp.{name}.s{width}", "p", rule(test, sign))
        group.add(f"setp.{name}.u{width}", "p", rule(test, plain))
    for name, like in [("lo", "lt"), ("ls", "le"), ("hi", "gt"), ("hs", "ge")]:
        group.add(f"setp.{name}.u{width}", "p", rule(tests[like], plain))
    group.add(f"setp.eq.b{width}", "p", rule(tests["eq"], plain))
    group.add(f"setp.ne.b{width}", "p", rule(tests["ne"], plain))


def groups():
    one = Group("integer", "w1", "w", "One operand of 32 bits.", rows([I32], 1, randoms=[32]))
    one.add("mov.b32 mov.u32 mov.s32 mov.f32", "w", plain)
    one.add("not.b32", "w", lambda a: a ^ W)
    one.add("cnot.b32", "w", lambda a: int(a == 0))
    one.add("abs.s32", "w", lambda a: abs(s32(a)) & W)
    one.add("neg.s32", "w", lambda a: -a & W)
    one.add("brev.b32", "w", lambda a: number(bits_of(a, 32)[::-1]))
    one.add("popc.b32", "w", lambda a: a.bit_count())
    one.add("clz.b32", "w", lambda a: 32 - a.bit_length())
    one.add("bfind.u32", "w", lambda a: a.bit_length() - 1 & W)
    one.add("bfind.shiftamt.u32", "w", lambda a: 32 - a.bit_length() if a else W)
    one.form("add.s32 {d}, {a}, -5;", "w", lambda a: a - 5 & W)
    one.form("sub.s32 {d}, 0x7f, {a};", "w", lambda a: 0x7F - a & W)
    one.form("and.b32 {d}, {a}, 0xFFFF0000U;", "w", lambda a: a & 0xFFFF0000)
    one.form("xor.b32 {d}, {a}, 0b101;", "w", lambda a: a ^ 5)
    one.form("or.b32 {d}, {a}, 017;", "w", lambda a: a | 15)
    one.form("mov.u32 {d}, -1;", "w", lambda a: W)
    one.form("mov.f32 {d}, 0fBF800000;", "w", lambda a: 0xBF800000)
    one.form("mov.b32 {{%ha, %hb}}, {a}; mov.b32 {d}, {{%hb, %ha}};", "w", lambda a: a >> 16 | a << 16 & W)
    one.form("mov.b32 {{%ha, _}}, {a}; cvt.u32.u16 {d}, %ha;", "w", lambda a: a & H)
    one.form("mov.b64 {{{d}, %wb}}, 0x1234567800000001;", "w", lambda a: 1)
    one.form("{{ .reg .b32 %wa; mov.b32 %wa, 7; mov.b32 {d}, %wa; }}", "w", lambda a: 7)

    two = Group("integer", "w2", "ww", "Two operands of 32 bits.",
                rows([I32, I32], 2, [(1 << 31, W), (1 << 31, 1), (W, 1 << 31), (7, W - 1), (W - 6, 2)], [32, 32]))
    arithmetic(two, "w", 32, True)
    comparisons(two, 32)
    limit = lambda x: min(max(x, -(1 << 31)), (1 << 31) - 1) & W
    two.add("add.sat.s32", "w", lambda a, b: limit(s32(a) + s32(b)))
    two.add("sub.sat.s32", "w", lambda a, b: limit(s32(a) - s32(b)))
    two.add("mul.hi.s32", "w", lambda a, b: s32(a) * s32(b) >> 32 & W)
    two.add("mul.hi.u32", "w", lambda a, b: a * b >> 32)
    two.add("mul.wide.s32", "l", lambda a, b: s32(a) * s32(b) & L)
    two.add("mul.wide.u32", "l", lambda a, b: a * b)
    two.add("copysign.f32", "w", lambda a, b: a & 1 << 31 | b & (1 << 31) - 1)
    two.form("mov.b64 {d}, {{{a}, {b}}};", "l", lambda a, b: a | b << 32)
    two.form("mov.b64 %ld, {{{a}, {b}}}; mov.b64 {{{a}, {b}}}, %ld; mov.b32 {d}, {b}; mov.b32 {b}, {d};", "w",
             lambda a, b: b)
    two.form("setp.lt.s32 {d}, {a}, 17;", "p", lambda a, b: int(s32(a) < 17))
    two.form("setp.lt.s32 {d}|%pq, {a}, {b}; not.pred {d}, %pq;", "p", lambda a, b: int(s32(a) < s32(b)))

    shift = Group("integer", "shift32", "ww", "Shifts of 32 bits: amounts of 32 and more too.",
                  [(a, n) for a in (0x80000001, 0x12345678) for n in
                   (0, 1, 4, 15, 16, 30, 31, 32, 33, 63, 64, 255, 256, 0x80000000, 0xFFFFFFE1, W)])
    shift.add("shl.b32", "w", shifted(32))
    shift.add("shr.u32 shr.b32", "w", shifted(32, True))
    shift.add("shr.s32", "w", shifted(32, True, s32))
    for spelling, rule in [("shf.l.wrap", lambda a, n: (0xDEADBEEF << 32 | a) << (n & 31) >> 32 & W),
                           ("shf.r.wrap", lambda a, n: (0xDEADBEEF << 32 | a) >> (n & 31) & W),
                           ("shf.l.clamp", lambda a, n: (0xDEADBEEF << 32 | a) << min(n, 32) >> 32 & W),
                           ("shf.r.clamp", lambda a, n: (0xDEADBEEF << 32 | a) >> min(n, 32) & W)]:
        shift.form(f"{spelling}.b32 {{d}}, {{a}}, 0xdeadbeef, {{b}};", "w", rule)

    three = Group("integer", "w3", "www", "Three operands of 32 bits.", rows([I32, I32, I32], 3, [], [32, 32, 32]))
    three.add("mad.lo.s32 mad.lo.u32", "w", lambda a, b, c: a * b + c & W)
    three.add("mad.hi.s32", "w", lambda a, b, c: (s32(a) * s32(b) >> 32) + c & W)
    three.add("mad.hi.u32", "w", lambda a, b, c: (a * b >> 32) + c & W)
    three.add("sad.s32", "w", lambda a, b, c: abs(s32(a) - s32(b)) + c & W)
    three.add("sad.u32", "w", lambda a, b, c: abs(a - b) + c & W)
    three.add("dp4a.s32.s32", "w", dp4a(lambda x: signed_byte(x)))
    three.add("dp4a.u32.u32", "w", dp4a(plain))
    three.add("prmt.b32", "w", prmt)
    three.form("prmt.b32 {d}, {a}, {b}, 0x3c81;", "w", lambda a, b, c: prmt(a, b, 0x3C81))
    for table in (0x96, 0xE8, 0x80, 0xFE, 0xCA, 0x1D, 0x00, 0xFF):
        three.form(f"lop3.b32 {{d}}, {{a}}, {{b}}, {{c}}, {table:#04x};", "w", lop3(table))
    for spelling in ("slct.b32.s32", "slct.u32.s32", "slct.s32.s32", "slct.f32.s32"):
        three.add(spelling, "w", lambda a, b, c: a if s32(c) >= 0 else b)

    places = [(at, n) for at in (0, 1, 8, 31, 32, 40, 255, 0x108) for n in (0, 1, 8, 32)]
    field = Group("integer", "bitfield", "wwww", "Bit fields: places and lengths past the end, taken modulo 256.",
                  [((0xF0F00FB5, 0x7FFFFFFE)[k % 2], (0x12345678, W)[k // 2 % 2], at, n | (k % 3 == 2) << 9)
                   for k, (at, n) in enumerate(places)])
    field.add("bfi.b32", "w", lambda a, b, c, d: bfi(a, b, c, d, 32))
    field.form("bfe.u32 {d}, {a}, {c}, {e};", "w", lambda a, b, c, d: bfe(a, c, d, False))
    field.form("bfe.s32 {d}, {a}, {c}, {e};", "w", lambda a, b, c, d: bfe(a, c, d, True))
    field.form("bfe.s32 {d}, {b}, 4, {e};", "w", lambda a, b, c, d: bfe(b, 4, d, True))
    wide = Group("integer", "bitfield64", "llww", "Bit fields of 64 bits.",
                 [(0xF0F00FB512345679, (0, L)[k % 2], (0, 1, 31, 32, 40, 63, 64, 255)[k // 4], (0, 1, 33, 64)[k % 4])
                  for k in range(32)])
    wide.add("bfi.b64", "l", lambda a, b, c, d: bfi(a, b, c, d, 64))

    half1 = Group("integer", "h1", "h", "One operand of 16 bits.", rows([I16], 5, randoms=[16]))
    half1.add("mov.b16 mov.u16 mov.s16", "h", plain)
    half1.add("not.b16", "h", lambda a: a ^ H)
    half1.add("neg.s16", "h", lambda a: -a & H)
    half1.form("add.s16 {d}, {a}, -1;", "h", lambda a: a - 1 & H)
    half1.form("setp.lt.s16 {d}, {a}, -1;", "p", lambda a: int(s16(a) < -1))
    half1.form("setp.gt.u16 {d}, {a}, 0xff;", "p", lambda a: int(a > 0xFF))
    half2 = Group("integer", "h2", "hh", "Two operands of 16 bits.",
                  rows([I16, I16], 6, [(0x8000, 0xFFFF), (0xFFFF, 0xFFFF)], [16, 16]))
    arithmetic(half2, "h", 16, False)
    comparisons(half2, 16)
    half2.add("mul.wide.s16", "w", lambda a, b: s16(a) * s16(b) & W)
    half2.add("mul.wide.u16", "w", lambda a, b: a * b)
    half2.form("mov.b32 {d}, {{{a}, {b}}};", "w", lambda a, b: a | b << 16)
    half3 = Group("integer", "h3", "hhh", "Three operands of 16 bits.", rows([I16, I16, I16], 7, [], [16] * 3))
    half3.add("mad.lo.s16 mad.lo.u16", "h", lambda a, b, c: a * b + c & H)
    shift16 = Group("integer", "shift16", "hw", "Shifts of 16 bits.",
                    [(a, n) for a in (0x8001, 0x1234) for n in
                     (0, 1, 4, 8, 14, 15, 16, 17, 31, 32, 33, 63, 65536, 0x10001, 0x80000000, W)])
    shift16.add("shl.b16", "h", shifted(16))
    shift16.add("shr.u16 shr.b16", "h", shifted(16, True))
    shift16.add("shr.s16", "h", shifted(16, True, s16))

    long1 = Group("integer", "l1", "l", "One operand of 64 bits.", rows([I64], 8, randoms=[64]))
    long1.add("mov.b64 mov.u64 mov.s64 mov.f64", "l", plain)
    long1.add("not.b64", "l", lambda a: a ^ L)
    long1.add("abs.s64", "l", lambda a: abs(s64(a)) & L)
    long1.add("neg.s64", "l", lambda a: -a & L)
    long1.add("brev.b64", "l", lambda a: number(bits_of(a, 64)[::-1]))
    long1.add("popc.b64", "w", lambda a: a.bit_count())
    long1.add("clz.b64", "w", lambda a: 64 - a.bit_length())
    long1.form("mov.b64 {{%wa, %wb}}, {a}; mov.b64 {d}, {{%wb, %wa}};", "l", lambda a: a >> 32 | a << 32 & L)
    long1.form("mov.b64 {{_, {d}}}, {a};", "w", lambda a: a >> 32)
    long1.form("mov.f64 {d}, 0d3FF0000000000000;", "l", lambda a: 0x3FF << 52)
    long1.form("add.s64 {d}, {a}, -16;", "l", lambda a: a - 16 & L)
    long2 = Group("integer", "l2", "ll", "Two operands of 64 bits.",
                  rows([I64, I64], 9, [(1 << 63, L), (1 << 63, 1), (7, L - 1), (L - 6, 2)], [64, 64]))
    arithmetic(long2, "l", 64, True)
    comparisons(long2, 64)
    long2.add("mul.hi.s64", "l", lambda a, b: s64(a) * s64(b) >> 64 & L)
    long2.add("mul.hi.u64", "l", lambda a, b: a * b >> 64)
    long3 = Group("integer", "l3", "lll", "Three operands of 64 bits.", rows([I64, I64, I64], 10, [], [64] * 3))
    long3.add("mad.lo.s64 mad.lo.u64", "l", lambda a, b, c: a * b + c & L)
    mixed = Group("integer", "wwl", "wwl", "Sums of 64 bits.", rows([I32, I32, I64], 11, [], [32, 32, 64]))
    mixed.add("mad.wide.s32", "l", lambda a, b, c: s32(a) * s32(b) + c & L)
    mixed.add("mad.wide.u32", "l", lambda a, b, c: a * b + c & L)
    shift64 = Group("integer", "shift64", "lw", "Shifts of 64 bits.",
                    [(a, n) for a in (0x8000000000000001, 0x123456789ABCDEF0) for n in
                     (0, 1, 4, 16, 31, 32, 33, 62, 63, 64, 65, 127, 255, 256, 0x80000000, W)])
    shift64.add("shl.b64", "l", shifted(64))
    shift64.add("shr.u64 shr.b64", "l", shifted(64, True))
    shift64.add("shr.s64", "l", shifted(64, True, s64))

    choose = Group("integer", "choose", "wwp", "Choices by a predicate.",
                   [(*row, k % 3 % 2) for k, row in enumerate(rows([I32, I32], 12, [], [32, 32]))])
    choose.add("selp.b32 selp.u32 selp.s32 selp.f32", "w", lambda a, b, p: a if p else b)
    choose.form("selp.b32 {d}, 1, 0, {c};", "w", lambda a, b, p: p)
    for join, rule in [("and", lambda x, p: x & p), ("or", lambda x, p: x | p), ("xor", lambda x, p: x ^ p)]:
        def both(a, b, p, rule=rule):
            x = int(s32(a) < s32(b))
            return rule(x, p) + 2 * rule(1 - x, p)
        choose.form(f"setp.lt.{join}.s32 {{d}}, {{a}}, {{b}}, {{c}};", "p",
                    lambda a, b, p, rule=rule: rule(int(s32(a) < s32(b)), p))
        choose.form(f"setp.lt.{join}.s32 {{d}}, {{a}}, {{b}}, !{{c}};", "p",
                    lambda a, b, p, rule=rule: rule(int(s32(a) < s32(b)), 1 - p))
        choose.form(f"setp.lt.{join}.s32 %pd|%pq, {{a}}, {{b}}, {{c}}; selp.b32 {{d}}, 1, 0, %pd; "
                    "@%pq add.s32 {d}, {d}, 2;", "w", both)
    choose.form("mov.b32 {d}, {b}; @{c} mov.b32 {d}, {a};", "w", lambda a, b, p: a if p else b)
    choose.form("mov.b32 {d}, {b}; @!{c} mov.b32 {d}, {a};", "w", lambda a, b, p: b if p else a)
    choose16 = Group("integer", "choose16", "hhp", "Choices of 16 bits.",
                     [(*row, k % 3 % 2) for k, row in enumerate(rows([I16, I16], 13, [], [16, 16]))])
    choose16.add("selp.b16 selp.u16 selp.s16", "h", lambda a, b, p: a if p else b)
    choose64 = Group("integer", "choose64", "llp", "Choices of 64 bits.",
                     [(*row, k % 3 % 2) for k, row in enumerate(rows([I64, I64], 14, [], [64, 64]))])
    choose64.add("selp.b64 selp.u64 selp.s64 selp.f64", "l", lambda a, b, p: a if p else b)
    predicate = Group("integer", "predicates", "pp", "Predicates.", [(k & 1, k >> 1 & 1) for k in range(32)])
    predicate.add("mov.pred not.pred", "p", {"mov.pred": lambda a, b: a, "not.pred": lambda a, b: 1 - a}, 1)
    predicate.add("and.pred", "p", lambda a, b: a & b)
    predicate.add("or.pred", "p", lambda a, b: a | b)
    predicate.add("xor.pred", "p", lambda a, b: a ^ b)
    predicate.form("mov.pred {d}, 1;", "p", lambda a, b: 1)
    predicate.form("mov.pred {d}, -1;", "p", lambda a, b: 1)
    predicate.form("mov.pred {d}, 0;", "p", lambda a, b: 0)
    return [one, two, shift, three, field, wide, half1, half2, half3, shift16, long1, long2, long3, mixed,
            shift64, choose, choose16, choose64, predicate]


def signed_byte(x):
    return x - 256 if x & 128 else x
