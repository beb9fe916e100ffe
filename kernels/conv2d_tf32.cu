// conv2d_tf32   the four convolutions on tensor cores: f32 in memory, operands rounded to 10 bits of mantissa
// targets: sm_80
// hot: conv2d_forward_tf32_128x128x32
// hot: conv2d_forward_tf32_128x128x16
// hot: conv2d_forward_tf32_128x64x32
// hot: conv2d_maxpool2d_forward_tf32_128x128x32
// hot: conv2d_maxpool2d_forward_tf32_128x128x16
// hot: conv2d_maxpool2d_forward_tf32_128x64x32
// hot: conv2d_backward_input_tf32_128x128x32
// hot: conv2d_backward_input_tf32_128x128x16
// hot: conv2d_backward_input_tf32_128x64x32
// hot: conv2d_backward_weight_tf32_128x128x32
// hot: conv2d_backward_weight_tf32_128x128x16
// hot: conv2d_backward_weight_tf32_128x64x32
// hot: conv2d_backward_weight_tf32_64x64x16
// hot: conv2d_forward_parts_tf32_128x128x32
// hot: conv2d_forward_parts_tf32_128x128x16
// hot: conv2d_maxpool2d_forward_parts_tf32_128x128x32
// hot: conv2d_maxpool2d_forward_parts_tf32_128x128x16
// hot: conv2d_backward_input_parts_tf32_128x128x32
// hot: conv2d_backward_input_parts_tf32_128x128x16
// hot: conv2d_forward_parts_tf32_128x64x32
// hot: conv2d_maxpool2d_forward_parts_tf32_128x64x32
// hot: conv2d_backward_input_parts_tf32_128x64x32
// hot: conv2d_forward_tf32_any
// hot: conv2d_maxpool2d_forward_tf32_any
// hot: conv2d_backward_input_tf32_any
// hot: conv2d_backward_weight_tf32_any
// dynamic-shared: conv2d_forward_tf32_128x128x32 98304
// dynamic-shared: conv2d_forward_tf32_128x128x16 81920
// dynamic-shared: conv2d_forward_tf32_128x64x32 73728
// dynamic-shared: conv2d_maxpool2d_forward_tf32_128x128x32 98304
// dynamic-shared: conv2d_maxpool2d_forward_tf32_128x128x16 81920
// dynamic-shared: conv2d_maxpool2d_forward_tf32_128x64x32 73728
// dynamic-shared: conv2d_backward_input_tf32_128x128x32 98304
// dynamic-shared: conv2d_backward_input_tf32_128x128x16 81920
// dynamic-shared: conv2d_backward_input_tf32_128x64x32 73728
// dynamic-shared: conv2d_backward_weight_tf32_128x128x32 98304
// dynamic-shared: conv2d_backward_weight_tf32_128x128x16 81920
// dynamic-shared: conv2d_backward_weight_tf32_128x64x32 73728
// dynamic-shared: conv2d_backward_weight_tf32_64x64x16 32768
// dynamic-shared: conv2d_forward_parts_tf32_128x128x32 98304
// dynamic-shared: conv2d_forward_parts_tf32_128x128x16 81920
// dynamic-shared: conv2d_maxpool2d_forward_parts_tf32_128x128x32 98304
// dynamic-shared: conv2d_maxpool2d_forward_parts_tf32_128x128x16 81920
// dynamic-shared: conv2d_backward_input_parts_tf32_128x128x32 98304
// dynamic-shared: conv2d_backward_input_parts_tf32_128x128x16 81920
// dynamic-shared: conv2d_forward_parts_tf32_128x64x32 73728
// dynamic-shared: conv2d_maxpool2d_forward_parts_tf32_128x64x32 73728
// dynamic-shared: conv2d_backward_input_parts_tf32_128x64x32 73728
// dynamic-shared: conv2d_forward_tf32_rgb 49152
// dynamic-shared: conv2d_forward_tf32_any 49152
// dynamic-shared: conv2d_maxpool2d_forward_tf32_any 49152
// dynamic-shared: conv2d_backward_input_tf32_any 49152
// dynamic-shared: conv2d_backward_weight_tf32_any 49152
//
//   conv2d_forward            y  = f(bias + Σ x·weight)
//   conv2d_maxpool2d_forward  y  = max over 2x2 of ReLU(bias + Σ x·weight), winner = which
//   conv2d_backward_input     dx = Σ dy·weight, filter rotated, where mask > 0
//   conv2d_backward_weight    parts[k] = Σ dy·x over the pixels of part k, biases[k, column tile] = its share of Σ dy
//
// Shapes as in conv2d_forward.cu and its kin. Implementation: conv2d_mma.cuh; split-K: conv2d_parts.cuh;
// channels that are no whole chunks of 16 bytes, and images (rgb): conv2d_any.cuh. A block of 128 x 128 reads a byte
// from L2 per 32 flops. Steps of 16, as far ahead as
// those of 32, are for the A100: its multiprocessors have no room for two blocks of the latter.

#include "conv2d_entries.cuh"

CONV2D_FORWARD(tf32_128x128x32, Tf32, 128, 2)
{
    forward<Tile<Tf32, 128, 128, 32, 64, 64, 3>>(p, relu, x, weight, bias, y);
}

CONV2D_FORWARD(tf32_128x128x16, Tf32, 128, 2)
{
    forward<Tile<Tf32, 128, 128, 16, 64, 64, 5>>(p, relu, x, weight, bias, y);
}

CONV2D_FORWARD(tf32_128x64x32, Tf32, 128, 3)
{
    forward<Tile<Tf32, 128, 64, 32, 64, 32, 3>>(p, relu, x, weight, bias, y);
}

CONV2D_MAXPOOL2D_FORWARD(tf32_128x128x32, Tf32, 128, 2)
{
    maxpool2d_forward<Tile<Tf32, 128, 128, 32, 64, 64, 3>>(p, x, weight, bias, y, winner);
}

CONV2D_MAXPOOL2D_FORWARD(tf32_128x128x16, Tf32, 128, 2)
{
    maxpool2d_forward<Tile<Tf32, 128, 128, 16, 64, 64, 5>>(p, x, weight, bias, y, winner);
}

CONV2D_MAXPOOL2D_FORWARD(tf32_128x64x32, Tf32, 128, 3)
{
    maxpool2d_forward<Tile<Tf32, 128, 64, 32, 64, 32, 3>>(p, x, weight, bias, y, winner);
}

CONV2D_BACKWARD_INPUT(tf32_128x128x32, Tf32, 128, 2)
{
    backward_input<Tile<Tf32, 128, 128, 32, 64, 64, 3>>(p, dy, weight, mask, dx);
}

CONV2D_BACKWARD_INPUT(tf32_128x128x16, Tf32, 128, 2)
{
    backward_input<Tile<Tf32, 128, 128, 16, 64, 64, 5>>(p, dy, weight, mask, dx);
}

CONV2D_BACKWARD_INPUT(tf32_128x64x32, Tf32, 128, 3)
{
    backward_input<Tile<Tf32, 128, 64, 32, 64, 32, 3>>(p, dy, weight, mask, dx);
}

CONV2D_BACKWARD_WEIGHT(tf32_128x128x32, Tf32, 128, 2)
{
    backward_weight<Tile<Tf32, 128, 128, 32, 64, 64, 3>>(p, split, x, dy, parts, biases);
}

CONV2D_BACKWARD_WEIGHT(tf32_128x128x16, Tf32, 128, 2)
{
    backward_weight<Tile<Tf32, 128, 128, 16, 64, 64, 5>>(p, split, x, dy, parts, biases);
}

CONV2D_BACKWARD_WEIGHT(tf32_128x64x32, Tf32, 128, 2)
{
    backward_weight<Tile<Tf32, 128, 64, 32, 64, 32, 3>>(p, split, x, dy, parts, biases);
}

CONV2D_BACKWARD_WEIGHT(tf32_64x64x16, Tf32, 128, 4)
{
    backward_weight<Tile<Tf32, 64, 64, 16, 32, 32, 4>>(p, split, x, dy, parts, biases);
}

CONV2D_FORWARD_PARTS(tf32_128x128x32, Tf32, 128, 2)
{
    convolve_part<Tile<Tf32, 128, 128, 32, 64, 64, 3>, Rows::PIXELS, false>(p, split, x, weight, parts);
}

CONV2D_FORWARD_PARTS(tf32_128x128x16, Tf32, 128, 2)
{
    convolve_part<Tile<Tf32, 128, 128, 16, 64, 64, 5>, Rows::PIXELS, false>(p, split, x, weight, parts);
}

CONV2D_MAXPOOL2D_FORWARD_PARTS(tf32_128x128x32, Tf32, 128, 2)
{
    convolve_part<Tile<Tf32, 128, 128, 32, 64, 64, 3>, Rows::WINDOWS, false>(p, split, x, weight, parts);
}

CONV2D_MAXPOOL2D_FORWARD_PARTS(tf32_128x128x16, Tf32, 128, 2)
{
    convolve_part<Tile<Tf32, 128, 128, 16, 64, 64, 5>, Rows::WINDOWS, false>(p, split, x, weight, parts);
}

CONV2D_BACKWARD_INPUT_PARTS(tf32_128x128x32, Tf32, 128, 2)
{
    convolve_part<Tile<Tf32, 128, 128, 32, 64, 64, 3>, Rows::PIXELS, true>(p, split, dy, weight, parts);
}

CONV2D_BACKWARD_INPUT_PARTS(tf32_128x128x16, Tf32, 128, 2)
{
    convolve_part<Tile<Tf32, 128, 128, 16, 64, 64, 5>, Rows::PIXELS, true>(p, split, dy, weight, parts);
}

CONV2D_FORWARD_PARTS(tf32_128x64x32, Tf32, 128, 3)
{
    convolve_part<Tile<Tf32, 128, 64, 32, 64, 32, 3>, Rows::PIXELS, false>(p, split, x, weight, parts);
}

CONV2D_MAXPOOL2D_FORWARD_PARTS(tf32_128x64x32, Tf32, 128, 3)
{
    convolve_part<Tile<Tf32, 128, 64, 32, 64, 32, 3>, Rows::WINDOWS, false>(p, split, x, weight, parts);
}

CONV2D_BACKWARD_INPUT_PARTS(tf32_128x64x32, Tf32, 128, 3)
{
    convolve_part<Tile<Tf32, 128, 64, 32, 64, 32, 3>, Rows::PIXELS, true>(p, split, dy, weight, parts);
}

CONV2D_FORWARD_REDUCE(tf32, Tf32)
{
    forward_reduce<Tf32>(p, columns, relu, parts, bias, y);
}

CONV2D_MAXPOOL2D_FORWARD_REDUCE(tf32, Tf32)
{
    maxpool2d_forward_reduce<Tf32>(p, columns, parts, bias, y, winner);
}

CONV2D_BACKWARD_INPUT_REDUCE(tf32, Tf32)
{
    backward_input_reduce<Tf32>(p, parts, mask, dx);
}

CONV2D_FORWARD(tf32_rgb, Tf32, 128, 4)
{
    forward_any<Tf32, 3>(p, relu, x, weight, bias, y);
}

CONV2D_FORWARD(tf32_any, Tf32, 128, 2)
{
    forward_any<Tf32, 0>(p, relu, x, weight, bias, y);
}

CONV2D_MAXPOOL2D_FORWARD(tf32_any, Tf32, 128, 2)
{
    maxpool2d_forward_any<Tf32>(p, x, weight, bias, y, winner);
}

CONV2D_BACKWARD_INPUT(tf32_any, Tf32, 128, 2)
{
    backward_input_any<Tf32>(p, dy, weight, mask, dx);
}

CONV2D_BACKWARD_WEIGHT(tf32_any, Tf32, 128, 2)
{
    backward_weight_any<Tf32>(p, split, x, dy, parts, biases);
}
