//! What each call is called, everywhere.

use super::Call;

impl Call<'_> {
    /// The call's name: that of its function on the cpu, in tests, benches and traces. Names of CUDA kernels begin with
    /// it, and go on with what tells several apart (`conv2d_forward_bf16_128x128x64`, `conv2d_backward_weight_reduce`),
    /// but for calls that are lowered to those of others (`conv2d_rmsprop_step`) and for Winograd's transforms
    /// (`conv2d_winograd_…`).
    pub fn name(&self) -> &'static str {
        match self {
            Self::Normalize { .. } => "normalize",
            Self::Augment { .. } => "augment",
            Self::Cast { .. } => "cast",
            Self::Transpose { .. } => "transpose",
            Self::Conv2dForward { .. } => "conv2d_forward",
            Self::Conv2dMaxpool2dForward { .. } => "conv2d_maxpool2d_forward",
            Self::Conv2dConv2dMaxpool2dForward { .. } => "conv2d_conv2d_maxpool2d_forward",
            Self::Conv2dBackwardInput { .. } => "conv2d_backward_input",
            Self::Conv2dBackwardWeight { .. } => "conv2d_backward_weight",
            Self::BiasBackward { .. } => "bias_backward",
            Self::Maxpool2dForward { .. } => "maxpool2d_forward",
            Self::Maxpool2dBackward { .. } => "maxpool2d_backward",
            Self::GlobalAvgpool2dForward { .. } => "global_avgpool2d_forward",
            Self::GlobalAvgpool2dBackward { .. } => "global_avgpool2d_backward",
            Self::DenseForward { .. } => "dense_forward",
            Self::DenseBackwardInput { .. } => "dense_backward_input",
            Self::DenseBackwardWeight { .. } => "dense_backward_weight",
            Self::ReluForward { .. } => "relu_forward",
            Self::ReluBackward { .. } => "relu_backward",
            Self::Dropout { .. } => "dropout",
            Self::SigmoidCrossEntropy { .. } => "sigmoid_cross_entropy",
            Self::SoftmaxCrossEntropy { .. } => "softmax_cross_entropy",
            Self::Sigmoid { .. } => "sigmoid",
            Self::Softmax { .. } => "softmax",
            Self::RmspropStep { .. } => "rmsprop_step",
            Self::SgdStep { .. } => "sgd_step",
            Self::AdamwStep { .. } => "adamw_step",
            Self::DenseRmspropStep { .. } => "dense_rmsprop_step",
            Self::Conv2dRmspropStep { .. } => "conv2d_rmsprop_step",
            Self::ScaleGradient { .. } => "scale_gradient",
            Self::CheckGradients { .. } => "check_gradients",
            Self::UpdateLossScale { .. } => "update_loss_scale",
            Self::Add { .. } => "add",
        }
    }
}
