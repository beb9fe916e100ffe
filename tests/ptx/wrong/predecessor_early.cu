// A kernel that may begin before the one before it has ended, and reads what that one writes.
// target: sm_90a
// launch: grid=1 block=64
// args: x=f32[64] y=f32[64]?
extern "C" __global__ void predecessor_early(const float* x, float* y) {
    int i = threadIdx.x;
#ifdef MENDED
    asm volatile("griddepcontrol.wait;" ::: "memory");
    float v = x[i];
#else
    float v = x[i];
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
    y[i] = 2.0f * v;
}
