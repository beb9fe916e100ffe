// winograd.cuh   Winograd's minimal filtering: F(4x4,3x3) and F(3x3,3x3)
//
// A tile d of A x A numbers and a window g of 3x3 make M x M outputs, A = M + 2:
//
//   y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A
//
// The three matrices come from A - 1 points at which polynomials are multiplied, and infinity: row i of G is
// (1, p, p²) / Π_{j≠i} (pᵢ - pⱼ), row i of Bᵀ holds the coefficients of Π_{j≠i} (x - pⱼ), a column of Aᵀ the
// powers of its point. Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016. The points
// are those of the cpu device (src/device/cpu/winograd/form.rs): near to 1, which keeps the error small.
//
// Why it works, in one dimension: F(2,3) at 0, 1, -1 and infinity has four products for two outputs, where the sum
// takes six.
//
//   m0 = (d0-d2)·g0    m1 = (d1+d2)·(g0+g1+g2)/2    m2 = (d2-d1)·(g0-g1+g2)/2    m3 = (d3-d1)·g2
//   y0 = m0+m1+m2 = d0·g0 + d1·g1 + d2·g2           y1 = m1-m2+m3 = d1·g0 + d2·g1 + d3·g2
//
// d = 1 2 3 4 and g = 1 1 1 make m = -2, 7.5, 0.5, 2 and y = 6, 9. Nested in both dimensions: 16 products for 36.
//
// Each function is one of the matrices times a vector.

#pragma once

// F(4x4,3x3) at 0, ±√½, ±√2: 36 products for 16 outputs, where the direct sum takes 144.
struct F4x4 {
    static constexpr int M = 4, A = 6;
    static constexpr float HALF = 0.70710678118654752f, TWO = 1.41421356237309505f;      // √½, √2

    // Bᵀ d
    static __device__ __forceinline__ void bt(const float (&d)[A], float (&to)[A])
    {
        const float small = fmaf(-2.0f, d[2], d[4]), small_odd = fmaf(-TWO, d[1], HALF * d[3]);
        const float large = fmaf(-0.5f, d[2], d[4]), large_odd = fmaf(-HALF, d[1], TWO * d[3]);
        to[0] = fmaf(-2.5f, d[2], d[0] + d[4]);
        to[1] = small + small_odd;
        to[2] = small - small_odd;
        to[3] = large + large_odd;
        to[4] = large - large_odd;
        to[5] = fmaf(-2.5f, d[3], d[1] + d[5]);
    }

    // Aᵀ m
    static __device__ __forceinline__ void at(const float (&m)[A], float (&to)[M])
    {
        const float small = m[1] + m[2], small_odd = m[1] - m[2];
        const float large = m[3] + m[4], large_odd = m[3] - m[4];
        to[0] = m[0] + small + large;
        to[1] = fmaf(HALF, small_odd, TWO * large_odd);
        to[2] = fmaf(0.5f, small, 2.0f * large);
        to[3] = fmaf(0.5f * HALF, small_odd, fmaf(2.0f * TWO, large_odd, m[5]));
    }

    // A y
    static __device__ __forceinline__ void a(const float (&y)[M], float (&to)[A])
    {
        const float small = fmaf(0.5f, y[2], y[0]), small_odd = fmaf(0.5f * HALF, y[3], HALF * y[1]);
        const float large = fmaf(2.0f, y[2], y[0]), large_odd = fmaf(2.0f * TWO, y[3], TWO * y[1]);
        to[0] = y[0];
        to[1] = small + small_odd;
        to[2] = small - small_odd;
        to[3] = large + large_odd;
        to[4] = large - large_odd;
        to[5] = y[3];
    }

    // G g
    static __device__ __forceinline__ void g(const float (&w)[3], float (&to)[A])
    {
        const float small = fmaf(-1.0f / 3.0f, w[2], -2.0f / 3.0f * w[0]), small_odd = -2.0f / 3.0f * HALF * w[1];
        const float large = fmaf(1.0f / 3.0f, w[2], 1.0f / 6.0f * w[0]), large_odd = 1.0f / 6.0f * TWO * w[1];
        to[0] = w[0];
        to[1] = small + small_odd;
        to[2] = small - small_odd;
        to[3] = large + large_odd;
        to[4] = large - large_odd;
        to[5] = w[2];
    }

    // Gᵀ u
    static __device__ __forceinline__ void gt(const float (&u)[A], float (&to)[3])
    {
        const float small = u[1] + u[2], small_odd = u[1] - u[2];
        const float large = u[3] + u[4], large_odd = u[3] - u[4];
        to[0] = fmaf(-2.0f / 3.0f, small, fmaf(1.0f / 6.0f, large, u[0]));
        to[1] = fmaf(-2.0f / 3.0f * HALF, small_odd, 1.0f / 6.0f * TWO * large_odd);
        to[2] = fmaf(-1.0f / 3.0f, small, fmaf(1.0f / 3.0f, large, u[5]));
    }
};

// F(3x3,3x3) at 0, 1, -1, 2: 25 products for 9 outputs. VGG16's last maps, 9x9 at 150x150, divide into its tiles.
struct F3x3 {
    static constexpr int M = 3, A = 5;
    static constexpr float SIXTH = 1.0f / 6.0f;

    static __device__ __forceinline__ void bt(const float (&d)[A], float (&to)[A])
    {
        to[0] = fmaf(2.0f, d[0] - d[2], d[3] - d[1]);
        to[1] = fmaf(-2.0f, d[1], d[3] - d[2]);
        to[2] = fmaf(2.0f, d[1], fmaf(-3.0f, d[2], d[3]));
        to[3] = d[3] - d[1];
        to[4] = fmaf(2.0f, d[1] - d[3], d[4] - d[2]);
    }

    static __device__ __forceinline__ void at(const float (&m)[A], float (&to)[M])
    {
        const float even = m[1] + m[2], odd = m[1] - m[2];
        to[0] = m[0] + even + m[3];
        to[1] = fmaf(2.0f, m[3], odd);
        to[2] = fmaf(4.0f, m[3], even) + m[4];
    }

    static __device__ __forceinline__ void a(const float (&y)[M], float (&to)[A])
    {
        const float even = y[0] + y[2];
        to[0] = y[0];
        to[1] = even + y[1];
        to[2] = even - y[1];
        to[3] = fmaf(4.0f, y[2], fmaf(2.0f, y[1], y[0]));
        to[4] = y[2];
    }

    static __device__ __forceinline__ void g(const float (&w)[3], float (&to)[A])
    {
        const float even = w[0] + w[2];
        to[0] = 0.5f * w[0];
        to[1] = -0.5f * (even + w[1]);
        to[2] = -SIXTH * (even - w[1]);
        to[3] = SIXTH * fmaf(4.0f, w[2], fmaf(2.0f, w[1], w[0]));
        to[4] = w[2];
    }

    static __device__ __forceinline__ void gt(const float (&u)[A], float (&to)[3])
    {
        const float one = -0.5f * u[1], other = SIXTH * u[2];          // of the points 1 and -1
        to[0] = fmaf(0.5f, u[0], fmaf(SIXTH, u[3], one - other));
        to[1] = fmaf(2.0f * SIXTH, u[3], one + other);
        to[2] = fmaf(4.0f * SIXTH, u[3], one - other) + u[4];
    }
};
