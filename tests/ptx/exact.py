"""Arithmetic as the PTX ISA defines it, on bit patterns, with exact fractions.

It shares nothing with the emulator: no machine float takes part. Used by make_forms.py and
make_tensor.py. Python's standard library only.
"""

from decimal import Decimal, getcontext
from fractions import Fraction
from math import isqrt

getcontext().prec = 80


class Format:
    """bits of precision (the hidden one included), of the exponent, of all."""

    def __init__(self, precision, exponent, width):
        self.p, self.e, self.width = precision, exponent, width
        self.bias = (1 << (exponent - 1)) - 1
        self.low, self.high = 1 - self.bias, self.bias
        self.inf = ((1 << exponent) - 1) << (precision - 1)
        self.sign = 1 << (width - 1)

    def read(self, bits):
        """(kind, negative, magnitude): kind is "nan", "inf" or "number"."""
        negative = bool(bits & self.sign)
        field, part = (bits & ~self.sign) >> (self.p - 1), bits & ((1 << (self.p - 1)) - 1)
        if field == (1 << self.e) - 1:
            return ("nan" if part else "inf", negative, None)
        if field:
            part |= 1 << (self.p - 1)
        return ("number", negative, Fraction(part) * Fraction(2) ** (max(field, 1) - self.bias - self.p + 1))

    def write(self, value, mode="rn", negative=False):
        """The bits of a fraction, rounded; `negative` is the sign of a zero."""
        if value == 0:
            return self.sign if negative else 0
        negative, size = value < 0, abs(value)
        e = size.numerator.bit_length() - size.denominator.bit_length()
        e -= Fraction(2) ** e > size
        e = max(e, self.low)
        scaled = size / Fraction(2) ** (e - self.p + 1)
        n = scaled.numerator // scaled.denominator
        rest = scaled - n
        half = Fraction(1, 2)
        up = {"rn": rest > half or (rest == half and n & 1), "rna": rest >= half, "rz": False,
              "rm": negative and rest > 0, "rp": not negative and rest > 0}[mode]
        n += bool(up)
        if n == 1 << self.p:
            n, e = n >> 1, e + 1
        sign = self.sign if negative else 0
        if e > self.high:
            largest = mode == "rz" or (mode == "rm" and not negative) or (mode == "rp" and negative)
            return sign | (self.inf - 1 if largest else self.inf)
        if n < 1 << (self.p - 1):
            return sign | n
        return sign | (e + self.bias) << (self.p - 1) | n & ((1 << (self.p - 1)) - 1)


F32, F64, F16, BF16 = Format(24, 8, 32), Format(53, 11, 64), Format(11, 5, 16), Format(8, 8, 16)
NAN = 0x7FFFFFFF  # what f32 arithmetic makes of NaN
ANY_NAN = "nan"


def nan_of(f):
    return NAN if f is F32 else ANY_NAN


def flush(bits):
    """f32 denormals to zeros of their sign."""
    return bits & 0x80000000 if not bits & 0x7F800000 else bits


def add(f, a, b, mode="rn"):
    (ka, na, a), (kb, nb, b) = f.read(a), f.read(b)
    if "nan" in (ka, kb) or (ka == kb == "inf" and na != nb):
        return nan_of(f)
    if "inf" in (ka, kb):
        return f.inf | (f.sign if (na if ka == "inf" else nb) else 0)
    value = (-a if na else a) + (-b if nb else b)
    # Like signs of zeros stay, other exact zeros are +0, or -0 when rounding down (IEEE 754, 6.3).
    zero = na if a == b == 0 and na == nb else mode == "rm"
    return f.write(value, mode, zero)


def mul(f, a, b, mode="rn"):
    (ka, na, a), (kb, nb, b) = f.read(a), f.read(b)
    if "nan" in (ka, kb) or (ka == "inf" and b == 0) or (kb == "inf" and a == 0):
        return nan_of(f)
    if "inf" in (ka, kb):
        return f.inf | (f.sign if na != nb else 0)
    return f.write(-a * b if na != nb else a * b, mode, na != nb)


def fma(f, a, b, c, mode="rn"):
    (ka, na, a), (kb, nb, b), (kc, nc, c) = f.read(a), f.read(b), f.read(c)
    if "nan" in (ka, kb, kc) or (ka == "inf" and b == 0) or (kb == "inf" and a == 0):
        return nan_of(f)
    if "inf" in (ka, kb):
        return nan_of(f) if kc == "inf" and nc != (na != nb) else f.inf | (f.sign if na != nb else 0)
    if kc == "inf":
        return f.inf | (f.sign if nc else 0)
    product = -a * b if na != nb else a * b
    zero = nc if product == c == 0 and nc == (na != nb) else mode == "rm"
    return f.write(product + (-c if nc else c), mode, zero)


def div(f, a, b, mode="rn"):
    (ka, na, a), (kb, nb, b) = f.read(a), f.read(b)
    sign = f.sign if na != nb else 0
    if "nan" in (ka, kb) or ka == kb == "inf" or a == b == 0:
        return nan_of(f)
    if ka == "inf" or b == 0:
        return sign | f.inf
    if kb == "inf":
        return sign
    return f.write(-a / b if na != nb else a / b, mode, na != nb)


def root(size):
    """The square root to hundreds of bits, the last of which says whether there were more."""
    shift = 2800
    scaled = size * (1 << shift)
    whole = scaled.numerator // scaled.denominator
    n = isqrt(whole)
    exact = n * n == scaled
    return Fraction(2 * n + (not exact), 2 << (shift // 2))


def sqrt(f, a):
    kind, negative, a = f.read(a)
    if kind == "nan" or (negative and a != 0):
        return nan_of(f)
    return f.inf if kind == "inf" else f.write(root(a), "rn", negative)


def rsqrt(f, a):
    kind, negative, a = f.read(a)
    if kind == "nan" or (negative and a != 0):
        return nan_of(f)
    if kind == "inf":
        return 0
    return f.inf | (f.sign if negative else 0) if a == 0 else f.write(1 / root(a))


def smaller(a, b):
    """min: numbers win over NaN, -0 < +0."""
    return pick(a, b, lambda x, y: x < y)


def larger(a, b):
    return pick(a, b, lambda x, y: x > y)


def key(bits):
    """Orders f32 as numbers, -0 before +0."""
    return -(bits & 0x7FFFFFFF) - 1 if bits & 0x80000000 else bits


def pick(a, b, better):
    nans = [F32.read(x)[0] == "nan" for x in (a, b)]
    if all(nans):
        return NAN
    return b if nans[0] else a if nans[1] or better(key(a), key(b)) else b


def saturate(bits):
    """`.sat` of a result: into [0, 1], NaN to +0."""
    kind, negative, size = F32.read(bits)
    if kind == "nan" or negative:
        return 0
    return 0x3F800000 if kind == "inf" or size > 1 else bits


def signed(bits, width):
    return bits - (1 << width) if bits >> (width - 1) & 1 else bits


def to_integer(f, bits, width, is_signed, mode):
    """cvt to an integer: rounded, saturated; NaN as in PTX ISA 9.0, 9.7.9.21."""
    kind, negative, size = f.read(bits)
    if kind == "nan":
        return 0 if f is not F64 and width != 64 else 1 << (width - 1)
    low, high = (-(1 << (width - 1)), (1 << (width - 1)) - 1) if is_signed else (0, (1 << width) - 1)
    if kind == "inf":
        value = low if negative else high
    else:
        value = whole(-size if negative else size, mode)
    return min(max(value, low), high) & ((1 << width) - 1)


def whole(x, mode):
    floor = x.numerator // x.denominator
    rest = x - floor
    if mode == "rmi":
        return floor
    if mode == "rpi":
        return floor + (rest > 0)
    if mode == "rzi":
        return floor + (rest > 0 and x < 0)
    return floor + (rest > Fraction(1, 2) or (rest == Fraction(1, 2) and floor & 1))


def to_whole(bits, mode):
    """cvt.rXi.f32.f32."""
    kind, negative, size = F32.read(bits)
    if kind == "nan":
        return ANY_NAN
    return bits if kind == "inf" else F32.write(Fraction(whole(-size if negative else size, mode)), "rn", negative)


def convert(to, source, bits, mode="rn"):
    """Between floating-point formats."""
    kind, negative, size = source.read(bits)
    sign = to.sign if negative else 0
    if kind == "nan":
        # To f16 and bf16 NaN is 0x7fff, to f32 0x7fffffff; PTX promises no payload for f64. From f64 to f32 an
        # H200 keeps the payload's upper part.
        if (to.width, source.width) == (32, 64):
            return sign | 0x7FC00000 | bits >> 29 & 0x3FFFFF
        return {16: 0x7FFF, 32: NAN, 64: ANY_NAN}[to.width]
    return sign | to.inf if kind == "inf" else to.write(-size if negative else size, mode, negative)


def tf32(bits):
    """cvt.rna.tf32.f32: ten bits of fraction, halves away from zero; of a NaN what an H200 leaves."""
    kind, negative, size = F32.read(bits)
    if kind != "number":
        return bits & 0xFFFFE000
    short = Format(11, 8, 19)
    return short.write(-size if negative else size, "rna", negative) << 13


# Functions that PTX only approximates. The emulator's claim is the correctly rounded result.

TWO = Decimal(2)


def decimal(x):
    return Decimal(x.numerator) / Decimal(x.denominator)


def near(x):
    """A decimal of 80 digits to f32."""
    return F32.write(Fraction(x))


def ex2(bits):
    kind, negative, size = F32.read(bits)
    if kind == "nan":
        return NAN
    if kind == "inf":
        return 0 if negative else F32.inf
    if size > 1000:
        return 0 if negative else F32.inf
    return near(TWO ** (-decimal(size) if negative else decimal(size)))


def lg2(bits):
    kind, negative, size = F32.read(bits)
    if kind == "nan" or (negative and size != 0):
        return NAN
    if kind == "inf":
        return F32.inf
    if size == 0:
        return F32.sign | F32.inf
    return 0 if size == 1 else near(decimal(size).ln() / TWO.ln())


def wave(bits, cosine):
    kind, negative, size = F32.read(bits)
    if kind != "number":
        return NAN
    if size == 0:
        return 0x3F800000 if cosine else bits
    x = decimal(size)
    term, total, k = (Decimal(1), Decimal(0), 0) if cosine else (x, Decimal(0), 1)
    while abs(term) > Decimal(10) ** -70 or k < x:
        total += term
        term *= -x * x / ((k + 1) * (k + 2))
        k += 2
    return near(total if cosine or not negative else -total)


def tanh(bits):
    kind, negative, size = F32.read(bits)
    if kind == "nan":
        return NAN
    if size == 0:
        return bits
    if kind == "inf" or size > 40:
        return 0xBF800000 if negative else 0x3F800000
    # e^2x - 1 by its series where it would cancel; 80 digits are enough for the rest.
    x = decimal(size)
    if x < Decimal(10) ** -20:
        return near(-x if negative else x)
    grown = (2 * x).exp()
    value = (grown - 1) / (grown + 1)
    return near(-value if negative else value)
