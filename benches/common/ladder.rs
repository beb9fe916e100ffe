//! The rungs of the ladder as lines of the report: one layer's `conv2d_forward` by each teaching kernel that works in
//! the bench's precision and runs on the GPU. On other devices there is nothing to time.

use super::convolutions::conv2d;
use super::report::{Measured, card, precision};
use criterion::Criterion;
use vgg_ft::device::gpu::Gpu;
use vgg_ft::device::gpu::cuda::Cuda;
use vgg_ft::device::gpu::driver::Driver;
use vgg_ft::device::gpu::ladder::RUNGS;
use vgg_ft::device::gpu::module;
use vgg_ft::shape::Conv2d;

/// block3_conv2: channels that all rungs take, and enough of everything to fill a GPU.
const LAYER: Conv2d = Conv2d { n: 20, h: 37, w: 37, c_in: 256, c_out: 256 };

pub fn measure(criterion: &mut Criterion, results: &mut Vec<Measured>) {
    let Some(options) = card() else { return };
    for rung in RUNGS.into_iter().filter(|rung| rung.precision == precision()) {
        let gpu = Cuda::open(options).unwrap();
        if module::find(rung.name, gpu.limits().capability).is_none() {
            println!("{} does not run on this GPU", rung.name);
            continue;
        }
        let [forward, ..] = conv2d(&format!("ladder/{}/block3_conv2", rung.name), LAYER);
        forward.measure(criterion, &Gpu::on_rung(gpu, rung).unwrap(), results);
    }
}
