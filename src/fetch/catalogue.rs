//! The files that can be fetched: where they are published, what is known of their bytes, whose work they are.
//!
//! In: a name. Out: its entry. Addresses and checksums are those in the sources of keras and torchvision; sizes are
//! exact only where a download has shown them.

use super::digest::Digest;
use crate::error::{Error, Kind, Result};

/// One published file.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// What it is called here.
    pub name: &'a str,
    /// Where it is published.
    pub url: &'a str,
    /// What it is called in our cache and on a mirror.
    pub file: &'a str,
    /// What is known of its bytes.
    pub digest: Digest<'a>,
    /// Of how many.
    pub size: Size,
    /// Who publishes it, and so where other programs keep it.
    pub publisher: Publisher<'a>,
    /// Whose work it is.
    pub lineage: &'a str,
    /// Under which terms.
    pub licence: &'a str,
}

/// Who publishes a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publisher<'a> {
    /// Keras keeps it under the same name in its `models`.
    Keras,
    /// torch.hub keeps it under the same name in its `checkpoints`.
    Torchvision,
    /// Hugging Face's hub keeps it in snapshots of a repository.
    HuggingFace {
        /// "timm/vgg16.tv_in1k"
        repository: &'a str,
        /// Its name there.
        file: &'a str,
    },
}

/// How many bytes a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// To the byte.
    Exactly(u64),
    /// To a hundredth.
    About(u64),
}

impl Size {
    /// The number.
    pub fn bytes(self) -> u64 {
        match self {
            Self::Exactly(bytes) | Self::About(bytes) => bytes,
        }
    }

    /// The number if it is known to the byte.
    pub fn exact(self) -> Option<u64> {
        match self {
            Self::Exactly(bytes) => Some(bytes),
            Self::About(_) => None,
        }
    }

    /// The most that a file of this size may have.
    pub fn at_most(self) -> u64 {
        match self {
            Self::Exactly(bytes) => bytes,
            Self::About(bytes) => bytes.saturating_add(bytes / 100),
        }
    }

    /// Whether a file of `bytes` may be it.
    pub fn fits(self, bytes: u64) -> bool {
        match self {
            Self::Exactly(exact) => bytes == exact,
            Self::About(about) => bytes.abs_diff(about) <= about / 100,
        }
    }
}

const OXFORD: &str = "K. Simonyan, A. Zisserman, arXiv:1409.1556; their Caffe weights, ported by Keras";
const ANEW: &str = "trained anew by torchvision; network of K. Simonyan, A. Zisserman, arXiv:1409.1556";
const CC_BY: &str = "Creative Commons Attribution: name the authors, say what you changed";
const BSD: &str = "BSD-3-Clause (torchvision)";

const fn keras(name: &'static str, url: &'static str, md5: &'static str, bytes: u64) -> Entry<'static> {
    Entry {
        name,
        url,
        file: last(url),
        digest: Digest::Md5(md5),
        size: Size::Exactly(bytes),
        publisher: Publisher::Keras,
        lineage: OXFORD,
        licence: CC_BY,
    }
}

const fn torchvision(
    name: &'static str,
    url: &'static str,
    digest: Digest<'static>,
    size: Size,
) -> Entry<'static> {
    Entry {
        name,
        url,
        file: last(url),
        digest,
        size,
        publisher: Publisher::Torchvision,
        lineage: ANEW,
        licence: BSD,
    }
}

/// What follows the last slash of an address.
const fn last(url: &str) -> &str {
    let mut at = url.len();
    while at > 0 && url.as_bytes()[at - 1] != b'/' {
        at -= 1;
    }
    url.split_at(at).1
}

/// All of them.
pub const CATALOGUE: [Entry<'static>; 14] = [
    keras(
        "vgg16",
        "https://storage.googleapis.com/tensorflow/keras-applications/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels.h5",
        "64373286793e3c8b2b4e3219cbf3544b",
        553_467_096,
    ),
    keras(
        "vgg16-notop",
        "https://storage.googleapis.com/tensorflow/keras-applications/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "6d6bbae143d832006294945121d1f1fc",
        58_889_256,
    ),
    keras(
        "vgg19",
        "https://storage.googleapis.com/tensorflow/keras-applications/vgg19/vgg19_weights_tf_dim_ordering_tf_kernels.h5",
        "cbe5617147190e668d6c5d5026f83318",
        574_710_816,
    ),
    keras(
        "vgg19-notop",
        "https://storage.googleapis.com/tensorflow/keras-applications/vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "253f8cb515780f3b799900260a226db6",
        80_134_624,
    ),
    // The sizes of those that are only about right: torchvision's own, in MiB with three decimals.
    torchvision(
        "torchvision-vgg11",
        "https://download.pytorch.org/models/vgg11-8a719046.pth",
        Digest::Sha256Prefix("8a719046"),
        Size::About(531_460_260),
    ),
    torchvision(
        "torchvision-vgg11-bn",
        "https://download.pytorch.org/models/vgg11_bn-6002323d.pth",
        Digest::Sha256Prefix("6002323d"),
        Size::About(531_503_251),
    ),
    torchvision(
        "torchvision-vgg13",
        "https://download.pytorch.org/models/vgg13-19584684.pth",
        Digest::Sha256Prefix("19584684"),
        Size::About(532_199_506),
    ),
    torchvision(
        "torchvision-vgg13-bn",
        "https://download.pytorch.org/models/vgg13_bn-abd245e5.pth",
        Digest::Sha256Prefix("abd245e5"),
        Size::About(532_246_692),
    ),
    torchvision(
        "torchvision-vgg16",
        "https://download.pytorch.org/models/vgg16-397923af.pth",
        Digest::Sha256("397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"),
        Size::Exactly(553_433_881),
    ),
    torchvision(
        "torchvision-vgg16-bn",
        "https://download.pytorch.org/models/vgg16_bn-6c64b313.pth",
        Digest::Sha256Prefix("6c64b313"),
        Size::Exactly(553_507_836),
    ),
    torchvision(
        "torchvision-vgg19",
        "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
        Digest::Sha256Prefix("dcbb9e9d"),
        Size::Exactly(574_673_361),
    ),
    torchvision(
        "torchvision-vgg19-bn",
        "https://download.pytorch.org/models/vgg19_bn-c79401a0.pth",
        Digest::Sha256Prefix("c79401a0"),
        Size::Exactly(574_769_405),
    ),
    Entry {
        name: "timm-vgg16",
        // A commit, not the branch: what lies there cannot change.
        url: "https://huggingface.co/timm/vgg16.tv_in1k/resolve/3394518cba29aee1ea82a49d971be90d2dd1dab7/model.safetensors",
        file: "timm_vgg16.tv_in1k.safetensors",
        digest: Digest::Sha256("57b026918159a6bf9faf8405c3a551903768e7138989d9c6224a14227203fad8"),
        size: Size::About(553_400_000),
        publisher: Publisher::HuggingFace { repository: "timm/vgg16.tv_in1k", file: "model.safetensors" },
        lineage: "torchvision's vgg16 as safetensors, by timm; the classifier as convolutions",
        licence: BSD,
    },
    Entry {
        name: "imagenet-classes",
        url: "https://storage.googleapis.com/download.tensorflow.org/data/imagenet_class_index.json",
        file: "imagenet_class_index.json",
        digest: Digest::Md5("c2c37ea517e94d9795004a39431a14cb"),
        size: Size::Exactly(35_363),
        publisher: Publisher::Keras,
        lineage: "ImageNet's 1000 classes (ILSVRC), number to synset and name, as Keras has them",
        licence: "none is stated where it is published",
    },
];

/// The entry of a name; `_` is as good as `-`.
///
/// # Errors
/// [`Kind::Usage`] with all names.
pub fn find(name: &str) -> Result<Entry<'static>> {
    let wanted = name.to_ascii_lowercase().replace('_', "-");
    CATALOGUE.into_iter().find(|entry| entry.name == wanted).ok_or_else(|| {
        let names: Vec<&str> = CATALOGUE.iter().map(|entry| entry.name).collect();
        Error::new(Kind::Usage, format!("nothing that can be fetched is called `{}`", name.escape_debug()))
            .fact("known", names.join("\n"))
            .help("`vgg-ft weights fetch --list` says what they are; download any other file yourself")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_files_and_digits_are_as_they_should_be() {
        let of =
            |part: fn(&Entry<'static>) -> &'static str| CATALOGUE.iter().map(part).collect::<BTreeSet<_>>();
        assert_eq!(of(|e| e.name).len(), CATALOGUE.len());
        assert_eq!(of(|e| e.file).len(), CATALOGUE.len(), "one folder holds them all");
        for entry in &CATALOGUE {
            let (digits, length) = match entry.digest {
                Digest::Sha256(digits) => (digits, 64),
                Digest::Sha256Prefix(digits) => (digits, 8),
                Digest::Md5(digits) => (digits, 32),
            };
            assert_eq!(digits.len(), length, "{}", entry.name);
            assert!(
                digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)),
                "{}",
                entry.name
            );
            assert!(entry.url.starts_with("https://") && !entry.file.contains('/'), "{}", entry.name);
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            assert!(!entry.file.is_empty() && entry.file.bytes().all(plain), "{}", entry.file);
            if entry.publisher == Publisher::Torchvision {
                // torch.hub takes the digits from the name.
                assert!(entry.file.ends_with(&format!("-{}.pth", &digits[..8])), "{}", entry.file);
            }
        }
    }

    #[test]
    fn a_name_is_found_or_all_are_told() {
        assert_eq!(find("VGG16").unwrap().name, "vgg16");
        assert_eq!(find("torchvision-vgg16_bn").unwrap().file, "vgg16_bn-6c64b313.pth");
        let error = find("resnet\n50").unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.message().ends_with("`resnet\\n50`"), "{error}");
        assert!(CATALOGUE.iter().all(|entry| error.to_string().contains(entry.name)), "{error}");
    }

    #[test]
    fn a_size_is_exact_or_near() {
        assert!(Size::Exactly(10).fits(10) && !Size::Exactly(10).fits(11));
        assert!(Size::About(1000).fits(990) && Size::About(1000).fits(1010));
        assert!(!Size::About(1000).fits(989) && !Size::About(1000).fits(1011));
        assert_eq!((Size::About(1000).at_most(), Size::About(u64::MAX).at_most()), (1010, u64::MAX));
    }
}
