"""What each lane-by-lane instruction gives, as the PTX ISA 9.0 says, and the operands it is tried with."""

from dataclasses import dataclass, field

from exact import *

W, H, L = (1 << 32) - 1, (1 << 16) - 1, (1 << 64) - 1


@dataclass
class Group:
    file: str
    name: str
    kinds: str  # classes of the operands: h 16 bits, w 32, l 64, p predicate
    about: str
    rows: list
    forms: list = field(default_factory=list)  # label, text, class of the result, rule

    def add(self, spellings, kind, rule, count=None):
        """The plain form: all operands (or the first `count`) are registers."""
        names = ", ".join("{" + n + "}" for n in "abce"[: count or len(self.kinds)])
        for spelling in spellings.split():
            self.forms.append((spelling, f"{spelling} {{d}}, {names};", kind, rule if callable(rule) else rule[spelling]))

    def form(self, text, kind, rule):
        """Another form: with numbers, inverted predicates, vectors."""
        label = text.format(d="d", a="a", b="b", c="c", e="e").rstrip(";").replace(":", "")
        self.forms.append((label, text, kind, rule))


class Lcg:
    """Numbers that look random, the same on every machine (Knuth's MMIX)."""

    def __init__(self, seed):
        self.state = seed

    def __call__(self, bits):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & L
        return self.state >> (64 - bits)


I32 = [0, 1, 2, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFF, 0x10000, 0x12345678, 0x89ABCDEF,
       0x55555555, 0xAAAAAAAA, 0x80, 0x7F, 0xFFFFFFFE, 0xFFFF8000, 0x00FF00FF]
I16 = [0, 1, 2, 0xFFFF, 0x7FFF, 0x8000, 0x8001, 0xFF, 0x100, 0x1234, 0xABCD, 0x5555, 0x80, 0x7F, 0xFFFE]
I64 = [0, 1, L, L >> 1, 1 << 63, (1 << 63) + 1, 0xFFFFFFFF, 1 << 32, 0x80000000, 0x123456789ABCDEF0,
       0xFEDCBA9876543210, 0xAAAAAAAAAAAAAAAA, 2, L - 1, 0xFFFFFFFF80000000, 0x7FFFFFFF]
FLOATS = [0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x007FFFFF, 0x00800000, 0x80800000, 0x3F800000,
          0xBF800000, 0x3F000000, 0x3FC00000, 0x40200000, 0xC0200000, 0x3F800001, 0x3F7FFFFF, 0x33800000,
          0x33800001, 0x4B800000, 0x4B800001, 0x7149F2CA, 0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0xFF800000,
          0x7FC00000, 0xFF800001, 0x40490FDB, 0x3DCCCCCD, 0xBE99999A, 0x00400000, 0x1F000000, 0x9F123456]
DOUBLES = [0, 1 << 63, 1, (1 << 63) | 1, 0x000FFFFFFFFFFFFF, 0x0010000000000000, 0x3FF0000000000000,
           0xBFF0000000000000, 0x3FF0000000000001, 0x3FEFFFFFFFFFFFFF, 0x4330000000000000, 0x7FEFFFFFFFFFFFFF,
           0xFFEFFFFFFFFFFFFF, 0x7FF0000000000000, 0xFFF0000000000000, 0x7FF8000000000000, 0x400921FB54442D18,
           0x3FB999999999999A, 0xBFD3333333333333, 0x4008000000000000]


def rows(lists, seed, fixed=(), randoms=()):
    """32 rows: the fixed ones, then pairings of the lists, walked at different speeds, then random bits."""
    found, random = [tuple(row) for row in fixed], Lcg(seed)
    k = 0
    while len(found) < 32:
        if k % 4 == 3 and randoms:
            found.append(tuple(random(bits) if bits else random(32) and one[k % len(one)]
                               for bits, one in zip(randoms, lists)))
        else:
            found.append(tuple(one[(k * (1, 5, 3, 7)[at] + 2 * at) % len(one)] for at, one in enumerate(lists)))
        k += 1
    return found[:32]


def groups():
    import rules_float
    import rules_integer

    return [*rules_integer.groups(), *rules_float.groups()]
