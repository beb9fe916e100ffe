// params.cuh   what kernels take by value: geometry and rules as structs with named fields
//
// Every field takes four bytes, so a struct has no padding and its Rust twin (src/device/gpu/params.rs)
// has the same bytes. A unit test reads this file and compares names, order and types: one field a line.
//
// No tensor has 2^31 elements or more (the host refuses them), so an int holds every offset.

#pragma once

// Any shape, flat.
struct Elements {
    unsigned len;
};

// A matrix: rows of numbers that lie side by side.
struct Matrix {
    unsigned rows;
    unsigned columns;
};

// Bytes of pictures to numbers: y[c] = pixel[order[c]] · scale[c] + offset[c].
struct Normalize {
    unsigned rows;                                   // pixels of all pictures
    unsigned order[3];                               // each below 3
    float scale[3];
    float offset[3];
};

// n pictures (h, w, 3) of a set of count: gathered, moved, normalized.
struct Augment {
    unsigned count;
    unsigned n;
    unsigned h;
    unsigned w;
    unsigned border;                                 // 0 nearest, 1 reflect, 2 wrap, 3 constant
    float value;                                     // of a constant border
    unsigned order[3];                               // each below 3
    float scale[3];
    float offset[3];
};

// 3x3, stride 1, one pixel of zeros around: x (n, h, w, c_in), weight (c_out, 3, 3, c_in),
// y (n, h, w, c_out).
struct Conv2d {
    unsigned n;
    unsigned h;
    unsigned w;
    unsigned c_in;
    unsigned c_out;
};

// 2x2, stride 2: x (n, h, w, c), y (n, h/2, w/2, c).
struct Pool2d {
    unsigned n;
    unsigned h;
    unsigned w;
    unsigned c;
};

// x (n, c_in), weight (c_in, c_out), y (n, c_out).
struct Dense {
    unsigned n;
    unsigned c_in;
    unsigned c_out;
};

// A sum that several blocks share: block k of the split's axis takes terms k·length to (k+1)·length.
struct Split {
    unsigned length;
};

// What those blocks left: count results of len numbers, one behind the other.
struct Partials {
    unsigned count;
    unsigned len;
};

// A mask and the factor of what it keeps; 64-bit words as halves.
struct Dropout {
    unsigned len;
    float rate;
    float scale;                                     // 1 / (1 - rate)
    unsigned seed_low;
    unsigned seed_high;
    unsigned stream;
    unsigned counter_low;
    unsigned counter_high;
};

// v = rho·v + (1-rho)·g²;  w = w - rate·g / √(v + epsilon).
struct Rmsprop {
    float rate;
    float rho;
    float epsilon;
};
