// conv2d_bf16   the four convolutions on tensor cores: bf16 in memory, accumulators and bias f32
// targets: sm_80
// hot: conv2d_forward_bf16_128x128x64
// hot: conv2d_forward_bf16_128x128x32
// hot: conv2d_forward_bf16_128x64x64
// hot: conv2d_maxpool2d_forward_bf16_128x128x64
// hot: conv2d_maxpool2d_forward_bf16_128x128x32
// hot: conv2d_maxpool2d_forward_bf16_128x64x64
// hot: conv2d_backward_input_bf16_128x128x32
// hot: conv2d_backward_input_bf16_128x64x64
// hot: conv2d_backward_weight_bf16_128x128x32
// hot: conv2d_backward_weight_bf16_128x64x64
// hot: conv2d_backward_weight_bf16_64x64x64
// hot: conv2d_forward_parts_bf16_128x128x32
// hot: conv2d_maxpool2d_forward_parts_bf16_128x128x32
// hot: conv2d_backward_input_parts_bf16_128x128x32
// hot: conv2d_forward_parts_bf16_128x64x64
// hot: conv2d_maxpool2d_forward_parts_bf16_128x64x64
// hot: conv2d_backward_input_parts_bf16_128x64x64
// hot: conv2d_forward_bf16_any
// hot: conv2d_maxpool2d_forward_bf16_any
// hot: conv2d_backward_input_bf16_any
// hot: conv2d_backward_weight_bf16_any
// dynamic-shared: conv2d_forward_bf16_128x128x64 98304
// dynamic-shared: conv2d_forward_bf16_128x128x32 49152
// dynamic-shared: conv2d_forward_bf16_128x64x64 73728
// dynamic-shared: conv2d_maxpool2d_forward_bf16_128x128x64 98304
// dynamic-shared: conv2d_maxpool2d_forward_bf16_128x128x32 49152
// dynamic-shared: conv2d_maxpool2d_forward_bf16_128x64x64 73728
// dynamic-shared: conv2d_backward_input_bf16_128x128x32 49152
// dynamic-shared: conv2d_backward_input_bf16_128x64x64 73728
// dynamic-shared: conv2d_backward_weight_bf16_128x128x32 49152
// dynamic-shared: conv2d_backward_weight_bf16_128x64x64 73728
// dynamic-shared: conv2d_backward_weight_bf16_64x64x64 49152
// dynamic-shared: conv2d_forward_parts_bf16_128x128x32 49152
// dynamic-shared: conv2d_maxpool2d_forward_parts_bf16_128x128x32 49152
// dynamic-shared: conv2d_backward_input_parts_bf16_128x128x32 49152
// dynamic-shared: conv2d_forward_parts_bf16_128x64x64 73728
// dynamic-shared: conv2d_maxpool2d_forward_parts_bf16_128x64x64 73728
// dynamic-shared: conv2d_backward_input_parts_bf16_128x64x64 73728
// dynamic-shared: conv2d_forward_bf16_rgb 24576
// dynamic-shared: conv2d_forward_bf16_any 24576
// dynamic-shared: conv2d_maxpool2d_forward_bf16_any 24576
// dynamic-shared: conv2d_backward_input_bf16_any 24576
// dynamic-shared: conv2d_backward_weight_bf16_any 24576
//
//   conv2d_forward            y  = f(bias + Σ x·weight)
//   conv2d_maxpool2d_forward  y  = max over 2x2 of ReLU(bias + Σ x·weight), winner = which
//   conv2d_backward_input     dx = Σ dy·weight, filter rotated, where mask > 0
//   conv2d_backward_weight    parts[k] = Σ dy·x over the pixels of part k, biases[k, column tile] = its share of Σ dy
//
// Shapes as in conv2d_forward.cu and its kin. Implementation: conv2d_mma.cuh; split-K: conv2d_parts.cuh;
// channels that are no whole chunks of 16 bytes, and images (rgb): conv2d_any.cuh. A block of 128 x 128 reads a byte
// from L2 per 64 flops.

#include "conv2d_entries.cuh"

CONV2D_FORWARD(bf16_128x128x64, Bf16, 128, 2)
{
    forward<Tile<Bf16, 128, 128, 64, 64, 64, 3>>(p, relu, x, weight, bias, y);
}

CONV2D_FORWARD(bf16_128x128x32, Bf16, 128, 2)
{
    forward<Tile<Bf16, 128, 128, 32, 64, 64, 3>>(p, relu, x, weight, bias, y);
}

CONV2D_FORWARD(bf16_128x64x64, Bf16, 128, 3)
{
    forward<Tile<Bf16, 128, 64, 64, 64, 32, 3>>(p, relu, x, weight, bias, y);
}

CONV2D_MAXPOOL2D_FORWARD(bf16_128x128x64, Bf16, 128, 2)
{
    maxpool2d_forward<Tile<Bf16, 128, 128, 64, 64, 64, 3>>(p, x, weight, bias, y, winner);
}

CONV2D_MAXPOOL2D_FORWARD(bf16_128x128x32, Bf16, 128, 2)
{
    maxpool2d_forward<Tile<Bf16, 128, 128, 32, 64, 64, 3>>(p, x, weight, bias, y, winner);
}

CONV2D_MAXPOOL2D_FORWARD(bf16_128x64x64, Bf16, 128, 3)
{
    maxpool2d_forward<Tile<Bf16, 128, 64, 64, 64, 32, 3>>(p, x, weight, bias, y, winner);
}

CONV2D_BACKWARD_INPUT(bf16_128x128x32, Bf16, 128, 2)
{
    backward_input<Tile<Bf16, 128, 128, 32, 64, 64, 3>>(p, dy, weight, mask, dx);
}

CONV2D_BACKWARD_INPUT(bf16_128x64x64, Bf16, 128, 3)
{
    backward_input<Tile<Bf16, 128, 64, 64, 64, 32, 3>>(p, dy, weight, mask, dx);
}

CONV2D_BACKWARD_WEIGHT(bf16_128x128x32, Bf16, 128, 2)
{
    backward_weight<Tile<Bf16, 128, 128, 32, 64, 64, 3>>(p, split, x, dy, parts, biases);
}

CONV2D_BACKWARD_WEIGHT(bf16_128x64x64, Bf16, 128, 3)
{
    backward_weight<Tile<Bf16, 128, 64, 64, 64, 32, 3>>(p, split, x, dy, parts, biases);
}

CONV2D_BACKWARD_WEIGHT(bf16_64x64x64, Bf16, 128, 3)
{
    backward_weight<Tile<Bf16, 64, 64, 64, 32, 32, 3>>(p, split, x, dy, parts, biases);
}

CONV2D_FORWARD_PARTS(bf16_128x128x32, Bf16, 128, 2)
{
    convolve_part<Tile<Bf16, 128, 128, 32, 64, 64, 3>, Rows::PIXELS, false>(p, split, x, weight, parts);
}

CONV2D_MAXPOOL2D_FORWARD_PARTS(bf16_128x128x32, Bf16, 128, 2)
{
    convolve_part<Tile<Bf16, 128, 128, 32, 64, 64, 3>, Rows::WINDOWS, false>(p, split, x, weight, parts);
}

CONV2D_BACKWARD_INPUT_PARTS(bf16_128x128x32, Bf16, 128, 2)
{
    convolve_part<Tile<Bf16, 128, 128, 32, 64, 64, 3>, Rows::PIXELS, true>(p, split, dy, weight, parts);
}

CONV2D_FORWARD_PARTS(bf16_128x64x64, Bf16, 128, 3)
{
    convolve_part<Tile<Bf16, 128, 64, 64, 64, 32, 3>, Rows::PIXELS, false>(p, split, x, weight, parts);
}

CONV2D_MAXPOOL2D_FORWARD_PARTS(bf16_128x64x64, Bf16, 128, 3)
{
    convolve_part<Tile<Bf16, 128, 64, 64, 64, 32, 3>, Rows::WINDOWS, false>(p, split, x, weight, parts);
}

CONV2D_BACKWARD_INPUT_PARTS(bf16_128x64x64, Bf16, 128, 3)
{
    convolve_part<Tile<Bf16, 128, 64, 64, 64, 32, 3>, Rows::PIXELS, true>(p, split, dy, weight, parts);
}

CONV2D_FORWARD_REDUCE(bf16, Bf16)
{
    forward_reduce<Bf16>(p, columns, relu, parts, bias, y);
}

CONV2D_MAXPOOL2D_FORWARD_REDUCE(bf16, Bf16)
{
    maxpool2d_forward_reduce<Bf16>(p, columns, parts, bias, y, winner);
}

CONV2D_BACKWARD_INPUT_REDUCE(bf16, Bf16)
{
    backward_input_reduce<Bf16>(p, parts, mask, dx);
}

CONV2D_FORWARD(bf16_rgb, Bf16, 128, 4)
{
    forward_any<Bf16, 3>(p, relu, x, weight, bias, y);
}

CONV2D_FORWARD(bf16_any, Bf16, 128, 2)
{
    forward_any<Bf16, 0>(p, relu, x, weight, bias, y);
}

CONV2D_MAXPOOL2D_FORWARD(bf16_any, Bf16, 128, 2)
{
    maxpool2d_forward_any<Bf16>(p, x, weight, bias, y, winner);
}

CONV2D_BACKWARD_INPUT(bf16_any, Bf16, 128, 2)
{
    backward_input_any<Bf16>(p, dy, weight, mask, dx);
}

CONV2D_BACKWARD_WEIGHT(bf16_any, Bf16, 128, 2)
{
    backward_weight_any<Bf16>(p, split, x, dy, parts, biases);
}
