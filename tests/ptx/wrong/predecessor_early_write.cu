// The same, with a write: the one before may still read what was there.
// target: sm_90a
// launch: grid=1 block=64
// args: y=f32[64]?
extern "C" __global__ void predecessor_early_write(float* y) {
    int i = threadIdx.x;
#ifdef MENDED
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
    if (i < 32) y[i] = 1.0f;
#ifndef MENDED
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
    y[i] = 2.0f;
}
