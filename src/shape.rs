//! Axes and sizes: tensor shapes of at most four axes and the geometry of convolution, pooling and
//! dense layers.
//!
//! In: sizes. Out: the output's shape, or a reason why there is none. Geometry travels as one value
//! with named fields, on the host and (by value) into kernels, never as bare integers in a row.

use crate::error::{Error, Kind, Result};
use std::fmt;

/// The sizes of a tensor's axes, slowest first: `[n, h, w, c]` for activations.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    axes: [usize; 4],
    rank: u8,
}

impl Shape {
    /// A shape of one to four axes; a fifth axis is a programming error that the type cannot hold,
    /// so it is cut off in no build: this function asserts.
    pub fn new(axes: &[usize]) -> Self {
        assert!((1..=4).contains(&axes.len()), "a shape has one to four axes, not {}", axes.len());
        let mut all = [1; 4];
        all[..axes.len()].copy_from_slice(axes);
        Self { axes: all, rank: axes.len() as u8 }
    }

    /// The sizes, slowest axis first.
    pub fn axes(&self) -> &[usize] {
        &self.axes[..usize::from(self.rank)]
    }

    /// The number of elements; the largest number there is where the product is larger.
    pub fn len(&self) -> usize {
        self.axes().iter().fold(1, |len, &axis| len.saturating_mul(axis))
    }

    /// Whether some axis has size 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `[n, h, w, c]`, or a [`Kind::Shape`] error that names `what`.
    ///
    /// # Errors
    /// When the rank is not four.
    pub fn nhwc(&self, what: &str) -> Result<[usize; 4]> {
        if self.rank == 4 {
            Ok(self.axes)
        } else {
            Err(Error::new(Kind::Shape, format!("{what} has {} axes", self.rank))
                .expected_got("[n, h, w, c]", self))
        }
    }

    /// `[rows, columns]`, or a [`Kind::Shape`] error that names `what`.
    ///
    /// # Errors
    /// When the rank is not two.
    pub fn matrix(&self, what: &str) -> Result<[usize; 2]> {
        if self.rank == 2 {
            Ok([self.axes[0], self.axes[1]])
        } else {
            Err(Error::new(Kind::Shape, format!("{what} has {} axes", self.rank))
                .expected_got("[rows, columns]", self))
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.axes())
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A 3x3 convolution with stride 1 and one pixel of zero padding on each side ("same").
/// Input `[n, h, w, c_in]`, weight `[c_out, 3, 3, c_in]`, output `[n, h, w, c_out]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2d {
    /// Images in the batch.
    pub n: usize,
    /// Rows, of input and output.
    pub h: usize,
    /// Columns, of input and output.
    pub w: usize,
    /// Channels of the input.
    pub c_in: usize,
    /// Channels of the output (filters).
    pub c_out: usize,
}

impl Conv2d {
    /// The geometry of `x` under `weight`.
    ///
    /// # Errors
    /// [`Kind::Shape`] when `x` is not `[n, h, w, c_in]` or `weight` not `[c_out, 3, 3, c_in]` with the same `c_in`.
    pub fn of(x: Shape, weight: Shape) -> Result<Self> {
        let [n, h, w, c_in] = x.nhwc("conv2d: the input")?;
        let [c_out, kh, kw, c] = weight.nhwc("conv2d: the weight")?;
        if (kh, kw) != (3, 3) {
            return Err(Error::new(Kind::Shape, "conv2d: only 3x3 windows are built")
                .expected_got("[c_out, 3, 3, c_in]", weight));
        }
        if c != c_in {
            return Err(Error::new(
                Kind::Shape,
                format!("conv2d: the input has {c_in} channels, the weight expects {c}"),
            )
            .fact("input", x)
            .fact("weight", weight));
        }
        Ok(Self { n, h, w, c_in, c_out })
    }

    /// `[n, h, w, c_in]`.
    pub fn x(&self) -> Shape {
        Shape::new(&[self.n, self.h, self.w, self.c_in])
    }

    /// `[c_out, 3, 3, c_in]`.
    pub fn weight(&self) -> Shape {
        Shape::new(&[self.c_out, 3, 3, self.c_in])
    }

    /// `[n, h, w, c_out]`.
    pub fn y(&self) -> Shape {
        Shape::new(&[self.n, self.h, self.w, self.c_out])
    }

    /// Multiply-adds of one pass as an implicit GEMM executes them, padding taps included.
    pub fn macs(&self) -> u64 {
        (self.n * self.h * self.w) as u64 * 9 * self.c_in as u64 * self.c_out as u64
    }
}

impl Conv2d {
    /// Pooling of its output.
    pub fn pool(&self) -> Pool2d {
        Pool2d { n: self.n, h: self.h, w: self.w, c: self.c_out }
    }
}

/// A 2x2 maximum with stride 2 and no padding: an odd last row or column is dropped, as Keras does.
/// Input `[n, h, w, c]`, output `[n, h/2, w/2, c]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool2d {
    /// Images in the batch.
    pub n: usize,
    /// Rows of the input.
    pub h: usize,
    /// Columns of the input.
    pub w: usize,
    /// Channels.
    pub c: usize,
}

impl Pool2d {
    /// The geometry of pooling `x`.
    ///
    /// # Errors
    /// [`Kind::Shape`] when `x` is not `[n, h, w, c]` with `h` and `w` at least 2.
    pub fn of(x: Shape) -> Result<Self> {
        let [n, h, w, c] = x.nhwc("maxpool2d: the input")?;
        if h < 2 || w < 2 {
            return Err(Error::new(Kind::Shape, format!("maxpool2d: a map of {h}x{w} has no 2x2 window"))
                .help("use larger images: VGG16 pools five times and needs at least 32x32"));
        }
        Ok(Self { n, h, w, c })
    }

    /// `[n, h, w, c]`.
    pub fn x(&self) -> Shape {
        Shape::new(&[self.n, self.h, self.w, self.c])
    }

    /// `[n, h/2, w/2, c]`.
    pub fn y(&self) -> Shape {
        Shape::new(&[self.n, self.h / 2, self.w / 2, self.c])
    }

    /// Bytes of the winners: two bits for each element of the output.
    pub fn winners(&self) -> usize {
        self.y().len().div_ceil(4)
    }
}

/// The mean of a whole map. Input `[n, h, w, c]`, output `[n, c]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GlobalPool2d {
    /// Images in the batch.
    pub n: usize,
    /// Rows of the input.
    pub h: usize,
    /// Columns of the input.
    pub w: usize,
    /// Channels.
    pub c: usize,
}

impl GlobalPool2d {
    /// The geometry of pooling `x`.
    ///
    /// # Errors
    /// [`Kind::Shape`] when `x` is not `[n, h, w, c]`, or its maps have no pixel.
    pub fn of(x: Shape) -> Result<Self> {
        let [n, h, w, c] = x.nhwc("global_avgpool2d: the input")?;
        if h * w == 0 {
            return Err(Error::new(Kind::Shape, format!("global_avgpool2d: a map of {h}x{w} has no mean"))
                .help("use larger images: VGG16 pools five times and needs at least 32x32"));
        }
        Ok(Self { n, h, w, c })
    }

    /// `[n, h, w, c]`.
    pub fn x(&self) -> Shape {
        Shape::new(&[self.n, self.h, self.w, self.c])
    }

    /// `[n, c]`.
    pub fn y(&self) -> Shape {
        Shape::new(&[self.n, self.c])
    }

    /// Pixels of a map.
    pub fn pixels(&self) -> usize {
        self.h * self.w
    }
}

/// A matrix product with a bias. Input `[n, c_in]`, weight `[c_in, c_out]`, output `[n, c_out]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dense {
    /// Rows of the batch.
    pub n: usize,
    /// Inputs of a unit.
    pub c_in: usize,
    /// Units.
    pub c_out: usize,
}

impl Dense {
    /// The geometry of `x` under `weight`.
    ///
    /// # Errors
    /// [`Kind::Shape`] when the axes do not fit.
    pub fn of(x: Shape, weight: Shape) -> Result<Self> {
        let [n, c_in] = x.matrix("dense: the input")?;
        let [c, c_out] = weight.matrix("dense: the weight")?;
        if c != c_in {
            return Err(Error::new(
                Kind::Shape,
                format!("dense: the input has {c_in} columns, the weight expects {c}"),
            )
            .fact("input", x)
            .fact("weight", weight)
            .help("the features come from another input size or network than the head"));
        }
        Ok(Self { n, c_in, c_out })
    }

    /// `[n, c_in]`.
    pub fn x(&self) -> Shape {
        Shape::new(&[self.n, self.c_in])
    }

    /// `[c_in, c_out]`.
    pub fn weight(&self) -> Shape {
        Shape::new(&[self.c_in, self.c_out])
    }

    /// `[n, c_out]`.
    pub fn y(&self) -> Shape {
        Shape::new(&[self.n, self.c_out])
    }

    /// Multiply-adds of one pass.
    pub fn macs(&self) -> u64 {
        self.n as u64 * self.c_in as u64 * self.c_out as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geometry_or_a_reason() {
        let conv = Conv2d::of(Shape::new(&[2, 5, 7, 3]), Shape::new(&[8, 3, 3, 3])).unwrap();
        assert_eq!(conv.y(), Shape::new(&[2, 5, 7, 8]));
        let error = Conv2d::of(Shape::new(&[2, 5, 7, 4]), Shape::new(&[8, 3, 3, 3])).unwrap_err();
        assert_eq!(error.message(), "conv2d: the input has 4 channels, the weight expects 3");
        assert!(Conv2d::of(Shape::new(&[2, 5, 7, 3]), Shape::new(&[8, 5, 5, 3])).is_err());

        assert_eq!(Pool2d::of(Shape::new(&[1, 75, 9, 2])).unwrap().y(), Shape::new(&[1, 37, 4, 2]));
        assert!(Pool2d::of(Shape::new(&[1, 1, 9, 2])).is_err());
        assert_eq!(GlobalPool2d::of(Shape::new(&[2, 4, 3, 5])).unwrap().y(), Shape::new(&[2, 5]));
        assert!(GlobalPool2d::of(Shape::new(&[2, 12])).is_err());
        assert!(Dense::of(Shape::new(&[1, 8192]), Shape::new(&[25088, 256])).is_err());
    }
}
