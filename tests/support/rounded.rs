//! The cpu, made to round where kernels of a precision round: what they should give but for the order of their sums.

use super::half::Half;
use super::tensor_cores::factor;
use super::whole::relative_error;
use std::sync::Mutex;
use vgg_ft::device::cpu::CpuDevice;
use vgg_ft::device::{Buffer, Call, Description, Device, Dtype, Precision};
use vgg_ft::error::Result;

/// Keeps everything in f32, like the cpu, and so is one of `Precision::F32` to what runs on it; but factors of convolutions
/// are those of the precision, and activations of 16 bits and their gradients are rounded as they are stored.
///
/// A cast to 16 bits on the way back needs no rounding of its own: what follows it is a pool's way back, which moves
/// numbers and changes none.
pub struct Rounded {
    cpu: CpuDevice,
    precision: Precision,
}

impl Rounded {
    pub fn to(precision: Precision) -> Self {
        Self { cpu: CpuDevice::new(None).unwrap(), precision }
    }

    fn cpu(&self) -> &dyn Device {
        &self.cpu
    }

    /// As tensor cores get it.
    fn factor(&self, buffer: &Buffer) -> Result<Buffer> {
        let values: Vec<f32> = self.cpu().download(buffer)?;
        self.cpu().upload(&values.into_iter().map(|x| factor(self.precision, x)).collect::<Vec<_>>())
    }

    /// As it lies in memory.
    fn stored(&self, buffer: &mut Buffer) -> Result<()> {
        let Some(half) = Half::of(self.precision) else { return Ok(()) };
        let values = half.rounded(&self.cpu().download::<f32>(buffer)?);
        self.cpu.upload_bytes(bytemuck::cast_slice(&values), buffer)
    }
}

impl Device for Rounded {
    fn describe(&self) -> Description {
        let it = self.cpu.describe();
        Description { hardware: format!("{}, rounded to {}", it.hardware, self.precision), ..it }
    }

    fn alloc(&self, dtype: Dtype, len: usize) -> Result<Buffer> {
        self.cpu.alloc(dtype, len)
    }

    fn upload_bytes(&self, from: &[u8], to: &mut Buffer) -> Result<()> {
        self.cpu.upload_bytes(from, to)
    }

    fn download_bytes(&self, from: &Buffer, to: &mut [u8]) -> Result<()> {
        self.cpu.download_bytes(from, to)
    }

    fn run(&self, call: Call<'_>) -> Result<()> {
        match call {
            Call::Normalize { rows, rule, pixels, y } => {
                self.cpu.run(Call::Normalize { rows, rule, pixels, y: &mut *y })?;
                self.stored(y)
            }
            Call::Conv2dForward { geometry, x, weight, bias, relu, y } => {
                let (x, weight) = (&self.factor(x)?, &self.factor(weight)?);
                self.cpu.run(Call::Conv2dForward { geometry, x, weight, bias, relu, y: &mut *y })?;
                self.stored(y)
            }
            // The pool's winner is one of the numbers that would have been stored.
            Call::Conv2dMaxpool2dForward { geometry, x, weight, bias, y, winner } => {
                let mut map = self.alloc(Dtype::F32, geometry.y().len())?;
                self.run(Call::Conv2dForward { geometry, x, weight, bias, relu: true, y: &mut map })?;
                self.cpu.run(Call::Maxpool2dForward { geometry: geometry.pool(), x: &map, y, winner })
            }
            Call::Conv2dBackwardInput { geometry, dy, weight, mask, dx } => {
                let (dy, weight) = (&self.factor(dy)?, &self.factor(weight)?);
                self.cpu.run(Call::Conv2dBackwardInput { geometry, dy, weight, mask, dx: &mut *dx })?;
                self.stored(dx)
            }
            // The bias' sums are of what is in memory.
            Call::Conv2dBackwardWeight { geometry, x, dy, dweight, dbias } => {
                if let Some(dbias) = dbias {
                    let (rows, channels) = (geometry.n * geometry.h * geometry.w, geometry.c_out);
                    self.cpu.run(Call::BiasBackward { rows, channels, dy, dbias })?;
                }
                let (x, dy) = (&self.factor(x)?, &self.factor(dy)?);
                self.cpu.run(Call::Conv2dBackwardWeight { geometry, x, dy, dweight, dbias: None })
            }
            Call::Maxpool2dBackward { geometry, dy, winner, mask, dx } => {
                self.cpu.run(Call::Maxpool2dBackward { geometry, dy, winner, mask, dx: &mut *dx })?;
                self.stored(dx)
            }
            // None of these: the classifier is f32.
            other => self.cpu.run(other),
        }
    }

    fn synchronize(&self) -> Result<()> {
        self.cpu.synchronize()
    }
}

/// A device whose convolutions the cpu does as well, with the same inputs, rounded alike: what a call errs is its own, not
/// what those before it have left.
pub struct Beside {
    device: Box<dyn Device>,
    cpu: Rounded,
    seen: Mutex<Vec<Seen>>,
}

/// An output of a call, and how far it is from the cpu's.
#[derive(Clone, Debug)]
pub struct Seen {
    pub what: String,
    pub dtype: Dtype,
    pub error: f64,
}

impl Beside {
    pub fn new(device: Box<dyn Device>, precision: Precision) -> Self {
        Self { device, cpu: Rounded::to(precision), seen: Mutex::default() }
    }

    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    /// The cpu's copies, in f32.
    fn here<const N: usize>(&self, buffers: [&Buffer; N]) -> [Buffer; N] {
        buffers.map(|buffer| self.cpu.cpu().upload(&self.device.download_floats(buffer).unwrap()).unwrap())
    }

    fn compare(&self, what: impl std::fmt::Debug, got: &Buffer, want: &Buffer) -> Result<()> {
        let want: Vec<f32> = self.cpu.cpu().download(want)?;
        let error = relative_error(&self.device.download_floats(got)?, &want);
        let seen = Seen { what: format!("{what:?}"), dtype: got.dtype(), error };
        self.seen.lock().unwrap().push(seen);
        Ok(())
    }
}

impl Device for Beside {
    fn describe(&self) -> Description {
        self.device.describe()
    }

    fn precision(&self) -> Precision {
        self.device.precision()
    }

    fn alloc(&self, dtype: Dtype, len: usize) -> Result<Buffer> {
        self.device.alloc(dtype, len)
    }

    fn upload_bytes(&self, from: &[u8], to: &mut Buffer) -> Result<()> {
        self.device.upload_bytes(from, to)
    }

    fn download_bytes(&self, from: &Buffer, to: &mut [u8]) -> Result<()> {
        self.device.download_bytes(from, to)
    }

    fn run(&self, call: Call<'_>) -> Result<()> {
        let fresh = |len| self.cpu.alloc(Dtype::F32, len);
        match call {
            Call::Conv2dForward { geometry, x, weight, bias, relu, y } => {
                let ([a, b, c], mut want) = (self.here([x, weight, bias]), fresh(y.len())?);
                self.device.run(Call::Conv2dForward { geometry, x, weight, bias, relu, y: &mut *y })?;
                let (x, weight, bias) = (&a, &b, &c);
                self.cpu.run(Call::Conv2dForward { geometry, x, weight, bias, relu, y: &mut want })?;
                self.compare(("y", geometry), y, &want)
            }
            Call::Conv2dMaxpool2dForward { geometry, x, weight, bias, y, winner } => {
                let ([a, b, c], mut want) = (self.here([x, weight, bias]), fresh(y.len())?);
                let call = Call::Conv2dMaxpool2dForward { geometry, x, weight, bias, y: &mut *y, winner };
                self.device.run(call)?;
                let (x, weight, bias, winner) = (&a, &b, &c, None);
                let call = Call::Conv2dMaxpool2dForward { geometry, x, weight, bias, y: &mut want, winner };
                self.cpu.run(call)?;
                self.compare(("the pool's y", geometry), y, &want)
            }
            Call::Conv2dBackwardInput { geometry, dy, weight, mask, dx } => {
                let ([a, b], mut want) = (self.here([dy, weight]), fresh(dx.len())?);
                let open = mask.map(|mask| self.here([mask]));
                self.device.run(Call::Conv2dBackwardInput { geometry, dy, weight, mask, dx: &mut *dx })?;
                let (dy, weight, mask) = (&a, &b, open.as_ref().map(|[mask]| mask));
                self.cpu.run(Call::Conv2dBackwardInput { geometry, dy, weight, mask, dx: &mut want })?;
                self.compare(("dx", geometry), dx, &want)
            }
            Call::Conv2dBackwardWeight { geometry, x, dy, dweight, mut dbias } => {
                let ([a, b], mut want) = (self.here([x, dy]), fresh(dweight.len())?);
                let mut bias = fresh(geometry.c_out)?;
                let (to, also) = (&mut *dweight, dbias.as_deref_mut());
                self.device.run(Call::Conv2dBackwardWeight { geometry, x, dy, dweight: to, dbias: also })?;
                self.cpu.run(Call::Conv2dBackwardWeight {
                    geometry,
                    x: &a,
                    dy: &b,
                    dweight: &mut want,
                    dbias: Some(&mut bias),
                })?;
                if let Some(dbias) = dbias {
                    self.compare(("dbias", geometry), dbias, &bias)?;
                }
                self.compare(("dweight", geometry), dweight, &want)
            }
            other => self.device.run(other),
        }
    }

    fn synchronize(&self) -> Result<()> {
        self.device.synchronize()
    }
}
