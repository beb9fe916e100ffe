//! A value in the graph, and a value that can learn.

use crate::device::{Buffer, Call, Device, Dtype};
use crate::error::{Error, Kind, Result};
use crate::shape::Shape;
use std::rc::Rc;

/// A shaped buffer and, if something before it learns, its place on the tape. Cloning shares the
/// buffer.
#[derive(Clone, Debug)]
pub struct Tensor {
    shape: Shape,
    buffer: Rc<Buffer>,
    /// Its tape, and its place there.
    pub(super) node: Option<(u64, usize)>,
    pub(super) rectified: bool,
}

impl Tensor {
    /// A value that nothing learns from: a batch of images, features from below the boundary.
    ///
    /// # Errors
    /// [`Kind::Shape`] when the buffer does not hold `shape.len()` elements.
    pub fn constant(shape: Shape, buffer: Buffer) -> Result<Self> {
        if buffer.len() != shape.len() {
            return Err(Error::new(Kind::Shape, format!("a tensor of shape {shape} over another length"))
                .expected_got(shape.len(), buffer.len()));
        }
        Ok(Self::on_tape(shape, Rc::new(buffer), None))
    }

    pub(super) fn on_tape(shape: Shape, buffer: Rc<Buffer>, node: Option<(u64, usize)>) -> Self {
        Self { shape, buffer, node, rectified: false }
    }

    pub(super) fn reshaped(&self, shape: Shape) -> Self {
        Self { shape, ..self.clone() }
    }

    /// The axes.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The format of its numbers.
    pub fn dtype(&self) -> Dtype {
        self.buffer.dtype()
    }

    /// The memory.
    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// Says that this is a ReLU's output and that its op takes gradients that have gone through the ReLU
    /// ([`InputGradient::masked`](super::InputGradient)).
    pub fn after_relu(self) -> Self {
        Self { rectified: true, ..self }
    }

    /// What a consumer may mask this tensor's gradient with, if it is a ReLU's output: the numbers
    /// themselves, open where they are above 0.
    pub fn mask(&self) -> Option<&Buffer> {
        self.rectified.then(|| self.buffer())
    }

    /// Whether a gradient will flow back to here.
    pub fn learns(&self) -> bool {
        self.node.is_some()
    }
}

/// A named weight. It learns or it is frozen; a frozen one enters the graph as a constant.
#[derive(Debug)]
pub struct Parameter {
    /// Layer and role, as Keras writes them: `block5_conv1.kernel`.
    pub name: String,
    /// Whether training changes it.
    pub learns: bool,
    shape: Shape,
    value: Rc<Buffer>,
    /// The value as the ops read it, where that is another format.
    shadow: Option<Rc<Buffer>>,
}

impl Parameter {
    /// A parameter with a value on `device`. It learns until somebody freezes it.
    ///
    /// # Errors
    /// [`Kind::Shape`] when `value` does not hold `shape.len()` elements; [`Kind::Device`] from the upload.
    pub fn new(device: &dyn Device, name: String, shape: Shape, value: &[f32]) -> Result<Self> {
        if value.len() != shape.len() {
            return Err(Error::new(Kind::Shape, format!("{name} has shape {shape}"))
                .expected_got(shape.len(), value.len()));
        }
        Ok(Self { name, learns: true, shape, value: Rc::new(device.upload(value)?), shadow: None })
    }

    /// A parameter whose value `fill` writes; it gets `shape.len()` numbers of unspecified content.
    ///
    /// # Errors
    /// [`Kind::Device`]; those of `fill`.
    pub fn filled(
        device: &dyn Device,
        name: String,
        shape: Shape,
        fill: &mut dyn FnMut(&mut [f32]) -> Result<()>,
    ) -> Result<Self> {
        let mut value = device.alloc(Dtype::F32, shape.len())?;
        device.fill_bytes(&mut value, &mut |bytes| fill(bytemuck::cast_slice_mut(bytes)))?;
        Ok(Self { name, learns: true, shape, value: Rc::new(value), shadow: None })
    }

    /// This parameter, read by the ops in the format that the device keeps activations in. Where that is not f32, a copy
    /// beside the value, its shadow, follows every change; the value is what learns and what is saved.
    ///
    /// # Errors
    /// [`Kind::Device`].
    pub fn shadowed(mut self, device: &dyn Device) -> Result<Self> {
        let dtype = device.precision().activations();
        self.shadow = None;
        if dtype != self.value.dtype() {
            let mut shadow = device.alloc(dtype, self.shape.len())?;
            device.run(Call::Cast { x: &self.value, y: &mut shadow })?;
            self.shadow = Some(Rc::new(shadow));
        }
        Ok(self)
    }

    /// The axes: OHWI for convolutions, `[c_in, c_out]` for dense layers.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The value, f32.
    pub fn value(&self) -> &Buffer {
        &self.value
    }

    /// The value as the ops read it, if that is not the value itself.
    pub fn shadow(&self) -> Option<&Buffer> {
        self.shadow.as_deref()
    }

    /// The value in the format in which its op wants it, which is that of the value or of the shadow.
    pub(super) fn shared(&self, wanted: Dtype) -> &Rc<Buffer> {
        self.shadow.as_ref().filter(|shadow| shadow.dtype() == wanted).unwrap_or(&self.value)
    }

    /// The value and its shadow, to change both.
    ///
    /// # Errors
    /// [`Kind::Device`] while a tape still holds one of them: an update now would falsify the gradients that
    /// are yet to come.
    pub fn update(&mut self) -> Result<(&mut Buffer, Option<&mut Buffer>)> {
        let shadow = self.shadow.as_mut().map(Rc::get_mut);
        match (Rc::get_mut(&mut self.value), shadow) {
            (Some(value), None) => Ok((value, None)),
            (Some(value), Some(Some(shadow))) => Ok((value, Some(shadow))),
            _ => Err(Error::new(
                Kind::Device,
                format!("{} is updated while the tape still needs it", self.name),
            )
            .help(
                "drop the tensors of Tape::parameter before Tape::backward; in vgg-ft itself this is a bug: please \
                 report it",
            )),
        }
    }

    /// Puts `value` in its place.
    ///
    /// # Errors
    /// [`Kind::Device`] when `value` has another length, and as [`Parameter::update`].
    pub fn set(&mut self, device: &dyn Device, value: &[f32]) -> Result<()> {
        let (to, shadow) = self.update()?;
        device.upload_bytes(bytemuck::cast_slice(value), to)?;
        shadow.map_or(Ok(()), |shadow| device.run(Call::Cast { x: to, y: shadow }))
    }
}
