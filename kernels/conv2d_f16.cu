// conv2d_f16   the four convolutions on tensor cores: f16 in memory, accumulators and bias f32
// targets: sm_75
// hot: conv2d_forward_f16_128x128x32
// hot: conv2d_forward_f16_128x64x32
// hot: conv2d_maxpool2d_forward_f16_128x128x32
// hot: conv2d_maxpool2d_forward_f16_128x64x32
// hot: conv2d_backward_input_f16_128x128x32
// hot: conv2d_backward_input_f16_128x64x32
// hot: conv2d_backward_weight_f16_128x128x32
// hot: conv2d_backward_weight_f16_128x64x32
// hot: conv2d_backward_weight_f16_64x64x32
// hot: conv2d_forward_parts_f16_128x128x32
// hot: conv2d_forward_parts_f16_128x64x32
// hot: conv2d_maxpool2d_forward_parts_f16_128x128x32
// hot: conv2d_maxpool2d_forward_parts_f16_128x64x32
// hot: conv2d_backward_input_parts_f16_128x128x32
// hot: conv2d_backward_input_parts_f16_128x64x32
// hot: conv2d_forward_f16_any
// hot: conv2d_maxpool2d_forward_f16_any
// hot: conv2d_backward_input_f16_any
// hot: conv2d_backward_weight_f16_any
// dynamic-shared: conv2d_forward_f16_128x128x32 32768
// dynamic-shared: conv2d_forward_f16_128x64x32 24576
// dynamic-shared: conv2d_maxpool2d_forward_f16_128x128x32 32768
// dynamic-shared: conv2d_maxpool2d_forward_f16_128x64x32 24576
// dynamic-shared: conv2d_backward_input_f16_128x128x32 32768
// dynamic-shared: conv2d_backward_input_f16_128x64x32 24576
// dynamic-shared: conv2d_backward_weight_f16_128x128x32 32768
// dynamic-shared: conv2d_backward_weight_f16_128x64x32 24576
// dynamic-shared: conv2d_backward_weight_f16_64x64x32 16384
// dynamic-shared: conv2d_forward_parts_f16_128x128x32 32768
// dynamic-shared: conv2d_forward_parts_f16_128x64x32 24576
// dynamic-shared: conv2d_maxpool2d_forward_parts_f16_128x128x32 32768
// dynamic-shared: conv2d_maxpool2d_forward_parts_f16_128x64x32 24576
// dynamic-shared: conv2d_backward_input_parts_f16_128x128x32 32768
// dynamic-shared: conv2d_backward_input_parts_f16_128x64x32 24576
// dynamic-shared: conv2d_forward_f16_rgb 24576
// dynamic-shared: conv2d_forward_f16_any 24576
// dynamic-shared: conv2d_maxpool2d_forward_f16_any 24576
// dynamic-shared: conv2d_backward_input_f16_any 24576
// dynamic-shared: conv2d_backward_weight_f16_any 24576
//
//   conv2d_forward            y  = f(bias + Σ x·weight)
//   conv2d_maxpool2d_forward  y  = max over 2x2 of ReLU(bias + Σ x·weight), winner = which
//   conv2d_backward_input     dx = Σ dy·weight, filter rotated, where mask > 0
//   conv2d_backward_weight    parts[k] = Σ dy·x over the pixels of part k, biases[k, column tile] = its share of Σ dy
//
// Shapes as in conv2d_forward.cu and its kin. Implementation: conv2d_mma.cuh; split-K: conv2d_parts.cuh;
// channels that are no whole chunks of 16 bytes, and images (rgb): conv2d_any.cuh.
//
// Made for Turing, where bf16 and cp.async are not: chunks go through registers into two tiles, of at most 32 KiB,
// so that two blocks share a multiprocessor's 64 KiB. A block of 128 x 128 reads a byte from L2 per 64
// flops. What is too large for f16 becomes infinite and is found by the loss's scale (loss_scale.cu).

#include "conv2d_entries.cuh"

CONV2D_FORWARD(f16_128x128x32, F16, 128, 2)
{
    forward<Tile<F16, 128, 128, 32, 64, 64, 2>>(p, relu, x, weight, bias, y);
}

CONV2D_FORWARD(f16_128x64x32, F16, 128, 2)
{
    forward<Tile<F16, 128, 64, 32, 64, 32, 2>>(p, relu, x, weight, bias, y);
}

CONV2D_MAXPOOL2D_FORWARD(f16_128x128x32, F16, 128, 2)
{
    maxpool2d_forward<Tile<F16, 128, 128, 32, 64, 64, 2>>(p, x, weight, bias, y, winner);
}

CONV2D_MAXPOOL2D_FORWARD(f16_128x64x32, F16, 128, 2)
{
    maxpool2d_forward<Tile<F16, 128, 64, 32, 64, 32, 2>>(p, x, weight, bias, y, winner);
}

CONV2D_BACKWARD_INPUT(f16_128x128x32, F16, 128, 2)
{
    backward_input<Tile<F16, 128, 128, 32, 64, 64, 2>>(p, dy, weight, mask, dx);
}

CONV2D_BACKWARD_INPUT(f16_128x64x32, F16, 128, 2)
{
    backward_input<Tile<F16, 128, 64, 32, 64, 32, 2>>(p, dy, weight, mask, dx);
}

CONV2D_BACKWARD_WEIGHT(f16_128x128x32, F16, 128, 2)
{
    backward_weight<Tile<F16, 128, 128, 32, 64, 64, 2>>(p, split, x, dy, parts, biases);
}

CONV2D_BACKWARD_WEIGHT(f16_128x64x32, F16, 128, 2)
{
    backward_weight<Tile<F16, 128, 64, 32, 64, 32, 2>>(p, split, x, dy, parts, biases);
}

CONV2D_BACKWARD_WEIGHT(f16_64x64x32, F16, 128, 4)
{
    backward_weight<Tile<F16, 64, 64, 32, 32, 32, 2>>(p, split, x, dy, parts, biases);
}

CONV2D_FORWARD_PARTS(f16_128x128x32, F16, 128, 2)
{
    convolve_part<Tile<F16, 128, 128, 32, 64, 64, 2>, Rows::PIXELS, false>(p, split, x, weight, parts);
}

CONV2D_MAXPOOL2D_FORWARD_PARTS(f16_128x128x32, F16, 128, 2)
{
    convolve_part<Tile<F16, 128, 128, 32, 64, 64, 2>, Rows::WINDOWS, false>(p, split, x, weight, parts);
}

CONV2D_BACKWARD_INPUT_PARTS(f16_128x128x32, F16, 128, 2)
{
    convolve_part<Tile<F16, 128, 128, 32, 64, 64, 2>, Rows::PIXELS, true>(p, split, dy, weight, parts);
}

CONV2D_FORWARD_PARTS(f16_128x64x32, F16, 128, 2)
{
    convolve_part<Tile<F16, 128, 64, 32, 64, 32, 2>, Rows::PIXELS, false>(p, split, x, weight, parts);
}

CONV2D_MAXPOOL2D_FORWARD_PARTS(f16_128x64x32, F16, 128, 2)
{
    convolve_part<Tile<F16, 128, 64, 32, 64, 32, 2>, Rows::WINDOWS, false>(p, split, x, weight, parts);
}

CONV2D_BACKWARD_INPUT_PARTS(f16_128x64x32, F16, 128, 2)
{
    convolve_part<Tile<F16, 128, 64, 32, 64, 32, 2>, Rows::PIXELS, true>(p, split, dy, weight, parts);
}

CONV2D_FORWARD_REDUCE(f16, F16)
{
    forward_reduce<F16>(p, columns, relu, parts, bias, y);
}

CONV2D_MAXPOOL2D_FORWARD_REDUCE(f16, F16)
{
    maxpool2d_forward_reduce<F16>(p, columns, parts, bias, y, winner);
}

CONV2D_BACKWARD_INPUT_REDUCE(f16, F16)
{
    backward_input_reduce<F16>(p, parts, mask, dx);
}

CONV2D_FORWARD(f16_rgb, F16, 128, 2)
{
    forward_any<F16, 3>(p, relu, x, weight, bias, y);
}

CONV2D_FORWARD(f16_any, F16, 128, 2)
{
    forward_any<F16, 0>(p, relu, x, weight, bias, y);
}

CONV2D_MAXPOOL2D_FORWARD(f16_any, F16, 128, 2)
{
    maxpool2d_forward_any<F16>(p, x, weight, bias, y, winner);
}

CONV2D_BACKWARD_INPUT(f16_any, F16, 128, 2)
{
    backward_input_any<F16>(p, dy, weight, mask, dx);
}

CONV2D_BACKWARD_WEIGHT(f16_any, F16, 128, 2)
{
    backward_weight_any<F16>(p, split, x, dy, parts, biases);
}
