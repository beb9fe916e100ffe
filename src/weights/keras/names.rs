//! The name that a file gives a weight in; its layer and its part out.
//!
//! Keras 1 writes `block1_conv1_W_1:0`, Keras 2 `block1_conv1/kernel:0`, Keras 3 `sequential/dense/kernel`.
//! TensorFlow adds numbers to whatever was made twice in a session: `kernel_1:0`, `dense_2/kernel:0`.

/// The parts of layers as Keras 2 and 3 call them.
const PARTS: [&str; 6] = ["kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance"];
/// The ends of names in Keras 1; its `std` holds the variance.
const OLD: [(&str, &str); 6] = [
    ("_W", "kernel"),
    ("_b", "bias"),
    ("_gamma", "gamma"),
    ("_beta", "beta"),
    ("_running_mean", "moving_mean"),
    ("_running_std", "moving_variance"),
];

/// The layer, where the name tells it, and the part of it.
pub(super) fn split(weight: &str) -> (Option<&str>, &str) {
    let (scope, variable) = match weight.rsplit_once('/') {
        Some((scope, variable)) => (scope.rsplit('/').next().filter(|layer| !layer.is_empty()), variable),
        None => (None, weight),
    };
    // The number of the output of TensorFlow's operation.
    let variable = match variable.rsplit_once(':') {
        Some((variable, output)) if is_number(output) => variable,
        _ => variable,
    };
    for name in [variable, unnumbered(variable)] {
        if let Some(part) = PARTS.iter().find(|&&part| part == name) {
            return (scope, part);
        }
        for (end, part) in OLD {
            if let Some(layer) = name.strip_suffix(end).filter(|layer| !layer.is_empty()) {
                return (scope.or(Some(layer)), part);
            }
        }
    }
    (scope, variable)
}

/// `dense` of `dense_2`.
pub(super) fn unnumbered(name: &str) -> &str {
    numbered(name).map_or(name, |(stem, _)| stem)
}

/// `dense` and 2 of `dense_2`.
pub(super) fn numbered(name: &str) -> Option<(&str, u64)> {
    let (stem, number) = name.rsplit_once('_')?;
    (is_number(number) && !stem.is_empty()).then_some((stem, number.parse().ok()?))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Keras' `to_snake_case`, after which it calls groups: `conv2d`, `max_pooling2d`, `batch_normalization`.
pub(super) fn snake(class: &str) -> String {
    let letters: Vec<char> = class.chars().filter(|c| c.is_alphanumeric() || *c == '_').collect();
    let is = |at: Option<usize>, f: fn(&char) -> bool| at.and_then(|at| letters.get(at)).is_some_and(f);
    let mut out = String::new();
    for (at, letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1);
        // `XYz` is `x_yz`, and `xY` is `x_y`; digits are no small letters here.
        let begins = letter.is_ascii_uppercase()
            && (before.is_some() && is(Some(at + 1), char::is_ascii_lowercase)
                || is(before, char::is_ascii_lowercase));
        if begins {
            out.push('_');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_ages_are_split() {
        for (name, layer, part) in [
            ("block1_conv1_W_1:0", Some("block1_conv1"), "kernel"),
            ("block1_conv1_b_1:0", Some("block1_conv1"), "bias"),
            ("convolution2d_1_W", Some("convolution2d_1"), "kernel"),
            ("bn_running_std:0", Some("bn"), "moving_variance"),
            ("block1_conv1/kernel:0", Some("block1_conv1"), "kernel"),
            ("block1_conv1_1/kernel_12:0", Some("block1_conv1_1"), "kernel"),
            ("sequential/dense/kernel", Some("dense"), "kernel"),
            ("model/bn/moving_variance:0", Some("bn"), "moving_variance"),
            ("kernel:0", None, "kernel"),
            ("/kernel", None, "kernel"),
            ("lstm/lstm_cell/recurrent_kernel:0", Some("lstm_cell"), "recurrent_kernel"),
            ("_W", None, "_W"),
            ("a:b", None, "a:b"),
            ("", None, ""),
        ] {
            assert_eq!(split(name), (layer, part), "{name}");
        }
    }

    /// Expected values by Keras 3.15.1.
    #[test]
    fn classes_are_written_as_keras_writes_them() {
        for (class, key) in [
            ("Conv2D", "conv2d"),
            ("MaxPooling2D", "max_pooling2d"),
            ("BatchNormalization", "batch_normalization"),
            ("GlobalAveragePooling2D", "global_average_pooling2d"),
            ("DepthwiseConv2D", "depthwise_conv2d"),
            ("InputLayer", "input_layer"),
            ("Conv2DTranspose", "conv2d_transpose"),
            ("SeparableConv2D", "separable_conv2d"),
            ("ReLU", "re_lu"),
            ("PReLU", "p_re_lu"),
            ("LSTM", "lstm"),
            ("MyVGG16Base", "my_vgg16_base"),
            ("My Layer>A", "my_layer_a"),
        ] {
            assert_eq!(snake(class), key, "{class}");
        }
    }
}
