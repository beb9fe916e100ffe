//! A case of a call as plain data, and what happens to it on a device.

use super::close::{Near, first_miss};
use half::{bf16, f16};
use vgg_ft::device::{Buffer, Call, Device, Dtype};
use vgg_ft::error::Result;

/// Numbers on the host.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    F32(Vec<f32>),
    U32(Vec<u32>),
    U8(Vec<u8>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
}

impl From<Vec<f32>> for Data {
    fn from(data: Vec<f32>) -> Self {
        Self::F32(data)
    }
}
impl From<Vec<u32>> for Data {
    fn from(data: Vec<u32>) -> Self {
        Self::U32(data)
    }
}
impl From<Vec<u8>> for Data {
    fn from(data: Vec<u8>) -> Self {
        Self::U8(data)
    }
}

impl Data {
    /// On the device.
    pub fn upload(&self, device: &dyn Device) -> Buffer {
        match self {
            Self::F32(data) => device.upload(data),
            Self::U32(data) => device.upload(data),
            Self::U8(data) => device.upload(data),
            Self::F16(data) => device.upload(data),
            Self::Bf16(data) => device.upload(data),
        }
        .unwrap()
    }

    /// From the device, with the type of `self`; an error when something was written beside it.
    pub fn download_like(&self, device: &dyn Device, buffer: &Buffer) -> Result<Self> {
        Ok(match self {
            Self::F32(_) => Self::F32(device.download(buffer)?),
            Self::U32(_) => Self::U32(device.download(buffer)?),
            Self::U8(_) => Self::U8(device.download(buffer)?),
            Self::F16(_) => Self::F16(device.download(buffer)?),
            Self::Bf16(_) => Self::Bf16(device.download(buffer)?),
        })
    }

    /// One element less, or more.
    pub fn resized(&self, longer: bool) -> Self {
        fn to<T: Clone + Default>(data: &[T], longer: bool) -> Vec<T> {
            let mut data = data.to_vec();
            if longer {
                data.push(T::default())
            } else {
                data.truncate(data.len().saturating_sub(1))
            }
            data
        }
        match self {
            Self::F32(data) => Self::F32(to(data, longer)),
            Self::U32(data) => Self::U32(to(data, longer)),
            Self::U8(data) => Self::U8(to(data, longer)),
            Self::F16(data) => Self::F16(to(data, longer)),
            Self::Bf16(data) => Self::Bf16(to(data, longer)),
        }
    }

    /// The same number of elements of another type.
    pub fn retyped(&self) -> Self {
        match self {
            Self::F32(data) => Self::U32(vec![0; data.len()]),
            Self::U32(data) => Self::F32(vec![0.0; data.len()]),
            Self::U8(data) => Self::F32(vec![0.0; data.len()]),
            Self::F16(data) => Self::U32(vec![0; data.len()]),
            Self::Bf16(data) => Self::U32(vec![0; data.len()]),
        }
    }

    /// The bits, so that NaN equals itself and -0 differs from 0.
    pub fn bits(&self) -> Vec<u32> {
        match self {
            Self::F32(data) => data.iter().map(|x| x.to_bits()).collect(),
            Self::U32(data) => data.clone(),
            Self::U8(data) => data.iter().map(|&x| u32::from(x)).collect(),
            Self::F16(data) => data.iter().map(|x| x.to_bits().into()).collect(),
            Self::Bf16(data) => data.iter().map(|x| x.to_bits().into()).collect(),
        }
    }

    /// As f32.
    ///
    /// # Panics
    /// Of anything but floating-point numbers.
    pub fn floats(&self) -> Vec<f32> {
        match self {
            Self::F32(data) => data.clone(),
            Self::F16(data) => data.iter().map(|x| x.to_f32()).collect(),
            Self::Bf16(data) => data.iter().map(|x| x.to_f32()).collect(),
            Self::U32(_) | Self::U8(_) => panic!("no floating-point numbers: {self:?}"),
        }
    }

    fn dtype(&self) -> Dtype {
        match self {
            Self::F32(_) => Dtype::F32,
            Self::U32(_) => Dtype::U32,
            Self::U8(_) => Dtype::U8,
            Self::F16(_) => Dtype::F16,
            Self::Bf16(_) => Dtype::Bf16,
        }
    }

    /// `len` zeros.
    pub fn zeros(dtype: Dtype, len: usize) -> Self {
        match dtype {
            Dtype::F32 => Self::F32(vec![0.0; len]),
            Dtype::U32 => Self::U32(vec![0; len]),
            Dtype::U8 => Self::U8(vec![0; len]),
            Dtype::F16 => Self::F16(vec![f16::ZERO; len]),
            Dtype::Bf16 => Self::Bf16(vec![bf16::ZERO; len]),
        }
    }
}

/// What an output must hold afterwards.
pub enum Want {
    F32(Vec<Near>),
    U32(Vec<u32>),
    U8(Vec<u8>),
    /// In half precision.
    Half(Dtype, Vec<Near>),
    /// These very bits of half precision, zeros with their sign; any NaN for NaN.
    Bits(Data),
}

/// An output: fresh (unwritten memory) or with a content that the call changes in place.
pub struct Output {
    pub before: Option<Data>,
    pub want: Want,
}

impl Output {
    pub fn fresh(want: Vec<Near>) -> Self {
        Self { before: None, want: Want::F32(want) }
    }

    pub fn fresh_u8(want: Vec<u8>) -> Self {
        Self { before: None, want: Want::U8(want) }
    }

    pub fn in_place(before: Vec<f32>, want: Vec<Near>) -> Self {
        Self { before: Some(before.into()), want: Want::F32(want) }
    }

    fn buffer(&self, device: &dyn Device) -> Buffer {
        match (&self.before, &self.want) {
            (Some(before), _) => before.upload(device),
            (None, Want::F32(want)) => device.alloc(Dtype::F32, want.len()).unwrap(),
            (None, Want::U32(want)) => device.alloc(Dtype::U32, want.len()).unwrap(),
            (None, Want::U8(want)) => device.alloc(Dtype::U8, want.len()).unwrap(),
            (None, Want::Half(dtype, want)) => device.alloc(*dtype, want.len()).unwrap(),
            (None, Want::Bits(want)) => device.alloc(want.dtype(), want.bits().len()).unwrap(),
        }
    }

    fn blank(&self) -> Data {
        match &self.want {
            Want::F32(want) => Data::F32(vec![0.0; want.len()]),
            Want::U32(want) => Data::U32(vec![0; want.len()]),
            Want::U8(want) => Data::U8(vec![0; want.len()]),
            Want::Half(dtype, want) => Data::zeros(*dtype, want.len()),
            Want::Bits(want) => Data::zeros(want.dtype(), want.bits().len()),
        }
    }

    fn miss(&self, got: &Data) -> Option<String> {
        match (&self.want, got) {
            (Want::F32(want), Data::F32(got)) => first_miss(got, want),
            (Want::U32(want), Data::U32(got)) => first_other(want, got),
            (Want::U8(want), Data::U8(got)) => first_other(want, got),
            (Want::Half(_, want), Data::F16(_) | Data::Bf16(_)) => first_miss(&got.floats(), want),
            (Want::Bits(want), _) if want.dtype() == got.dtype() => first_other_bits(want, got),
            _ => Some("another element type".into()),
        }
    }
}

fn first_other<T: Copy + PartialEq + std::fmt::Display>(want: &[T], got: &[T]) -> Option<String> {
    let at = want.iter().zip(got).position(|(want, got)| want != got)?;
    Some(format!("element {at}: expected {}, got {}", want[at], got[at]))
}

fn first_other_bits(want: &Data, got: &Data) -> Option<String> {
    let bits = |data: &Data| -> Vec<u32> {
        data.bits()
            .into_iter()
            .zip(data.floats())
            .map(|(bits, x)| if x.is_nan() { u32::MAX } else { bits })
            .collect()
    };
    let (want, got, numbers) = (bits(want), bits(got), [want.floats(), got.floats()]);
    let at = want.iter().zip(&got).position(|(want, got)| want != got)?;
    let [expected, found] = numbers.map(|numbers| numbers[at]);
    Some(format!("element {at}: expected {expected:?} ({:#06x}), got {found:?} ({:#06x})", want[at], got[at]))
}

/// Builds the call from its buffers, in the order of the case's inputs and outputs.
pub type Make = Box<dyn for<'a> Fn(&'a [Buffer], &'a mut [Buffer]) -> Call<'a>>;

/// One row of the table.
pub struct Case {
    /// Geometry and kind of numbers, for messages.
    pub title: String,
    pub inputs: Vec<Data>,
    pub outputs: Vec<Output>,
    pub make: Make,
}

impl Case {
    /// "conv2d_forward [n 1, …] integers".
    pub fn name(&self, device: &dyn Device) -> String {
        format!("{} {}", self.call_name(device), self.title)
    }

    /// The call's name alone.
    pub fn call_name(&self, device: &dyn Device) -> &'static str {
        let (inputs, mut outputs) = self.buffers(device);
        (self.make)(&inputs, &mut outputs).name()
    }

    /// Inputs with their content and outputs as they are before the call.
    pub fn buffers(&self, device: &dyn Device) -> (Vec<Buffer>, Vec<Buffer>) {
        let inputs = self.inputs.iter().map(|data| data.upload(device)).collect();
        (inputs, self.outputs.iter().map(|output| output.buffer(device)).collect())
    }

    /// Runs the call and gives the outputs; inputs must come back bit for bit.
    pub fn results(&self, device: &dyn Device) -> Result<Vec<Data>, String> {
        let (inputs, mut outputs) = self.buffers(device);
        device.run((self.make)(&inputs, &mut outputs)).map_err(|error| error.to_string())?;
        for (at, (data, buffer)) in self.inputs.iter().zip(&inputs).enumerate() {
            let after = data.download_like(device, buffer).map_err(|error| error.to_string())?;
            if after.bits() != data.bits() {
                return Err(format!("input {at} was written to"));
            }
        }
        let download = |(output, buffer): (&Output, &Buffer)| output.blank().download_like(device, buffer);
        let results: Result<Vec<Data>> = self.outputs.iter().zip(&outputs).map(download).collect();
        results.map_err(|error| error.to_string())
    }

    /// What is wrong with the outputs, if anything.
    pub fn check(&self, device: &dyn Device) -> Option<String> {
        match self.results(device) {
            Err(reason) => Some(reason),
            Ok(results) => {
                self.outputs.iter().zip(&results).enumerate().find_map(|(at, (output, got))| {
                    output.miss(got).map(|miss| format!("output {at}, {miss}"))
                })
            }
        }
    }
}
