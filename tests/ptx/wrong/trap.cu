// The kernel stops itself: a label that is no class.
// launch: grid=1 block=32
// args: labels=u32[32] classes=u32:20
extern "C" __global__ void trap(unsigned* labels, unsigned classes) {
#ifndef MENDED
    if (labels[threadIdx.x] >= classes) __trap();
#endif
    labels[threadIdx.x] = min(labels[threadIdx.x], classes - 1);
}
