//! Options that change nothing: of stages and their network, in words.

use super::{StageConfig, blocks};
use crate::error::Result;
use crate::model::Architecture;
use crate::report::counted;
use crate::train::{Monitor, Schedule};

/// What is asked for and changes nothing, of all stages together; for people.
///
/// # Errors
/// Those of [`StageConfig::boundary`].
pub(in crate::task) fn without_effect(
    stages: &[StageConfig],
    architecture: &Architecture,
) -> Result<Vec<String>> {
    let mut idle = Vec::new();
    let mut lowest = architecture.base();
    for stage in stages {
        lowest = lowest.min(stage.boundary(architecture)?);
    }
    let mut named: Vec<&str> =
        stages.iter().flat_map(|stage| stage.rates.keys().map(String::as_str)).collect();
    named.sort_unstable();
    named.dedup();
    let learns: Vec<&str> = blocks(architecture)
        .filter(|(position, _, _)| *position >= lowest)
        .map(|(_, _, block)| block)
        .collect();
    for block in named.into_iter().filter(|block| !learns.contains(block)) {
        idle.push(format!("the rate of {block} changes nothing: no stage unfreezes it"));
    }
    if stages.iter().any(|stage| stage.monitor != Monitor::default())
        && !stages.iter().any(StageConfig::watches)
    {
        idle.push(
            "--monitor changes nothing without --early-stopping, --restore-best or the schedule `plateau`"
                .into(),
        );
    }
    for stage in stages {
        if let Schedule::Step { every, .. } = stage.schedule
            && (1..=every).contains(&stage.epochs)
        {
            idle.push(format!(
                "stage {}: the schedule step:{every} changes nothing in {}",
                stage.name,
                counted(stage.epochs, "epoch")
            ));
        }
    }
    Ok(idle)
}
