// A sum without a first value. (In C++ the compiler would choose one.)
// launch: grid=1 block=32
// args: x=f32[32] y=f32[32]?
extern "C" __global__ void register_uninitialized(const float* x, float* y) {
    int i = threadIdx.x;
    float sum;
#ifdef MENDED
    asm volatile("{ .reg .f32 t; mov.f32 t, 0f00000000; add.f32 %0, t, %1; }" : "=f"(sum) : "f"(x[i]));
#else
    asm volatile("{ .reg .f32 t; add.f32 %0, t, %1; }" : "=f"(sum) : "f"(x[i]));
#endif
    y[i] = sum;
}
