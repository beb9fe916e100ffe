//! VGG16's layers at images of 150x150, as benches name them.

/// Images in a batch.
pub const BATCH: usize = 20;

/// Block and layer, side of the map, channels in and out; layers like an earlier one are left out.
pub const CONV2D: &[(&str, usize, usize, usize)] = &[
    ("block1_conv1", 150, 3, 64),
    ("block1_conv2", 150, 64, 64),
    ("block2_conv1", 75, 64, 128),
    ("block2_conv2", 75, 128, 128),
    ("block3_conv1", 37, 128, 256),
    ("block3_conv2", 37, 256, 256),
    ("block4_conv1", 18, 256, 512),
    ("block4_conv2", 18, 512, 512),
    ("block5_conv1", 9, 512, 512),
];

/// Those with a pool behind them.
pub const CONV2D_MAXPOOL2D: &[(&str, usize, usize, usize)] = &[
    ("block1_conv2", 150, 64, 64),
    ("block2_conv2", 75, 128, 128),
    ("block3_conv3", 37, 256, 256),
    ("block4_conv3", 18, 512, 512),
    ("block5_conv3", 9, 512, 512),
];

/// Block, side of the map, channels.
pub const POOL2D: &[(&str, usize, usize)] =
    &[("block1_pool", 150, 64), ("block3_pool", 37, 256), ("block5_pool", 9, 512)];

/// The head's layers.
pub const DENSE: &[(&str, usize, usize)] = &[("fc1", 8192, 256), ("fc2", 256, 1)];
