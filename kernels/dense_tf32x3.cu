// dense_tf32x3   the dense layer forward on tensor cores, as accurate as dense.cu: f32 in memory, each
// operand as two of tf32
// targets: sm_80
// hot: dense_forward_tf32x3_128x16x32
// hot: dense_forward_tf32x3_128x32x32
// hot: dense_forward_tf32x3_128x64x16
// dynamic-shared: dense_forward_tf32x3_128x16x32 73728
// dynamic-shared: dense_forward_tf32x3_128x32x32 81920
// dynamic-shared: dense_forward_tf32x3_128x64x16 49152
// dynamic-shared: dense_forward_tf32x3_any 81920
//
//   x        (n, c_in)
//   weight   (c_in, c_out)
//   parts    (parts, n, c_out)     what adds them: dense_forward_reduce (dense.cu)
//
// A block takes 128 units and 16, 32 or 64 samples; how, and why so: dense_mma.cuh. Three products for each number of
// the weight take about as long as reading it does. 4 bytes of weight for 2·n flops.

#include "dense_mma.cuh"

DENSE_FORWARD(tf32x3_128x16x32, Tf32x3)
{
    dense_part<DenseTile<Tf32x3, 16, 32>, true>(p, split, x, weight, parts);
}

DENSE_FORWARD(tf32x3_128x32x32, Tf32x3)
{
    dense_part<DenseTile<Tf32x3, 32, 32>, true>(p, split, x, weight, parts);
}

DENSE_FORWARD(tf32x3_128x64x16, Tf32x3)
{
    dense_part<DenseTile<Tf32x3, 64, 16>, true>(p, split, x, weight, parts);
}

DENSE_FORWARD(tf32x3_any, Tf32x3)
{
    dense_part<DenseTile<Tf32x3, 32, 32>, false>(p, split, x, weight, parts);
}
