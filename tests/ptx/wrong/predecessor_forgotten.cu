// Threads that have nothing to do end at once: against the rule that every thread waits, which is checked for its ease.
// target: sm_90a
// launch: grid=1 block=64
// args: x=f32[40] y=f32[40]? n=u32:40
extern "C" __global__ void predecessor_forgotten(const float* x, float* y, unsigned n) {
    unsigned i = threadIdx.x;
#ifdef MENDED
    asm volatile("griddepcontrol.wait;" ::: "memory");
    if (i >= n) return;
#else
    if (i >= n) return;
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
    y[i] = 2.0f * x[i];
}
