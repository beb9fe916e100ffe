//! What flows from node to node: which axis of an image is where, and how large images are.
//!
//! A value is followed from the input to the output. `Conv` says what its input's axes are (N, C, H, W);
//! from there on every `Transpose` is kept count of, so that flattening has a known order.

use crate::weights::contents::Order;

/// A value on its way.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    /// The input, before a layer has said what its axes are: their lengths, where these are known.
    Input(Option<Vec<Option<usize>>>),
    Image(Image),
    Flat(Flat),
}

/// What comes out of a convolution.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Image {
    /// The place in memory of each axis, slowest first.
    pub axes: Vec<Axis>,
    pub channels: usize,
    pub height: Option<usize>,
    pub width: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Axis {
    Batch,
    Channel,
    Height,
    Width,
}

/// As ONNX has images.
pub(super) const NCHW: [Axis; 4] = [Axis::Batch, Axis::Channel, Axis::Height, Axis::Width];
/// As Keras has them.
const NHWC: [Axis; 4] = [Axis::Batch, Axis::Height, Axis::Width, Axis::Channel];

/// Rows of numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Flat {
    /// How the image lay that was flattened, until a dense layer has mixed it.
    pub order: Option<Order>,
    pub columns: Columns,
}

/// How many numbers a row has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Columns {
    Known(usize),
    /// So many channels, and an unknown number of places.
    PerPlace(usize),
    Unknown,
}

impl Image {
    /// What a convolution with `channels` filters gives, as high and wide as `sides` says.
    pub fn new(channels: usize, [height, width]: [Option<usize>; 2]) -> Self {
        Self { axes: NCHW.to_vec(), channels, height, width }
    }

    /// Whether there is one place, so that an average is what it was, and no order of places.
    pub fn is_one_place(&self) -> bool {
        self.height == Some(1) && self.width == Some(1)
    }

    /// The image as a row; `None` when the order of its axes is neither of the two that we know.
    pub fn flat(&self) -> Option<Flat> {
        let order = match self.axes.as_slice() {
            axes if axes == NCHW => Order::ChannelsFirst,
            axes if axes == NHWC => Order::ChannelsLast,
            [Axis::Batch, ..] if self.is_one_place() => Order::ChannelsFirst,
            _ => return None,
        };
        let size = match (self.height, self.width) {
            (Some(h), Some(w)) => h.checked_mul(w).and_then(|n| n.checked_mul(self.channels)),
            _ => None,
        };
        let columns = size.map_or(Columns::PerPlace(self.channels), Columns::Known);
        Some(Flat { order: Some(order), columns })
    }

    /// The axis along which a bias of `shape` differs, its last axis laid upon the image's last. `None` when
    /// it has several, or more axes than an image. One number is of the channels, if there is one.
    pub fn bias_axis(&self, shape: &[usize]) -> Option<Axis> {
        let skipped = self.axes.len().checked_sub(shape.len())?;
        let mut long = shape.iter().zip(self.axes.iter().skip(skipped)).filter(|(length, _)| **length != 1);
        match (long.next(), long.next()) {
            (None, _) => Some(Axis::Channel),
            (Some((_, &axis)), None) => Some(axis),
            _ => None,
        }
    }
}

impl Columns {
    /// Why rows of these do not fit a kernel with `inputs` rows, if so.
    ///
    /// Reshaping keeps the order of the numbers, so a kernel that takes as many numbers as an image has, takes
    /// a whole image, whatever the shape in between was computed from.
    pub fn misfit(self, inputs: usize) -> Option<String> {
        match self {
            Self::Known(n) if n == inputs => None,
            Self::Known(n) => Some(format!("takes {inputs} numbers where an image has {n}")),
            Self::PerPlace(channels) if inputs > channels && inputs.is_multiple_of(channels.max(1)) => None,
            Self::PerPlace(channels) => {
                Some(format!("takes {inputs} numbers of images with {channels} channels and an unknown size"))
            }
            Self::Unknown => None,
        }
    }
}
