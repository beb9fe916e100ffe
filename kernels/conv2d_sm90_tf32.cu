// conv2d_sm90_tf32   the convolutions of tf32 by TMA and wgmma: Hopper (compute capability 9.0) only
// targets: sm_90a
// hot: conv2d_forward_sm90_tf32_128x256 conv2d_forward_sm90_tf32_128x128 conv2d_forward_sm90_tf32_128x64
// hot: conv2d_backward_input_sm90_tf32_128x256 conv2d_backward_input_sm90_tf32_128x128
// hot: conv2d_backward_input_sm90_tf32_128x64
// dynamic-shared: conv2d_forward_sm90_tf32_128x256 196672
// dynamic-shared: conv2d_forward_sm90_tf32_128x128 196704
// dynamic-shared: conv2d_forward_sm90_tf32_128x64 98368
// dynamic-shared: conv2d_backward_input_sm90_tf32_128x256 196672
// dynamic-shared: conv2d_backward_input_sm90_tf32_128x128 196704
// dynamic-shared: conv2d_backward_input_sm90_tf32_128x64 98368
//
//   conv2d_forward            y  = f(bias + Σ x·weight)
//   conv2d_backward_input     dx = Σ dy·transposed, filter rotated, where mask > 0
//
// x (n, h, w, c_in), y and dy (n, h, w, c_out), mask and dx as x, bias (c_out), weight (c_out, 3, 3, c_in), transposed
// (3, 3, c_in, c_out): f32. Channels and filters are multiples of 64. x, dy and weights come as tensor maps that make
// TMA round to tf32, to the nearest, as it copies (src/device/gpu/lower/sm90/tf32.rs). wgmma itself would cut f32,
// always towards zero: an error up to 2^-10 instead of 2^-11 and of one sign, so that errors add up where rounded ones
// cancel. From shared memory it takes tf32 only K-major: hence `transposed`, 8 bytes a weight. Implementation:
// conv2d_sm90.cuh. backward_weight is in conv2d_sm90_tf32_weight.cu.

#include "conv2d_sm90_entries.cuh"

// Epilogues: y, or dx where the mask is above zero. Four lanes store a sector of 32 bytes straight from their
// fragments.
struct ForwardEpilogueF32 {
    static constexpr bool BACKWARD = false;
    float* y;
    const float* bias;
    bool relu;
};

struct BackwardInputEpilogueF32 {
    static constexpr bool BACKWARD = true;
    const float* mask;                               // or null
    float* dx;
};

template <class Tile, class Epilogue>
__device__ __forceinline__ void run_epilogue(
    const Epilogue& epilogue, const Conv2d& p, unsigned, int, const int row, const int column, const float* acc)
{
    const int lane = threadIdx.x % 32, pixels = p.n * p.h * p.w, columns = Epilogue::BACKWARD ? p.c_in : p.c_out;
    // All loads before the first store, which could be to the mask or the bias for all that the compiler knows: behind
    // it each would begin when the one before it has come, 64 times a tile.
    float2 outputs[2][8];
    if constexpr (Epilogue::BACKWARD) {
        #pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int pixel = row + half * 8 + lane / 4;
            #pragma unroll
            for (int k = 0; k < 8; ++k) {
                outputs[half][k] = make_float2(1.0f, 1.0f);
                if (epilogue.mask && pixel < pixels) {
                    const int place = pixel * columns + column + lane % 4 * 2 + k * 8;
                    outputs[half][k] = *reinterpret_cast<const float2*>(epilogue.mask + place);
                }
            }
        }
    }
    float2 biases[8];
    if constexpr (!Epilogue::BACKWARD) {
        #pragma unroll
        for (int k = 0; k < 8; ++k)
            biases[k] = *reinterpret_cast<const float2*>(epilogue.bias + column + lane % 4 * 2 + k * 8);
    }
    #pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int pixel = row + half * 8 + lane / 4;
        if (pixel >= pixels) continue;
        const int place = pixel * columns + column + lane % 4 * 2;
        #pragma unroll
        for (int k = 0; k < 8; ++k) {
            float2 v = make_float2(acc[k * 4 + half * 2], acc[k * 4 + half * 2 + 1]);
            if constexpr (Epilogue::BACKWARD) {
                const float2 output = outputs[half][k];
                v = make_float2(output.x > 0.0f ? v.x : 0.0f, output.y > 0.0f ? v.y : 0.0f);
                *reinterpret_cast<float2*>(epilogue.dx + place + k * 8) = v;
            } else {
                v = make_float2(v.x + biases[k].x, v.y + biases[k].y);
                if (epilogue.relu) v = make_float2(rectify_sum(v.x), rectify_sum(v.y));
                *reinterpret_cast<float2*>(epilogue.y + place + k * 8) = v;
            }
        }
    }
}

#define CONV2D_FORWARD(TILE, name)                                                                               \
    SM90(TILE, name)(                                                                                            \
        const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap weight,                           \
        const __grid_constant__ Conv2d p, const unsigned relu, const float* RESTRICT bias,                       \
        float* RESTRICT y)                                                                                       \
    {                                                                                                            \
        convolve<TILE>(p, &x, &weight, ForwardEpilogueF32{y, bias, relu != 0});                                  \
    }

#define CONV2D_BACKWARD_INPUT(TILE, name)                                                                        \
    SM90(TILE, name)(                                                                                            \
        const __grid_constant__ TensorMap dy, const __grid_constant__ TensorMap transposed,                      \
        const __grid_constant__ Conv2d p, const float* RESTRICT mask, float* RESTRICT dx)                        \
    {                                                                                                            \
        convolve<TILE>(p, &dy, &transposed, BackwardInputEpilogueF32{mask, dx});                                 \
    }

using Wide = Tile<128, 256, 4, 1, Tf32>;
using Square = Tile<128, 128, 6, 1, Tf32>;
using Narrow = Tile<128, 64, 4, 2, Tf32>;
static_assert(Wide::SHARED == 196672 && Square::SHARED == 196704 && Narrow::SHARED == 98368, "dynamic-shared, above");

CONV2D_FORWARD(Wide, conv2d_forward_sm90_tf32_128x256)
CONV2D_FORWARD(Square, conv2d_forward_sm90_tf32_128x128)
CONV2D_FORWARD(Narrow, conv2d_forward_sm90_tf32_128x64)
CONV2D_BACKWARD_INPUT(Wide, conv2d_backward_input_sm90_tf32_128x256)
CONV2D_BACKWARD_INPUT(Square, conv2d_backward_input_sm90_tf32_128x128)
CONV2D_BACKWARD_INPUT(Narrow, conv2d_backward_input_sm90_tf32_128x64)
