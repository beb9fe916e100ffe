// maxpool2d   y[n,i,j,c] = max x[n,2i+a,2j+b,c] over a, b in {0, 1}
// targets: sm_75 sm_90
//
//   x, dx    (n, h, w, c)          an odd last row or column is dropped, its gradient is zero
//   y, dy    (n, h/2, w/2, c)
//   winner   n·(h/2)·(w/2)·c/4 u8  2a+b of the maximum: the first of equals, or the first NaN; two bits
//                                  each, four neighbours of y to a byte, zero past the last
//
// maxpool2d_forward    one thread per 16 bytes of y, four neighbours, and their byte; winner may be null
//                      (inference)
// maxpool2d_backward   one thread per four neighbours of the windows, those cut off at the border too: each
//                      corner gets dy if it is the winner and mask > 0, else zero. mask is y, if x is a
//                      ReLU's output, or null: the winner's x is y, so this is the ReLU's backward pass too
// …_bf16, …_f16        the same on 16 bits, eight neighbours and their two bytes; nothing is rounded
//
// 256 threads per block along (row, column, channel), channels fastest, so a warp reads neighbours. Where c
// is a multiple of four (eight), they are channels of one window and move by 16-byte loads. No shared memory.
// Forward reads four elements and writes one and two bits per output, backward reads a quarter of an element
// (half of one with a mask) and writes one per element: bound by bandwidth.

#include "half.cuh"
#include "params.cuh"
#include "pool.cuh"

// Where in x the window of element `at` of y begins.
__device__ __forceinline__ unsigned corner_of(const Pool2d p, const unsigned at)
{
    const unsigned rows = p.h / 2, columns = p.w / 2;
    const unsigned c = at % p.c, j = at / p.c % columns;
    const unsigned line = at / p.c / columns;                          // n·rows + i
    const unsigned n = line / rows, i = line % rows;
    return ((n * p.h + 2 * i) * p.w + 2 * j) * p.c + c;
}

template <typename T>
__device__ __forceinline__ void forward(
    const Pool2d& p, const T* RESTRICT x, T* RESTRICT y, unsigned char* RESTRICT winner)
{
    constexpr int N = LANES<T>;
    const unsigned first = (blockIdx.x * LINEAR + threadIdx.x) * N;
    const unsigned len = p.n * (p.h / 2) * (p.w / 2) * p.c;
    if (first >= len) return;

    const unsigned down = p.w * p.c;
    const int left = len - first;
    float best[N] = {};
    unsigned winners = 0;
    if (p.c % N == 0) {
        const T* corner = x + corner_of(p, first);
        float of[4][N];
        read(corner, N, true, of[0]);
        read(corner + p.c, N, true, of[1]);
        read(corner + down, N, true, of[2]);
        read(corner + down + p.c, N, true, of[3]);
        #pragma unroll
        for (int e = 0; e < N; ++e) {
            const Best one = best_of(of[0][e], of[1][e], of[2][e], of[3][e]);
            best[e] = one.value;
            winners |= one.corner << 2 * e;
        }
    } else {
        #pragma unroll
        for (int e = 0; e < N; ++e) {
            if (e >= left) break;
            const T* corner = x + corner_of(p, first + e);
            const Best one =
                best_of(widen(corner[0]), widen(corner[p.c]), widen(corner[down]), widen(corner[down + p.c]));
            best[e] = one.value;
            winners |= one.corner << 2 * e;
        }
    }
    write_exact(y + first, best, left, left >= N);
    if (!winner) return;
    if (N == 8 && left > 4) *reinterpret_cast<unsigned short*>(winner + first / 4) = winners;
    else winner[first / 4] = winners;
}

// Goes back through element `at` of the windows; of LANES lanes, through its neighbours too.
template <typename T>
__device__ __forceinline__ void back(
    const Pool2d& p, const unsigned at, const int lanes, const T* RESTRICT dy,
    const unsigned char* RESTRICT winner, const T* RESTRICT mask, T* RESTRICT dx)
{
    constexpr int N = LANES<T>;
    const unsigned rows = (p.h + 1) / 2, columns = (p.w + 1) / 2;
    const unsigned c = at % p.c, j = at / p.c % columns;
    const unsigned line = at / p.c / columns;                          // n·rows + i
    const unsigned n = line / rows, i = line % rows;

    float gradient[N] = {};
    unsigned winners = 0;
    if (i < p.h / 2 && j < p.w / 2) {
        const unsigned window = ((n * (p.h / 2) + i) * (p.w / 2) + j) * p.c + c;
        read(dy + window, lanes, lanes == N, gradient);
        // Of eight lanes the first is a multiple of eight.
        winners = N == 8 && lanes == N ? *reinterpret_cast<const unsigned short*>(winner + window / 4)
                                       : winner[window / 4] >> window % 4 * 2;
        if (mask) {
            float open[N];
            read(mask + window, lanes, lanes == N, open);
            #pragma unroll
            for (int e = 0; e < N; ++e) gradient[e] = open[e] > 0.0f ? gradient[e] : 0.0f;
        }
    }
    #pragma unroll
    for (unsigned k = 0; k < 4; ++k) {
        const unsigned row = 2 * i + k / 2, column = 2 * j + k % 2;
        if (row >= p.h || column >= p.w) continue;
        float mine[N];
        #pragma unroll
        for (int e = 0; e < N; ++e) mine[e] = (winners >> 2 * e & 3) == k ? gradient[e] : 0.0f;
        write_exact(dx + (((n * p.h + row) * p.w + column) * p.c + c), mine, lanes, lanes == N);
    }
}

template <typename T>
__device__ __forceinline__ void backward(
    const Pool2d& p, const T* RESTRICT dy, const unsigned char* RESTRICT winner,
    const T* RESTRICT mask, T* RESTRICT dx)
{
    constexpr unsigned N = LANES<T>;
    const unsigned first = (blockIdx.x * LINEAR + threadIdx.x) * N;
    const unsigned len = p.n * ((p.h + 1) / 2) * ((p.w + 1) / 2) * p.c;
    if (first >= len) return;

    if (p.c % N == 0) {
        back(p, first, N, dy, winner, mask, dx);
    } else {
        #pragma unroll 1
        for (unsigned at = first; at < first + N && at < len; ++at) back(p, at, 1, dy, winner, mask, dx);
    }
}

extern "C" __global__ __launch_bounds__(LINEAR) void maxpool2d_forward(
    const Pool2d p, const float* RESTRICT x, float* RESTRICT y, unsigned char* RESTRICT winner)
{
    await_predecessor();
    forward(p, x, y, winner);
}

extern "C" __global__ __launch_bounds__(LINEAR) void maxpool2d_backward(
    const Pool2d p, const float* RESTRICT dy, const unsigned char* RESTRICT winner,
    const float* RESTRICT mask, float* RESTRICT dx)
{
    await_predecessor();
    backward(p, dy, winner, mask, dx);
}

extern "C" __global__ __launch_bounds__(LINEAR) void maxpool2d_forward_bf16(
    const Pool2d p, const Bf16* RESTRICT x, Bf16* RESTRICT y, unsigned char* RESTRICT winner)
{
    await_predecessor();
    forward(p, x, y, winner);
}

extern "C" __global__ __launch_bounds__(LINEAR) void maxpool2d_forward_f16(
    const Pool2d p, const F16* RESTRICT x, F16* RESTRICT y, unsigned char* RESTRICT winner)
{
    await_predecessor();
    forward(p, x, y, winner);
}

extern "C" __global__ __launch_bounds__(LINEAR) void maxpool2d_backward_bf16(
    const Pool2d p, const Bf16* RESTRICT dy, const unsigned char* RESTRICT winner,
    const Bf16* RESTRICT mask, Bf16* RESTRICT dx)
{
    await_predecessor();
    backward(p, dy, winner, mask, dx);
}

extern "C" __global__ __launch_bounds__(LINEAR) void maxpool2d_backward_f16(
    const Pool2d p, const F16* RESTRICT dy, const unsigned char* RESTRICT winner,
    const F16* RESTRICT mask, F16* RESTRICT dx)
{
    await_predecessor();
    backward(p, dy, winner, mask, dx);
}
