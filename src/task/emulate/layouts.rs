//! The same numbers in another format or order.

use super::kernels::{FLAT, Fill, Kernel, SAME_BITS, array, call, fresh, signed};
use crate::device::{Call, Dtype};

pub const CAST: Kernel = Kernel {
    name: "cast",
    formula: "y = x, to the nearest",
    axes: FLAT,
    arrays: |s| {
        let len = s.of("len");
        (vec![signed("x", len)], vec![array("y", len, Fill::Unwritten(Dtype::F16))])
    },
    make: call!(_s, [x] => [y], Call::Cast { x, y }),
    tolerance: SAME_BITS,
};

pub const TRANSPOSE: Kernel = Kernel {
    name: "transpose",
    formula: "y[n,c,r] = x[n,r,c]",
    axes: &[("batch", 2), ("rows", 40), ("columns", 70)],
    arrays: |s| {
        let len = s.of("batch") * s.of("rows") * s.of("columns");
        (vec![signed("x", len)], vec![fresh("y", len)])
    },
    make: call!(s, [x] => [y],
        Call::Transpose { batch: s.of("batch"), rows: s.of("rows"), columns: s.of("columns"), x, y }),
    tolerance: SAME_BITS,
};
