// A table of constants is no scratch memory. (In C++ nvcc sees it and makes a trap of it.)
// launch: grid=1 block=32
// args: y=f32[32]?
__constant__ float means[3] = {123.68f, 116.779f, 103.939f};

extern "C" __global__ void const_write(float* y) {
    int i = threadIdx.x;
#ifndef MENDED
    if (i == 0) asm volatile("st.f32 [%0], %1;" ::"l"(&means[2]), "f"(1.0f) : "memory");
#endif
    y[i] = means[i % 3];
}
