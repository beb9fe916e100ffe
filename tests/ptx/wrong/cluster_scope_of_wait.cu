// As cluster_scope, the other way around: who fills the stage waits at the scope of its own block, so that it does not
// learn what the other released.
// target: sm_90a
// launch: grid=2 block=128
// args: x=f32[256] y=f32[256]?
#define NAME cluster_scope_of_wait
#define READERS 8
#define ARRIVE release_in(&empty, 0)
#ifdef MENDED
#define WAIT wait_cluster
#else
#define WAIT wait
#endif
#include "cluster_stage.cuh"
