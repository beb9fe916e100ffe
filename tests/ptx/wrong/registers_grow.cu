// Two warpgroups ask for more registers than the third gives back: they would wait for ever.
// target: sm_90a
// launch: grid=1 block=384
// args: y=f32[384]?
#include "hopper.cuh"
extern "C" __global__ void __launch_bounds__(384, 1) registers_grow(float* y) {
    if (threadIdx.x < 128) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
    } else {
#ifdef MENDED
        asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
#else
        asm volatile("setmaxnreg.inc.sync.aligned.u32 240;");
#endif
    }
    y[threadIdx.x] = 1;
}
