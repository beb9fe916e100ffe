//! Stands in for what `build.rs` will generate: the entries of `kernels/*.cu`, without their text.

use super::module::{Entry, Module, Param};

/// All files.
pub const MODULES: &[Module] = &[
    Module {
        name: "bias_backward",
        target: "sm_75",
        text: "",
        canonical: true,
        entries: &[
            Entry {
                name: "bias_backward",
                params: &[
                    Param { size: 8, align: 4 },
                    Param { size: 4, align: 4 },
                    Param { size: 8, align: 8 },
                    Param { size: 8, align: 8 },
                ],
                max_threads: Some(256),
                static_shared: 1024,
            },
            Entry {
                name: "bias_backward_reduce",
                params: &[
                    Param { size: 8, align: 4 },
                    Param { size: 8, align: 8 },
                    Param { size: 8, align: 8 },
                ],
                max_threads: Some(256),
                static_shared: 0,
            },
        ],
    },
    Module {
        name: "conv2d_backward_input",
        target: "sm_75",
        text: "",
        canonical: true,
        entries: &[Entry {
            name: "conv2d_backward_input",
            params: &[
                Param { size: 20, align: 4 },
                Param { size: 8, align: 8 },
                Param { size: 8, align: 8 },
                Param { size: 8, align: 8 },
            ],
            max_threads: Some(128),
            static_shared: 12544,
        }],
    },
    Module {
        name: "conv2d_backward_weight",
        target: "sm_75",
        text: "",
        canonical: true,
        entries: &[
            Entry {
                name: "conv2d_backward_weight",
                params: &[
                    Param { size: 20, align: 4 },
                    Param { size: 4, align: 4 },
                    Param { size: 8, align: 8 },
                    Param { size: 8, align: 8 },
                    Param { size: 8, align: 8 },
                ],
                max_threads: Some(128),
                static_shared: 12544,
            },
            Entry {
                name: "conv2d_backward_weight_reduce",
                params: &[
                    Param { size: 8, align: 4 },
                    Param { size: 8, align: 8 },
                    Param { size: 8, align: 8 },
                ],
                max_threads: Some(256),
                static_shared: 0,
            },
        ],
    },
    Module {
        name: "conv2d_forward",
        target: "sm_75",
        text: "",
        canonical: true,
        entries: &[Entry {
            name: "conv2d_forward",
            params: &[
                Param { size: 20, align: 4 },
                Param { size: 4, align: 4 },
                Param { size: 8, align: 8 },
                Param { size: 8, align: 8 },
                Param { size: 8, align: 8 },
                Param { size: 8, align: 8 },
            ],
            max_threads: Some(128),
            static_shared: 12544,
        }],
    },
    Module {
        name: "dense",
        target: "sm_75",
        text: "",
        canonical: true,
        entries: &[
            Entry {
                name: "dense_forward",
                params: &[
                    Param { size: 12, align: 4 },
                    Param { size: 4, align: 4 },
                    Param { size: 8, align: 8 },
                    Param { size: 8, align: 8 },
                    Param { size: 8, align: 8 },
                ],
                max_threads: Some(128),
                static_shared: 20992,
            },
            Entry {
                name: "dense_forward_reduce",
                params: &[
                    Param { size: 8, align: 4 },
                    Param { size: 12, align: 4 },
                    Param { size: 4, align: 4 },
                    Param { size: 8, align: 8 },
                    Param { size: 8, align: 8 },
                    Param { size: 8, align: 8 },
                ],
                max_threads: Some(256),
                static_shared: 0,
            },
            Entry {
                name: "dense_backward_input",
                params: &[
                    Param { size: 12, align: 4 },
                    Param { size: 8, align: 8 },
                    Param { size: 8, align: 8 },
                    Param { size: 8, align: 8 },
                ],
                max_threads: Some(128),
                static_shared: 20992,
            },
        ],
    },
    Module {
        name: "dense_backward_weight",
        target: "sm_75",
        text: "",
        canonical: true,
        entries: &[
            Entry {
                name: "dense_backward_weight",
                params: &[
                    Param { size: 12, align: 4 },
                    Param { size: 8, align: 8 },
                    Param { size: 8, align: 8 },
                    Param { size: 8, align: 8 },
                ],
                max_threads: Some(256),
                static_shared: 8192,
            },
            Entry {
                name: "dense_rmsprop_step",
                params: &[
                    Param { size: 12, align: 4 },
                    Param { size: 12, align: 4 },
                    Param { size: 8, align: 8 },
                    Param { size: 8, align: 8 },
                    Param { size: 8, align: 8 },
                    Param { size: 8, align: 8 },
                ],
                max_threads: Some(256),
                static_shared: 8192,
            },
        ],
    },
    Module {
        name: "dropout",
        target: "sm_75",
        text: "",
        canonical: true,
        entries: &[Entry {
            name: "dropout",
            params: &[Param { size: 32, align: 4 }, Param { size: 8, align: 8 }, Param { size: 8, align: 8 }],
            max_threads: Some(256),
            static_shared: 0,
        }],
    },
    Module {
        name: "elementwise",
        target: "sm_75",
        text: "",
        canonical: true,
        entries: &[
            Entry {
                name: "relu_forward",
                params: &[
                    Param { size: 4, align: 4 },
                    Param { size: 8, align: 8 },
                    Param { size: 8, align: 8 },
                ],
                max_threads: Some(256),
                static_shared: 0,
            },
            Entry {
                name: "relu_backward",
                params: &[
                    Param { size: 4, align: 4 },
                    Param { size: 8, align: 8 },
                    Param { size: 8, align: 8 },
                ],
                max_threads: Some(256),
                static_shared: 0,
            },
            Entry {
                name: "add",
                params: &[
                    Param { size: 4, align: 4 },
                    Param { size: 8, align: 8 },
                    Param { size: 8, align: 8 },
                ],
                max_threads: Some(256),
                static_shared: 0,
            },
            Entry {
                name: "sigmoid",
                params: &[
                    Param { size: 4, align: 4 },
                    Param { size: 8, align: 8 },
                    Param { size: 8, align: 8 },
                ],
                max_threads: Some(256),
                static_shared: 0,
            },
            Entry {
                name: "normalize",
                params: &[
                    Param { size: 40, align: 4 },
                    Param { size: 8, align: 8 },
                    Param { size: 8, align: 8 },
                ],
                max_threads: Some(256),
                static_shared: 0,
            },
        ],
    },
    Module {
        name: "loss",
        target: "sm_75",
        text: "",
        canonical: true,
        entries: &[Entry {
            name: "sigmoid_cross_entropy",
            params: &[
                Param { size: 4, align: 4 },
                Param { size: 8, align: 8 },
                Param { size: 8, align: 8 },
                Param { size: 8, align: 8 },
                Param { size: 8, align: 8 },
            ],
            max_threads: Some(256),
            static_shared: 0,
        }],
    },
    Module {
        name: "maxpool2d",
        target: "sm_75",
        text: "",
        canonical: true,
        entries: &[
            Entry {
                name: "maxpool2d_forward",
                params: &[
                    Param { size: 16, align: 4 },
                    Param { size: 8, align: 8 },
                    Param { size: 8, align: 8 },
                    Param { size: 8, align: 8 },
                ],
                max_threads: Some(256),
                static_shared: 0,
            },
            Entry {
                name: "maxpool2d_backward",
                params: &[
                    Param { size: 16, align: 4 },
                    Param { size: 8, align: 8 },
                    Param { size: 8, align: 8 },
                    Param { size: 8, align: 8 },
                ],
                max_threads: Some(256),
                static_shared: 0,
            },
        ],
    },
    Module {
        name: "rmsprop",
        target: "sm_75",
        text: "",
        canonical: true,
        entries: &[Entry {
            name: "rmsprop_step",
            params: &[
                Param { size: 4, align: 4 },
                Param { size: 12, align: 4 },
                Param { size: 8, align: 8 },
                Param { size: 8, align: 8 },
                Param { size: 8, align: 8 },
            ],
            max_threads: Some(256),
            static_shared: 0,
        }],
    },
    Module {
        name: "softmax",
        target: "sm_75",
        text: "",
        canonical: true,
        entries: &[
            Entry {
                name: "softmax",
                params: &[
                    Param { size: 8, align: 4 },
                    Param { size: 8, align: 8 },
                    Param { size: 8, align: 8 },
                ],
                max_threads: Some(128),
                static_shared: 0,
            },
            Entry {
                name: "softmax_cross_entropy",
                params: &[
                    Param { size: 8, align: 4 },
                    Param { size: 8, align: 8 },
                    Param { size: 8, align: 8 },
                    Param { size: 8, align: 8 },
                    Param { size: 8, align: 8 },
                    Param { size: 8, align: 8 },
                ],
                max_threads: Some(128),
                static_shared: 0,
            },
        ],
    },
];
