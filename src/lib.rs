//! vgg-ft: fine-tune VGG16 on your own images.
//!
//! To follow the data, read `cli`, `task`, `data`, `train`, `model`, `op`, `graph`, `device`. (In the source of this file
//! modules are listed by dependency: one uses only those listed below it. `tests/house.rs` enforces it.)
//!
//! [`task`] has the commands, as functions. Below it the parts can be used by themselves. What VGG16's base makes of an
//! image:
//!
//! ```no_run
//! use std::path::Path;
//! use vgg_ft::data::{Files, Resize, Size, Source as _};
//! use vgg_ft::device::{Device, DeviceName, DeviceOptions};
//! use vgg_ft::model::{Architecture, Network, Preprocess, Pretrained, Source, Variant};
//! use vgg_ft::train::{forward, input};
//!
//! # fn main() -> vgg_ft::error::Result<()> {
//! let opened = DeviceName::Auto.open(DeviceOptions::default())?;
//! let device: &dyn Device = opened.device.as_ref();
//! let weights = Pretrained::open(Path::new("weights/vgg16_imagenet_notop.f16.safetensors"))?;
//! let base = Network::new(device, Architecture::vgg(Variant::Vgg16, [150, 150])?, |_| Source::File(&weights))?;
//!
//! let (size, paths) = (Size { h: 150, w: 150 }, vec!["cat.jpg".into()]);
//! let files = Files { paths, labels: Vec::new(), size, resize: Resize::NEAREST };
//! let x = input(device, &files.batch(&[0])?, size, Preprocess::Caffe.rule())?;
//! let y = forward(device, &base, 0..base.architecture().layers().len(), x)?;
//! println!("{}: {:?}", y.shape(), device.download_floats(y.buffer())?);
//! # Ok(())
//! # }
//! ```
//!
//! A network of one's own, learning by hand: ops record themselves on a tape, and the way back hands every gradient to the
//! optimizer as soon as it is whole.
//!
//! ```
//! use vgg_ft::device::call::{LossRule, Rmsprop};
//! use vgg_ft::device::{Device, cpu::CpuDevice};
//! use vgg_ft::graph::{Parameter, Tensor};
//! use vgg_ft::op::{self, Activation};
//! use vgg_ft::shape::Shape;
//! use vgg_ft::train::Optimizer;
//!
//! # fn main() -> vgg_ft::error::Result<()> {
//! let cpu = CpuDevice::new(None)?;
//! let device: &dyn Device = &cpu;
//! // Which of four points are outside: a logit for each, through eight hidden units.
//! let (points, outside) = ([0.1, 0.2, 0.9, 0.8, -0.7, 0.9, -0.2, -0.1], [0.0, 1.0, 1.0, 0.0]);
//! let first: Vec<f32> = (0..16).map(|k| (k as f32 * 0.7).sin()).collect();
//! let new = |name: &str, shape: &[usize], value: &[f32]| Parameter::new(device, name.into(), Shape::new(shape), value);
//! let mut parameters = [
//!     new("hidden.kernel", &[2, 8], &first)?,
//!     new("hidden.bias", &[8], &[0.0; 8])?,
//!     new("out.kernel", &[8, 1], &first[..8])?,
//!     new("out.bias", &[1], &[0.0])?,
//! ];
//! let mut optimizer = Optimizer::new(Rmsprop { rate: 0.02, ..Rmsprop::default() }, parameters.len());
//! optimizer.prepare(device, &parameters)?;
//! let mut losses = Vec::new();
//! for _ in 0..50 {
//!     let tape = optimizer.tape(device);
//!     let loss = {
//!         // Gone before the way back: a weight takes its step only when nobody holds it any more.
//!         let [w1, b1, w2, b2] = [0, 1, 2, 3].map(|k| tape.parameter(k, &parameters[k]));
//!         let x = Tensor::constant(Shape::new(&[4, 2]), device.upload(&points)?)?;
//!         let hidden = op::dense(&tape, &x, &w1, &b1, Activation::Relu)?;
//!         let logits = op::dense(&tape, &hidden, &w2, &b2, Activation::Linear)?;
//!         op::sigmoid_cross_entropy(&tape, LossRule::mean(4), &logits, &device.upload(&outside)?, None)?
//!     };
//!     tape.backward(&loss.outcome, |k, gradient| optimizer.take(device, k, &mut parameters[k], gradient))?;
//!     optimizer.step(device, &mut parameters)?;
//!     losses.push(loss.score(device)?.loss());
//! }
//! assert!(losses[49] < 0.1 * losses[0], "{losses:?}");
//! # Ok(())
//! # }
//! ```

pub mod cli;
pub mod task;
pub mod export;
pub mod report;
pub mod train;
pub mod data;
pub mod model;
pub mod weights;
pub mod op;
pub mod graph;
pub mod device;
pub mod ptx;
pub mod fetch;
// Base modules: used by all, use nothing above.
pub mod shape;
pub mod random;
pub mod interrupt;
pub mod proto;
pub mod files;
pub mod error;
