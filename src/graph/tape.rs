//! The tape: what happened, in order, and how to go back.
//!
//! In: an op's output and a closure that turns its gradient into those of the inputs. Out: one
//! gradient for each parameter that learns, handed over as soon as it is complete. Under plain RMSprop the weights'
//! gradients, the large ones, are used there and then and their memory is freed; the others wait for the step's end.

use super::gradient::{Gradient, InputGradient, OutputGradient};
use super::tensor::{Parameter, Tensor};
use crate::device::{Buffer, Call, Device, Dtype};
use crate::error::{Error, Kind, Result};
use crate::shape::Shape;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Whether a forward pass is for learning. Dropout follows this, not freezing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Dropout drops; what learns is recorded.
    Training,
    /// Dropout is the identity; nothing is recorded and no activation outlives its use.
    Inference,
}

/// From the gradient of an op's output to those of its inputs, in order; `None` where none is asked for.
pub type Backward = Box<dyn FnOnce(&dyn Device, OutputGradient) -> Result<Vec<Option<InputGradient>>>>;

enum Step {
    /// A parameter enters the graph: its index in the caller's list, and where its value lies.
    Leaf(usize, *const Buffer),
    /// An op, the nodes of its inputs, and the way back.
    Op { inputs: Inputs, backward: Backward },
    /// Where a way back begins: the gradients of the inputs are known.
    Loss { inputs: Inputs, gradients: Vec<Option<InputGradient>> },
}

/// The nodes of an op's inputs; none of one that does not learn.
type Inputs = Vec<Option<usize>>;

struct Node {
    name: &'static str,
    /// The layer that was current.
    label: Rc<str>,
    step: Step,
}

/// A record of one forward pass.
pub struct Tape<'d> {
    /// No other tape has it.
    id: u64,
    device: &'d dyn Device,
    mode: Mode,
    label: RefCell<Rc<str>>,
    nodes: RefCell<Vec<Node>>,
    scaling: Option<Rc<Buffer>>,
    /// What was done that no way back can follow.
    misuse: Cell<Option<Misuse>>,
}

#[derive(Clone, Copy)]
enum Misuse {
    /// A tensor of one tape was used on another.
    Foreign,
    /// Two parameters came in by one index.
    Index(usize),
}

impl<'d> Tape<'d> {
    /// An empty tape. To train, take that of [`Optimizer::tape`](crate::train::Optimizer::tape): in f16 the loss is scaled.
    pub fn new(device: &'d dyn Device, mode: Mode) -> Self {
        static TAPES: AtomicU64 = AtomicU64::new(0);
        let (label, nodes) = (RefCell::new("start".into()), RefCell::new(Vec::new()));
        let id = TAPES.fetch_add(1, Ordering::Relaxed);
        Self { id, device, mode, label, nodes, scaling: None, misuse: Cell::new(None) }
    }

    /// This tape with losses whose gradients are multiplied by a [`LossScale`](crate::device::LossScale), or none.
    #[must_use]
    pub fn scaled(self, scaling: Option<Rc<Buffer>>) -> Self {
        Self { scaling, ..self }
    }

    /// What losses are multiplied by.
    pub fn scaling(&self) -> Option<&Buffer> {
        self.scaling.as_deref()
    }

    /// Where the work is done.
    pub fn device(&self) -> &'d dyn Device {
        self.device
    }

    /// Whether this pass is for learning.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// What follows belongs to the layer `label`, forward and on the way back, where the device hears it as
    /// `label backward`.
    pub fn label(&self, label: &str) {
        self.device.label(label);
        *self.label.borrow_mut() = label.into();
    }

    /// How many ops and learning parameters are recorded.
    pub fn recorded(&self) -> usize {
        self.nodes.borrow().len()
    }

    /// Brings a parameter into the graph, its shadow if it has one. `index` is what [`Tape::backward`] will call it:
    /// one that comes in several times has one gradient, the sum. Drop the tensor before [`Tape::backward`] if the
    /// parameter is updated there: as long as anybody holds it, [`Parameter::update`] refuses.
    pub fn parameter(&self, index: usize, parameter: &Parameter) -> Tensor {
        let wanted = parameter.shadow().map_or(Dtype::F32, Buffer::dtype);
        self.parameter_in(index, parameter, wanted)
    }

    /// [`Tape::parameter`] in the format `wanted`, where the parameter has that, else in f32.
    pub fn parameter_in(&self, index: usize, parameter: &Parameter, wanted: Dtype) -> Tensor {
        let learns = parameter.learns && self.mode == Mode::Training;
        let node = learns.then(|| (self.id, self.leaf(index, parameter)));
        Tensor::on_tape(parameter.shape(), Rc::clone(parameter.shared(wanted)), node)
    }

    /// Turns an op's output into a tensor. If no input learns, nothing is recorded and `backward` is
    /// never called, so whatever it would have kept alive is not. Otherwise it is told which inputs
    /// learn and given the output, and returns the way back: one gradient for each input, with as many elements as that.
    /// `y` has `shape.len()` elements.
    pub fn record<const N: usize>(
        &self,
        name: &'static str,
        shape: Shape,
        y: Buffer,
        inputs: [&Tensor; N],
        backward: impl FnOnce([bool; N], &Tensor) -> Backward,
    ) -> Tensor {
        let mut y = Tensor::on_tape(shape, Rc::new(y), None);
        if let Some(nodes) = self.inputs(inputs) {
            let backward = backward(inputs.map(Tensor::learns), &y);
            y.node = Some((self.id, self.push(name, Step::Op { inputs: nodes, backward })));
        }
        y
    }

    /// [`Tape::record`] of an op that [`Tape::backward`] may begin at: the `gradients` of the loss with respect to its
    /// inputs are known, one for each that learns.
    pub fn record_loss<const N: usize>(
        &self,
        name: &'static str,
        shape: Shape,
        y: Buffer,
        inputs: [&Tensor; N],
        gradients: [Option<InputGradient>; N],
    ) -> Tensor {
        let mut y = Tensor::on_tape(shape, Rc::new(y), None);
        if let Some(inputs) = self.inputs(inputs) {
            y.node = Some((self.id, self.push(name, Step::Loss { inputs, gradients: gradients.into() })));
        }
        y
    }

    /// The nodes of `inputs`, if any of them learns.
    fn inputs<const N: usize>(&self, inputs: [&Tensor; N]) -> Option<Inputs> {
        let places = inputs.map(|input| input.node);
        if places.iter().flatten().any(|(tape, _)| *tape != self.id) {
            self.misuse.set(Some(Misuse::Foreign));
        }
        let learns = places.iter().any(Option::is_some);
        learns.then(|| places.into_iter().map(|place| place.map(|(_, node)| node)).collect())
    }

    /// The same memory under another shape of the same length.
    ///
    /// # Errors
    /// [`Kind::Shape`] when the lengths differ.
    pub fn reshape(&self, x: &Tensor, shape: Shape) -> Result<Tensor> {
        if x.shape().len() != shape.len() {
            return Err(Error::new(Kind::Shape, "reshape: the lengths differ").expected_got(x.shape(), shape));
        }
        // The gradient's memory has no shape of its own, so the node of `x` serves as it is.
        Ok(x.reshaped(shape))
    }

    /// Where the parameter `index` comes in, now or before.
    fn leaf(&self, index: usize, parameter: &Parameter) -> usize {
        let value = std::ptr::from_ref(parameter.value());
        let mut known = None;
        for (place, node) in self.nodes.borrow().iter().enumerate() {
            match node.step {
                Step::Leaf(other, its) if other == index => {
                    if its != value {
                        self.misuse.set(Some(Misuse::Index(index)));
                    }
                    known = Some(place);
                }
                _ => {}
            }
        }
        known.unwrap_or_else(|| self.push("parameter", Step::Leaf(index, value)))
    }

    fn push(&self, name: &'static str, step: Step) -> usize {
        let mut nodes = self.nodes.borrow_mut();
        nodes.push(Node { name, label: Rc::clone(&self.label.borrow()), step });
        nodes.len() - 1
    }

    /// Walks back from `loss`, which knows its gradient ([`Tape::record_loss`]): the `[rows, 2]` outcome of an op of
    /// `op::loss`, which made that of the step's mean on the way there, or a seed of one's own, as of a Grad-CAM.
    /// `learned` receives each learning parameter's index and complete gradient, once, when nothing that remains on the
    /// tape needs the parameter: it may be updated there and then.
    ///
    /// # Errors
    /// What the device or `learned` returns; [`Kind::Shape`] when `loss` depends on nothing that learns or is no loss, when
    /// it or a tensor that was used is of another tape, or when two parameters came in by one index.
    pub fn backward(
        self,
        loss: &Tensor,
        mut learned: impl FnMut(usize, Gradient) -> Result<()>,
    ) -> Result<()> {
        let Some((tape, last)) = loss.node else {
            return Err(Error::new(Kind::Shape, "backward: nothing that leads to this loss learns")
                .help("unfreeze a layer, or run in training mode"));
        };
        match self.misuse.get() {
            Some(Misuse::Index(index)) => {
                return Err(Error::new(
                    Kind::Shape,
                    format!("backward: two parameters came in as number {index}"),
                )
                .help("give every parameter an index of its own"));
            }
            None if tape == self.id => {}
            Some(Misuse::Foreign) | None => {
                return Err(Error::new(
                    Kind::Shape,
                    "backward: a tensor of another tape was used on this one",
                )
                .help("make all tensors of a step, its parameters too, with one tape"));
            }
        }
        let device = self.device;
        let mut nodes = self.nodes.into_inner();
        nodes.truncate(last + 1);
        let mut gradients: Vec<Option<InputGradient>> = nodes.iter().map(|_| None).collect();
        let spread =
            |gradients: &mut [Option<InputGradient>], inputs: Inputs, found: Vec<Option<InputGradient>>| {
                let flows = inputs.into_iter().zip(found);
                flows
                    .filter_map(|(input, flow)| input.zip(flow))
                    .try_for_each(|(input, flow)| accumulate(device, &mut gradients[input], flow))
            };
        let begin = nodes.pop();
        match begin {
            Some(Node { step: Step::Loss { inputs, gradients: known }, label, .. }) => {
                device.label(&format!("{label} backward"));
                spread(&mut gradients, inputs, known)?;
            }
            other => {
                let name = other.map_or("nothing", |node| node.name);
                return Err(Error::new(Kind::Shape, format!("backward: `{name}` has no gradient of its own")).help(
                    "go back from the outcome of op::sigmoid_cross_entropy or op::softmax_cross_entropy, or record a \
                     loss of your own with Tape::record_loss",
                ));
            }
        }
        gradients.truncate(last);
        while let Some(node) = nodes.pop() {
            let Some(InputGradient { gradient: dy, masked }) = gradients.pop().flatten() else { continue };
            device.label(&format!("{} backward", node.label));
            match node.step {
                Step::Leaf(index, _) => learned(index, whole(device, dy)?)?,
                Step::Loss { .. } => {
                    return Err(Error::new(
                        Kind::Shape,
                        format!("backward: something was made of the loss `{}`", node.name),
                    )
                    .help("a loss is where the way back begins: go back from it"));
                }
                Step::Op { inputs, backward } => {
                    let found = dy
                        .store(device)
                        .and_then(|dy| backward(device, OutputGradient { dy, masked }))
                        .map_err(|error| error.context(format!("going back through {}", node.name)))?;
                    if found.len() != inputs.len() {
                        let message =
                            format!("backward: {} does not give a gradient for each input", node.name);
                        return Err(Error::new(Kind::Shape, message).expected_got(inputs.len(), found.len()));
                    }
                    spread(&mut gradients, inputs, found)?;
                }
            }
        }
        Ok(())
    }
}

/// A parameter's gradient in f32, also where an op read it as an activation of 16 bits.
fn whole(device: &dyn Device, gradient: Gradient) -> Result<Gradient> {
    match gradient {
        Gradient::Stored(x) if x.dtype() != Dtype::F32 => {
            let mut y = device.alloc(Dtype::F32, x.len())?;
            device.run(Call::Cast { x: &x, y: &mut y })?;
            Ok(Gradient::Stored(y))
        }
        as_it_is => Ok(as_it_is),
    }
}

/// A sum has gone through the ReLU if all its parts have.
fn accumulate(device: &dyn Device, into: &mut Option<InputGradient>, flow: InputGradient) -> Result<()> {
    *into = Some(match into.take() {
        None => flow,
        Some(first) => {
            let [mut sum, mut other] = [first.gradient.store(device)?, flow.gradient.store(device)?];
            if sum.dtype() != other.dtype() {
                // Once as a weight, once as an activation of 16 bits.
                sum = whole(device, Gradient::Stored(sum))?.store(device)?;
                other = whole(device, Gradient::Stored(other))?.store(device)?;
            }
            device.run(Call::Add { x: &other, into: &mut sum })?;
            InputGradient { gradient: Gradient::Stored(sum), masked: first.masked && flow.masked }
        }
    });
    Ok(())
}
