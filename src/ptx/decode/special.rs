//! Special registers: from the names that PTX has for them.

use crate::ptx::program::Special;

/// `%tid.x` and its like; `None` for what is none, or none that we know.
pub(super) fn special(name: &str) -> Option<Special> {
    let axis = |rest: &str| ["x", "y", "z"].iter().position(|&axis| axis == rest).map(|at| at as u8);
    if let Some((base, rest)) = name.split_once('.') {
        let make = match base {
            "%tid" => Special::Tid,
            "%ntid" => Special::Ntid,
            "%ctaid" => Special::Ctaid,
            "%nctaid" => Special::Nctaid,
            "%cluster_ctaid" => Special::ClusterCtaid,
            "%cluster_nctaid" => Special::ClusterNctaid,
            "%clusterid" => Special::Clusterid,
            "%nclusterid" => Special::Nclusterid,
            _ => return None,
        };
        return axis(rest).map(make);
    }
    Some(match name {
        "%laneid" => Special::Lane,
        "%warpid" => Special::Warp,
        "%nwarpid" => Special::Warps,
        "%lanemask_eq" => Special::MaskEq,
        "%lanemask_lt" => Special::MaskLt,
        "%lanemask_le" => Special::MaskLe,
        "%lanemask_gt" => Special::MaskGt,
        "%lanemask_ge" => Special::MaskGe,
        "%smid" => Special::Sm,
        "%nsmid" => Special::Sms,
        "%dynamic_smem_size" => Special::DynamicShared,
        "%cluster_ctarank" => Special::ClusterRank,
        "%cluster_nctarank" => Special::ClusterSize,
        _ => return None,
    })
}
