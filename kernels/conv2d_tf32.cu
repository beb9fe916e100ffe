// conv2d_tf32   the four convolutions on tensor cores, tf32 factors, f32 sums
// targets: sm_80
// hot: conv2d_forward_tf32_128x128 conv2d_forward_tf32_128x64
// hot: conv2d_maxpool2d_forward_tf32_128x128 conv2d_maxpool2d_forward_tf32_128x64
// hot: conv2d_backward_input_tf32_128x128 conv2d_backward_input_tf32_128x64
// hot: conv2d_backward_weight_tf32_128x128 conv2d_backward_weight_tf32_64x64
// hot: conv2d_forward_tf32_rgb
// dynamic-shared: conv2d_forward_tf32_128x128 98304
// dynamic-shared: conv2d_forward_tf32_128x64 73728
// dynamic-shared: conv2d_maxpool2d_forward_tf32_128x128 98304
// dynamic-shared: conv2d_maxpool2d_forward_tf32_128x64 73728
// dynamic-shared: conv2d_backward_input_tf32_128x128 98304
// dynamic-shared: conv2d_backward_input_tf32_128x64 73728
// dynamic-shared: conv2d_backward_weight_tf32_128x128 98304
// dynamic-shared: conv2d_backward_weight_tf32_64x64 49152
// dynamic-shared: conv2d_forward_tf32_rgb 49152
// dynamic-shared: conv2d_forward_tf32_any 49152
// dynamic-shared: conv2d_maxpool2d_forward_tf32_any 49152
// dynamic-shared: conv2d_backward_input_tf32_any 49152
// dynamic-shared: conv2d_backward_weight_tf32_any 49152
//
//   conv2d_forward            y  = f(bias + Σ x·weight)
//   conv2d_maxpool2d_forward  y  = max over 2x2 of ReLU(bias + Σ x·weight), winner = which
//   conv2d_backward_input     dx = Σ dy·weight, window turned, where mask > 0
//   conv2d_backward_weight    parts[k] = Σ dy·x over the pixels of part k
//
// Shapes as in conv2d_forward.cu and its kin; all f32; factors are rounded to 10 bits behind the point. How it is done: conv2d_mma.cuh; channels
// that are no whole chunks: conv2d_any.cuh. Names say rows x columns of a block's tile. A step is 32 deep, in three stages. A
// block of 128 x 128 reads 32 flops per byte from the second cache.

#include "conv2d_entries.cuh"

CONV2D_FORWARD(tf32, Tf32, 128, 128, 32, 64, 64, 3, 2)
CONV2D_FORWARD(tf32, Tf32, 128, 64, 32, 64, 32, 3, 2)
CONV2D_MAXPOOL2D_FORWARD(tf32, Tf32, 128, 128, 32, 64, 64, 3, 2)
CONV2D_MAXPOOL2D_FORWARD(tf32, Tf32, 128, 64, 32, 64, 32, 3, 2)
CONV2D_BACKWARD_INPUT(tf32, Tf32, 128, 128, 32, 64, 64, 3, 2)
CONV2D_BACKWARD_INPUT(tf32, Tf32, 128, 64, 32, 64, 32, 3, 2)
CONV2D_BACKWARD_WEIGHT(tf32, Tf32, 128, 128, 32, 64, 64, 3, 2)
CONV2D_BACKWARD_WEIGHT(tf32, Tf32, 64, 64, 32, 32, 32, 3, 3)
CONV2D_ANY(tf32, Tf32)
