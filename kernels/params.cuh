// params.cuh   what kernels take by value: geometry and rules as structs with named fields
//
// A field is made of four-byte numbers or of pointers (eight, placed at multiples of eight), and no struct
// has padding, so its Rust twin (src/device/gpu/params.rs) has the same bytes. A unit test reads this file
// and compares names, order, types and places: one field a line.
//
// No tensor has 2^31 elements or more (the host refuses it), so an int holds every offset. The one exception is the set
// of images that augment gathers from, whose offsets have 64 bits.

#pragma once

// Any shape, flat.
struct Elements {
    unsigned len;
};

// Any shape, flat, between floating-point formats: 0 f32, 1 f16, 2 bf16.
struct Cast {
    unsigned len;
    unsigned from;
    unsigned to;
};

// Matrices, one behind the other.
struct Transpose {
    unsigned batch;
    unsigned rows;
    unsigned columns;
};

// A matrix: rows of numbers that lie side by side.
struct Matrix {
    unsigned rows;
    unsigned columns;
};

// Bytes of images to numbers: y[c] = pixel[order[c]] · scale[c] + offset[c].
struct Normalize {
    unsigned rows;                                   // pixels of all images
    unsigned order[3];                               // each below 3
    float scale[3];
    float offset[3];
};

// n images (h, w, 3) of a set of count: gathered, moved, normalized.
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

// Tiles first to first + count of a map (n, h, w, c), of the `high` x `wide` tiles of each image.
struct Tiles {
    unsigned h;
    unsigned w;
    unsigned c;
    unsigned high;
    unsigned wide;
    unsigned first;
    unsigned count;
};

// Products of matrices, one for each of some points: rows x columns, `depth` terms, of which a block sums `length`.
struct Product {
    unsigned rows;
    unsigned columns;
    unsigned depth;
    unsigned length;
    unsigned points;
};

// 2x2, stride 2: x (n, h, w, c), y (n, h/2, w/2, c).
struct Pool2d {
    unsigned n;
    unsigned h;
    unsigned w;
    unsigned c;
};

// The mean of a map: x (n, pixels, c), y (n, c).
struct GlobalPool2d {
    unsigned n;
    unsigned pixels;
    unsigned c;
};

// x (n, c_in), weight (c_in, c_out), y (n, c_out).
struct Dense {
    unsigned n;
    unsigned c_in;
    unsigned c_out;
};

// A loss from logits: rows of this call, columns of a row, what the sum of the rows' gradients is divided
// by, and the share of the target that is spread evenly over the classes.
struct Loss {
    unsigned rows;
    unsigned columns;
    float denominator;
    float smoothing;
};

// Split-K, a sum that several blocks share: block k of that axis takes terms k·length to (k+1)·length.
struct Split {
    unsigned length;
};

// A product whose tiles and steps blocks share out evenly (stream-K): tiles of rows x columns, so many steps each.
struct StreamK {
    unsigned blocks;
    unsigned rows;
    unsigned columns;
    unsigned steps;
};

// What the blocks of a Split left: count results of len numbers, one behind the other.
struct Partials {
    unsigned count;
    unsigned len;
};

// A mask and the scale of what it keeps; 64-bit words as halves.
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

// Up to 64 tensors that one launch steps through (tensors.cuh). Blocks are dealt out in order: tensor k
// has those from first[k] on; the first of a place that holds no tensor is the largest number there is.
// `velocity` is v, the mean of g² in RMSprop and AdamW (Keras' name); the running step, which others call velocity, is
// `momentum`. A state that the rule does not keep is null, and so is the shadow of a weight that has none. With rule and
// adjustment the bytes stay below the 4096 that a kernel takes.
struct Tensors {
    const float* gradient[64];
    float* weight[64];
    float* velocity[64];
    float* momentum[64];
    float* mean[64];
    unsigned short* shadow[64];                      // the weight in 16 bits
    unsigned len[64];
    unsigned first[64];
};

// Before any rule: g = scale·g + l2·w;  w = w - w·decay·rate. A number that changes nothing is skipped.
struct Adjust {
    float scale;
    float l2;
    float decay;
    float rate;
};

// v = rho·v + (1-rho)·g²;  d = v; if centered mean = rho·mean + (1-rho)·g and d = max(v - mean², 0);
// root = √(d + epsilon), or √d + epsilon if outside;  step = rate·g / root, or
// momentum = momentum·momentum + rate·g / root if that is above 0;  w = w - step.
struct Rmsprop {
    float rate;
    float rho;
    float epsilon;
    float momentum;
    unsigned centered;
    unsigned outside;
};

// w = w - rate·g; or m = momentum·m - rate·g;  w = w + m, or w + momentum·m - rate·g if nesterov.
struct Sgd {
    float rate;
    float momentum;
    unsigned nesterov;
};

// m = m + (g - m)·new_1;  v = v + (g² - v)·new_2;  w = w - m·alpha / (√v + epsilon).
struct Adamw {
    float alpha;                                     // the rate, corrected for the zeros of the beginning
    float new_1;                                     // 1 - beta_1
    float new_2;                                     // 1 - beta_2
    float epsilon;
};
