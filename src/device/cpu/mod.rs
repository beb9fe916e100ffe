//! The cpu device: Rust, SIMD by run-time detection, threads by rayon.
//!
//! In: [`Call`]s. Out: the same bits for any number of threads: every sum is taken in an order that
//! the geometry alone decides. One file per op; each arm of [`CpuDevice::run`] opens its buffers
//! (checking type and length) and calls the function that bears the call's name.

mod adamw_step;
mod add;
mod augment;
mod bias_backward;
mod cast;
mod conv2d_backward_input;
mod conv2d_backward_weight;
mod conv2d_conv2d_maxpool2d_forward;
mod conv2d_direct;
mod conv2d_forward;
mod conv2d_maxpool2d_forward;
mod conv2d_rmsprop_step;
mod dense_backward_input;
mod dense_backward_weight;
mod dense_forward;
mod dense_rmsprop_step;
mod dropout;
mod global_avgpool2d;
mod kept;
mod loss;
mod loss_scale;
mod maxpool2d;
mod memory;
mod normalize;
mod panels;
mod relu;
mod rmsprop_step;
mod room;
mod sgd_step;
mod sigmoid;
mod simd;
mod softmax;
mod sparse;
mod tensors;
mod threads;
mod tile;
mod transpose;
mod turn;
mod vector;
mod view;
mod winograd;
mod workshop;

use super::arm::{Arm, same_length};
use super::augment::Transform;
use super::{Buffer, Call, Description, Device, Dtype};
use crate::error::{Error, Kind, Result};
use crate::shape::Conv2d;
pub use room::room;
pub use simd::{check as check_instructions, name as instructions};
pub use winograd::points;

use adamw_step::adamw_step;
use add::add;
use augment::augment;
use bias_backward::bias_backward;
use cast::cast;
use conv2d_backward_input::conv2d_backward_input;
use conv2d_backward_weight::conv2d_backward_weight;
use conv2d_conv2d_maxpool2d_forward::conv2d_conv2d_maxpool2d_forward;
use conv2d_forward::conv2d_forward;
use conv2d_maxpool2d_forward::conv2d_maxpool2d_forward;
use conv2d_rmsprop_step::conv2d_rmsprop_step;
use dense_backward_input::dense_backward_input;
use dense_backward_weight::dense_backward_weight;
use dense_forward::dense_forward;
use dense_rmsprop_step::dense_rmsprop_step;
use dropout::dropout;
use global_avgpool2d::{global_avgpool2d_backward, global_avgpool2d_forward};
use loss::{sigmoid_cross_entropy, softmax_cross_entropy};
use loss_scale::{check_gradients, scale_gradient, unscaled, update_loss_scale};
use maxpool2d::{maxpool2d_backward, maxpool2d_forward};
use memory::{Memory, Storage};
use normalize::normalize;
use relu::{relu_backward, relu_forward};
use rmsprop_step::rmsprop_step;
use sgd_step::sgd_step;
use sigmoid::sigmoid;
use softmax::softmax;
use threads::Threads;
use transpose::transpose;
use workshop::Workshop;

/// The processor and its main memory.
pub struct CpuDevice {
    shop: Workshop,
}

impl CpuDevice {
    /// A device with its own pool of `threads` threads; as many as the machine offers when `None`.
    ///
    /// # Errors
    /// [`Kind::Usage`] for zero threads,
    /// [`Kind::Device`] when the system gives no threads.
    pub fn new(threads: Option<usize>) -> Result<Self> {
        Self::with(threads, None)
    }

    /// For tests: [`CpuDevice::new`], but every new buffer holds NaN (all bits one), so that a kernel
    /// that reads what nobody wrote, or leaves a part of its output unwritten, shows; and downloads
    /// refuse a buffer beside which something was written.
    ///
    /// # Errors
    /// As [`CpuDevice::new`].
    pub fn poisoned(threads: Option<usize>) -> Result<Self> {
        Self::with(threads, Some(0xFF))
    }

    fn with(threads: Option<usize>, poison: Option<u8>) -> Result<Self> {
        Ok(Self { shop: Workshop { threads: Threads::new(threads)?, memory: Memory::new(poison) } })
    }
}

impl Device for CpuDevice {
    fn describe(&self) -> Description {
        let count = self.shop.threads.count();
        let plural = if count == 1 { "" } else { "s" };
        Description { name: "cpu".into(), hardware: format!("{count} thread{plural}, {}", simd::name()) }
    }

    fn alloc(&self, dtype: Dtype, len: usize) -> Result<Buffer> {
        Ok(Buffer::new(dtype, len, Memory::take(&self.shop.memory, dtype, len)?))
    }

    fn upload_bytes(&self, from: &[u8], to: &mut Buffer) -> Result<()> {
        same_length("upload", to, from.len())?;
        to.storage_mut::<Storage>()?.bytes_mut().copy_from_slice(from);
        Ok(())
    }

    fn fill_bytes(&self, to: &mut Buffer, fill: &mut dyn FnMut(&mut [u8]) -> Result<()>) -> Result<()> {
        fill(to.storage_mut::<Storage>()?.bytes_mut())
    }

    fn download_bytes(&self, from: &Buffer, to: &mut [u8]) -> Result<()> {
        same_length("download", from, to.len())?;
        let storage = from.storage::<Storage>()?;
        to.copy_from_slice(storage.bytes());
        if storage.guarded() {
            return Ok(());
        }
        Err(Error::new(Kind::Device, "an earlier call wrote outside a buffer")
            .fact("buffer", format!("{from:?}"))
            .help("this is a bug in a kernel of vgg-ft"))
    }

    fn run(&self, call: Call<'_>) -> Result<()> {
        let arm = Arm::new(call.name());
        let shop = &self.shop;
        match call {
            Call::Normalize { rows, rule, pixels, y } => {
                normalize(shop, rule, arm.input("pixels", pixels, rows * 3)?, arm.output("y", y, rows * 3)?)
            }
            Call::Augment { geometry: g, pixels, indices, transforms, y } => augment(
                shop,
                arm,
                g,
                arm.input("pixels", pixels, g.count * g.h * g.w * 3)?,
                (
                    arm.input("indices", indices, g.n)?,
                    arm.input("transforms", transforms, g.n * Transform::WORDS)?,
                ),
                arm.output("y", y, g.n * g.h * g.w * 3)?,
            )?,
            Call::Cast { x, y } => cast(shop, arm, x, y)?,
            Call::Transpose { batch, rows, columns, x, y } => {
                let len = batch * rows * columns;
                transpose(shop, rows, columns, arm.input("x", x, len)?, arm.output("y", y, len)?);
            }
            Call::Conv2dForward { geometry: g, x, weight, bias, relu, y } => conv2d_forward(
                shop,
                g,
                arm.input("x", x, g.x().len())?,
                (arm.input("weight", weight, g.weight().len())?, weight.storage::<Storage>()?.kept()),
                (arm.input("bias", bias, g.c_out)?, relu),
                arm.output("y", y, g.y().len())?,
            )?,
            Call::Conv2dMaxpool2dForward { geometry: g, x, weight, bias, y, winner } => {
                conv2d_maxpool2d_forward(
                    shop,
                    g,
                    arm.input("x", x, g.x().len())?,
                    (arm.input("weight", weight, g.weight().len())?, weight.storage::<Storage>()?.kept()),
                    arm.input("bias", bias, g.c_out)?,
                    arm.output("y", y, g.pool().y().len())?,
                    winner.map(|winner| arm.output("winner", winner, g.pool().winners())).transpose()?,
                )?;
            }
            Call::Conv2dConv2dMaxpool2dForward { geometries: [first, second], x, weights, biases, y } => {
                arm.chained([first, second])?;
                let kept = |at: usize, g: Conv2d| {
                    let (weight, [of_weight, of_bias]) =
                        (weights[at], [["first_weight", "first_bias"], ["weight", "bias"]][at]);
                    let values = arm.input(of_weight, weight, g.weight().len())?;
                    let bias = arm.input(of_bias, biases[at], g.c_out)?;
                    Ok::<_, Error>(((values, weight.storage::<Storage>()?.kept()), bias))
                };
                conv2d_conv2d_maxpool2d_forward(
                    shop,
                    [first, second],
                    arm.input("x", x, first.x().len())?,
                    [kept(0, first)?, kept(1, second)?],
                    arm.output("y", y, second.pool().y().len())?,
                )?;
            }
            Call::Conv2dBackwardInput { geometry: g, dy, weight, mask, dx } => {
                conv2d_backward_input(
                    shop,
                    g,
                    arm.input("dy", dy, g.y().len())?,
                    arm.input("weight", weight, g.weight().len())?,
                    mask.map(|mask| arm.input("mask", mask, g.x().len())).transpose()?,
                    arm.output("dx", dx, g.x().len())?,
                )?;
            }
            Call::Conv2dBackwardWeight { geometry: g, x, dy, dweight, dbias } => {
                let (x, dy) = (arm.input("x", x, g.x().len())?, arm.input("dy", dy, g.y().len())?);
                let dweight = arm.output("dweight", dweight, g.weight().len())?;
                let dbias = dbias.map(|dbias| arm.output("dbias", dbias, g.c_out)).transpose()?;
                conv2d_backward_weight(shop, g, x, dy, dweight)?;
                dbias.map_or(Ok(()), |dbias| bias_backward(shop, g.c_out, dy, dbias))?;
            }
            Call::BiasBackward { rows, channels, dy, dbias } => bias_backward(
                shop,
                channels,
                arm.input("dy", dy, rows * channels)?,
                arm.output("dbias", dbias, channels)?,
            )?,
            Call::Maxpool2dForward { geometry: g, x, y, winner } => maxpool2d_forward(
                shop,
                g,
                arm.input("x", x, g.x().len())?,
                arm.output("y", y, g.y().len())?,
                winner.map(|winner| arm.output("winner", winner, g.winners())).transpose()?,
            ),
            Call::Maxpool2dBackward { geometry: g, dy, winner, mask, dx } => maxpool2d_backward(
                shop,
                g,
                arm.input("dy", dy, g.y().len())?,
                arm.input("winner", winner, g.winners())?,
                mask.map(|mask| arm.input("mask", mask, g.y().len())).transpose()?,
                arm.output("dx", dx, g.x().len())?,
            ),
            Call::GlobalAvgpool2dForward { geometry: g, x, y } => global_avgpool2d_forward(
                shop,
                g,
                arm.input("x", x, g.x().len())?,
                arm.output("y", y, g.y().len())?,
            ),
            Call::GlobalAvgpool2dBackward { geometry: g, dy, dx } => global_avgpool2d_backward(
                shop,
                g,
                arm.input("dy", dy, g.y().len())?,
                arm.output("dx", dx, g.x().len())?,
            ),
            Call::DenseForward { geometry: g, x, weight, bias, relu, y } => dense_forward(
                shop,
                g,
                arm.input("x", x, g.x().len())?,
                arm.input("weight", weight, g.weight().len())?,
                (arm.input("bias", bias, g.c_out)?, relu),
                arm.output("y", y, g.y().len())?,
            )?,
            Call::DenseBackwardInput { geometry: g, dy, weight, dx } => dense_backward_input(
                shop,
                g,
                arm.input("dy", dy, g.y().len())?,
                arm.input("weight", weight, g.weight().len())?,
                arm.output("dx", dx, g.x().len())?,
            )?,
            Call::DenseBackwardWeight { geometry: g, x, dy, dweight } => dense_backward_weight(
                shop,
                g,
                arm.input("x", x, g.x().len())?,
                arm.input("dy", dy, g.y().len())?,
                arm.output("dweight", dweight, g.weight().len())?,
            )?,
            Call::ReluForward { x, y } => {
                relu_forward(shop, arm.input("x", x, x.len())?, arm.output("y", y, x.len())?);
            }
            Call::ReluBackward { y, gradient } => {
                relu_backward(shop, arm.input("y", y, y.len())?, arm.output("gradient", gradient, y.len())?)
            }
            Call::Dropout { rate, source, x, y } => {
                dropout(shop, rate, source, arm.input("x", x, x.len())?, arm.output("y", y, x.len())?)
            }
            Call::SigmoidCrossEntropy { rule, logits, targets, weights, outcome, dlogits } => {
                sigmoid_cross_entropy(
                    rule,
                    (
                        arm.input("logits", logits, logits.len())?,
                        arm.input("targets", targets, logits.len())?,
                    ),
                    weights.map(|weights| arm.input("weights", weights, logits.len())).transpose()?,
                    arm.output("outcome", outcome, logits.len() * 2)?,
                    dlogits.map(|dlogits| arm.output("dlogits", dlogits, logits.len())).transpose()?,
                )
            }
            Call::SoftmaxCrossEntropy { rule, classes, logits, labels, weights, outcome, dlogits } => {
                softmax_cross_entropy(
                    arm,
                    (rule, classes),
                    (
                        arm.input("logits", logits, labels.len() * classes)?,
                        arm.input("labels", labels, labels.len())?,
                    ),
                    weights.map(|weights| arm.input("weights", weights, labels.len())).transpose()?,
                    arm.output("outcome", outcome, labels.len() * 2)?,
                    dlogits.map(|dlogits| arm.output("dlogits", dlogits, logits.len())).transpose()?,
                )?;
            }
            Call::Sigmoid { x, y } => {
                sigmoid(shop, arm.input("x", x, x.len())?, arm.output("y", y, x.len())?);
            }
            Call::Softmax { classes, x, y } => softmax(
                shop,
                arm.columns("x", classes, x)?,
                arm.input("x", x, x.len())?,
                arm.output("y", y, x.len())?,
            ),
            Call::RmspropStep { rule, adjust, scaling, tensors } => {
                let tensors = tensors::open(arm, tensors, rule.keeps())?;
                if let Some(adjust) = unscaled(arm.scaling(scaling)?, adjust) {
                    rmsprop_step(shop, rule, adjust, tensors);
                }
            }
            Call::SgdStep { rule, adjust, scaling, tensors } => {
                let tensors = tensors::open(arm, tensors, rule.keeps())?;
                if let Some(adjust) = unscaled(arm.scaling(scaling)?, adjust) {
                    sgd_step(shop, rule, adjust, tensors);
                }
            }
            Call::AdamwStep { rule, step, adjust, scaling, tensors } => {
                let tensors = tensors::open(arm, tensors, rule.keeps())?;
                if let Some(adjust) = unscaled(arm.scaling(scaling)?, adjust) {
                    adamw_step(shop, rule.at(step), (adjust, rule.rate), tensors);
                }
            }
            Call::ScaleGradient { scaling, gradient } => {
                let len = gradient.len();
                if let Some(state) = arm.scaling(Some(scaling))? {
                    scale_gradient(shop, state, arm.output("gradient", gradient, len)?);
                }
            }
            Call::CheckGradients { gradients, scaling } => {
                let mut open: Vec<&[f32]> = Vec::with_capacity(gradients.len());
                for (k, gradient) in gradients.into_iter().enumerate() {
                    open.push(arm.input(&format!("gradient[{k}]"), gradient, gradient.len())?);
                }
                check_gradients(&open, arm.scaling_mut(scaling)?);
            }
            Call::UpdateLossScale { interval, scaling } => {
                update_loss_scale(interval, arm.scaling_mut(scaling)?);
            }
            Call::DenseRmspropStep { geometry: g, rule, x, dy, velocity, weight } => dense_rmsprop_step(
                shop,
                g,
                arm.plain(rule).map(|()| rule)?,
                (arm.input("x", x, g.x().len())?, arm.input("dy", dy, g.y().len())?),
                arm.output("velocity", velocity, g.weight().len())?,
                arm.output("weight", weight, g.weight().len())?,
            )?,
            Call::Conv2dRmspropStep { geometry: g, rule, x, dy, velocity, weight, shadow, dbias } => {
                arm.plain(rule)?;
                let (x, dy) = (arm.input("x", x, g.x().len())?, arm.input("dy", dy, g.y().len())?);
                let velocity = arm.output("velocity", velocity, g.weight().len())?;
                let weight = arm.output("weight", weight, g.weight().len())?;
                tensors::unshadowed(arm, "shadow", shadow.as_deref())?;
                let dbias = dbias.map(|dbias| arm.output("dbias", dbias, g.c_out)).transpose()?;
                conv2d_rmsprop_step(shop, g, rule, (x, dy), velocity, weight)?;
                dbias.map_or(Ok(()), |dbias| bias_backward(shop, g.c_out, dy, dbias))?;
            }
            Call::Add { x, into } => {
                add(shop, arm.input("x", x, x.len())?, arm.output("into", into, x.len())?);
            }
        }
        Ok(())
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }
}
