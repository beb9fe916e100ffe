// conv2d_tf32x3   the four convolutions on tensor cores: f32 in memory, each operand as two of tf32
// targets: sm_80
// hot: conv2d_forward_tf32x3_128x64x16
// hot: conv2d_maxpool2d_forward_tf32x3_128x64x16
// hot: conv2d_backward_input_tf32x3_128x64x16
// hot: conv2d_backward_weight_tf32x3_128x64x16
// hot: conv2d_backward_weight_tf32x3_64x64x16
// hot: conv2d_forward_parts_tf32x3_128x64x16
// hot: conv2d_maxpool2d_forward_parts_tf32x3_128x64x16
// hot: conv2d_backward_input_parts_tf32x3_128x64x16
// hot: conv2d_forward_tf32x3_rgb
// hot: conv2d_forward_tf32x3_any
// hot: conv2d_maxpool2d_forward_tf32x3_any
// hot: conv2d_backward_input_tf32x3_any
// hot: conv2d_backward_weight_tf32x3_any
// dynamic-shared: conv2d_forward_tf32x3_128x64x16 49152
// dynamic-shared: conv2d_maxpool2d_forward_tf32x3_128x64x16 49152
// dynamic-shared: conv2d_backward_input_tf32x3_128x64x16 49152
// dynamic-shared: conv2d_backward_weight_tf32x3_128x64x16 49152
// dynamic-shared: conv2d_backward_weight_tf32x3_64x64x16 32768
// dynamic-shared: conv2d_forward_parts_tf32x3_128x64x16 49152
// dynamic-shared: conv2d_maxpool2d_forward_parts_tf32x3_128x64x16 49152
// dynamic-shared: conv2d_backward_input_parts_tf32x3_128x64x16 49152
// dynamic-shared: conv2d_forward_tf32x3_rgb 49152
// dynamic-shared: conv2d_forward_tf32x3_any 49152
// dynamic-shared: conv2d_maxpool2d_forward_tf32x3_any 49152
// dynamic-shared: conv2d_backward_input_tf32x3_any 49152
// dynamic-shared: conv2d_backward_weight_tf32x3_any 49152
//
//   conv2d_forward            y  = f(bias + Σ x·weight)
//   conv2d_maxpool2d_forward  y  = max over 2x2 of ReLU(bias + Σ x·weight), winner = which
//   conv2d_backward_input     dx = Σ dy·weight, filter rotated, where mask > 0
//   conv2d_backward_weight    parts[k] = Σ dy·x over the pixels of part k; biases is null
//
// 3xTF32: results as accurate as those of fused multiply-adds in f32, of three products on tensor cores. How operands
// are split, which products are taken, and where they are added: mma.cuh. Shapes as in conv2d_forward.cu and its kin.
// Implementation: conv2d_mma.cuh; split-K: conv2d_parts.cuh; channels that are no whole chunks of 16 bytes, and
// images (rgb): conv2d_any.cuh.
//
// Each byte from shared memory serves three products, so a block of 128 x 64 keeps the tensor cores busy. A larger one
// does not fit: accumulators, the terms of a step and two parts of each operand take all registers. A step of 16 is two
// of mma: with four, the compiler spilled.

#include "conv2d_entries.cuh"

CONV2D_FORWARD(tf32x3_128x64x16, Tf32x3, 128, 2)
{
    forward<Tile<Tf32x3, 128, 64, 16, 64, 32, 4>>(p, relu, x, weight, bias, y);
}

CONV2D_MAXPOOL2D_FORWARD(tf32x3_128x64x16, Tf32x3, 128, 2)
{
    maxpool2d_forward<Tile<Tf32x3, 128, 64, 16, 64, 32, 4>>(p, x, weight, bias, y, winner);
}

CONV2D_BACKWARD_INPUT(tf32x3_128x64x16, Tf32x3, 128, 2)
{
    backward_input<Tile<Tf32x3, 128, 64, 16, 64, 32, 4>>(p, dy, weight, mask, dx);
}

CONV2D_BACKWARD_WEIGHT(tf32x3_128x64x16, Tf32x3, 128, 2)
{
    backward_weight<Tile<Tf32x3, 128, 64, 16, 64, 32, 4>>(p, split, x, dy, parts, biases);
}

CONV2D_BACKWARD_WEIGHT(tf32x3_64x64x16, Tf32x3, 128, 3)
{
    backward_weight<Tile<Tf32x3, 64, 64, 16, 32, 32, 4>>(p, split, x, dy, parts, biases);
}

CONV2D_FORWARD_PARTS(tf32x3_128x64x16, Tf32x3, 128, 2)
{
    convolve_part<Tile<Tf32x3, 128, 64, 16, 64, 32, 4>, Rows::PIXELS, false>(p, split, x, weight, parts);
}

CONV2D_MAXPOOL2D_FORWARD_PARTS(tf32x3_128x64x16, Tf32x3, 128, 2)
{
    convolve_part<Tile<Tf32x3, 128, 64, 16, 64, 32, 4>, Rows::WINDOWS, false>(p, split, x, weight, parts);
}

CONV2D_BACKWARD_INPUT_PARTS(tf32x3_128x64x16, Tf32x3, 128, 2)
{
    convolve_part<Tile<Tf32x3, 128, 64, 16, 64, 32, 4>, Rows::PIXELS, true>(p, split, dy, weight, parts);
}

CONV2D_FORWARD_REDUCE(tf32x3, Tf32x3)
{
    forward_reduce<Tf32x3>(p, columns, relu, parts, bias, y);
}

CONV2D_MAXPOOL2D_FORWARD_REDUCE(tf32x3, Tf32x3)
{
    maxpool2d_forward_reduce<Tf32x3>(p, columns, parts, bias, y, winner);
}

CONV2D_BACKWARD_INPUT_REDUCE(tf32x3, Tf32x3)
{
    backward_input_reduce<Tf32x3>(p, parts, mask, dx);
}

CONV2D_FORWARD(tf32x3_rgb, Tf32x3, 128, 3)
{
    forward_any<Tf32x3, 3>(p, relu, x, weight, bias, y);
}

CONV2D_FORWARD(tf32x3_any, Tf32x3, 128, 2)
{
    forward_any<Tf32x3, 0>(p, relu, x, weight, bias, y);
}

CONV2D_MAXPOOL2D_FORWARD(tf32x3_any, Tf32x3, 128, 2)
{
    maxpool2d_forward_any<Tf32x3>(p, x, weight, bias, y, winner);
}

CONV2D_BACKWARD_INPUT(tf32x3_any, Tf32x3, 128, 2)
{
    backward_input_any<Tf32x3>(p, dy, weight, mask, dx);
}

CONV2D_BACKWARD_WEIGHT(tf32x3_any, Tf32x3, 128, 2)
{
    backward_weight_any<Tf32x3>(p, split, x, dy, parts, biases);
}
