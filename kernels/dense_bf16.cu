// dense_bf16   y[n,o] = f(bias[o] + Σ_i x[n,i] · weight[i,o]) on tensor cores: bf16 in memory, accumulators f32
// targets: sm_80
// hot: dense_forward_bf16_128x16x64
// hot: dense_forward_bf16_128x32x64
// hot: dense_forward_bf16_128x64x64
// dynamic-shared: dense_forward_bf16_128x16x64 73728
// dynamic-shared: dense_forward_bf16_128x32x64 81920
// dynamic-shared: dense_forward_bf16_128x64x64 98304
// dynamic-shared: dense_forward_bf16_any 81920
//
//   x        (n, c_in)             bf16
//   weight   (c_in, c_out)         bf16
//   parts    (parts, n, c_out)     f32    out of dense_forward
//   bias     (c_out)               f32
//   y        (n, c_out)            bf16   out of dense_forward_bf16_reduce; f32 out of dense_forward_reduce (dense.cu)
//
// A block takes 128 units and 16, 32 or 64 samples; how, and why so: dense_mma.cuh. 2 bytes of weight for 2·n flops.

#include "dense_mma.cuh"
#include "reduce.cuh"

DENSE_FORWARD(bf16_128x16x64, Bf16)
{
    dense_part<DenseTile<Bf16, 16, 64>, true>(p, split, x, weight, parts);
}

DENSE_FORWARD(bf16_128x32x64, Bf16)
{
    dense_part<DenseTile<Bf16, 32, 64>, true>(p, split, x, weight, parts);
}

DENSE_FORWARD(bf16_128x64x64, Bf16)
{
    dense_part<DenseTile<Bf16, 64, 64>, true>(p, split, x, weight, parts);
}

DENSE_FORWARD(bf16_any, Bf16)
{
    dense_part<DenseTile<Bf16, 32, 64>, false>(p, split, x, weight, parts);
}

extern "C" __global__ __launch_bounds__(LINEAR) void dense_forward_bf16_reduce(
    const Partials p, const Dense dense, const unsigned relu,
    const float* RESTRICT parts, const float* RESTRICT bias, unsigned short* RESTRICT y)
{
    const unsigned at = blockIdx.x * LINEAR + threadIdx.x;
    if (at >= p.len) return;
    const float v = sum_of_parts(p, parts, at) + bias[at % dense.c_out];
    y[at] = pack_bf16(relu ? rectify(v) : v, 0.0f);
}
