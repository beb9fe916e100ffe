// conv2d_bf16   the four convolutions on tensor cores, bf16 factors, f32 sums
// targets: sm_80
// hot: conv2d_forward_bf16_128x128 conv2d_forward_bf16_128x64
// hot: conv2d_maxpool2d_forward_bf16_128x128 conv2d_maxpool2d_forward_bf16_128x64
// hot: conv2d_backward_input_bf16_128x128 conv2d_backward_input_bf16_128x64
// hot: conv2d_backward_weight_bf16_128x128 conv2d_backward_weight_bf16_64x64
// hot: conv2d_forward_bf16_rgb
// dynamic-shared: conv2d_forward_bf16_128x128 98304
// dynamic-shared: conv2d_forward_bf16_128x64 73728
// dynamic-shared: conv2d_maxpool2d_forward_bf16_128x128 98304
// dynamic-shared: conv2d_maxpool2d_forward_bf16_128x64 73728
// dynamic-shared: conv2d_backward_input_bf16_128x128 98304
// dynamic-shared: conv2d_backward_input_bf16_128x64 73728
// dynamic-shared: conv2d_backward_weight_bf16_128x128 98304
// dynamic-shared: conv2d_backward_weight_bf16_64x64 49152
// dynamic-shared: conv2d_forward_bf16_rgb 24576
// dynamic-shared: conv2d_forward_bf16_any 24576
// dynamic-shared: conv2d_maxpool2d_forward_bf16_any 24576
// dynamic-shared: conv2d_backward_input_bf16_any 24576
// dynamic-shared: conv2d_backward_weight_bf16_any 24576
//
//   conv2d_forward            y  = f(bias + Σ x·weight)
//   conv2d_maxpool2d_forward  y  = max over 2x2 of ReLU(bias + Σ x·weight), winner = which
//   conv2d_backward_input     dx = Σ dy·weight, window turned, where mask > 0
//   conv2d_backward_weight    parts[k] = Σ dy·x over the pixels of part k
//
// Shapes as in conv2d_forward.cu and its kin; x, y, dy, dx, mask and weight bf16, bias and parts f32. How it is done: conv2d_mma.cuh; channels
// that are no whole chunks: conv2d_any.cuh. Names say rows x columns of a block's tile. A step is 64 deep, in three stages. A
// block of 128 x 128 reads 64 flops per byte from the second cache.

#include "conv2d_entries.cuh"

CONV2D_FORWARD(bf16, Bf16, 128, 128, 64, 64, 64, 3, 2)
CONV2D_FORWARD(bf16, Bf16, 128, 64, 64, 64, 32, 3, 2)
CONV2D_MAXPOOL2D_FORWARD(bf16, Bf16, 128, 128, 64, 64, 64, 3, 2)
CONV2D_MAXPOOL2D_FORWARD(bf16, Bf16, 128, 64, 64, 64, 32, 3, 2)
CONV2D_BACKWARD_INPUT(bf16, Bf16, 128, 128, 64, 64, 64, 3, 2)
CONV2D_BACKWARD_INPUT(bf16, Bf16, 128, 64, 64, 64, 32, 3, 2)
CONV2D_BACKWARD_WEIGHT(bf16, Bf16, 128, 128, 64, 64, 64, 3, 2)
CONV2D_BACKWARD_WEIGHT(bf16, Bf16, 64, 64, 64, 32, 32, 3, 3)
CONV2D_ANY(bf16, Bf16)
