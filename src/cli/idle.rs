//! Options that change nothing: what was typed beside what makes it idle, in words.

use super::args::{Cli, Command};
use super::finetune::JobArgs;
use super::predict::{LookArgs, TtaArg};
use crate::device::{DeviceName, Kernels, Launches};

/// What was typed and changes nothing; for people.
pub fn idle(cli: &Cli) -> Vec<String> {
    let on_no_device = |option| format!("{option} changes nothing: this command computes on no device");
    let mut idle: Vec<String> = of_device(cli).into_iter().map(on_no_device).collect();
    match &cli.command {
        Command::Finetune(a) if a.config.is_none() => idle.extend(of_stages(&a.job, a.from.is_some())),
        Command::Demo(a) => idle.extend(of_stages(&a.job, false)),
        Command::Predict(a) => idle.extend(of_look(&a.look)),
        Command::Evaluate(a) => idle.extend(of_look(&a.look)),
        _ => {}
    }
    idle
}

/// Of stages that are left out.
fn of_stages(a: &JobArgs, from: bool) -> Vec<String> {
    let (head, base) = (a.head_epochs(from) == 0, a.epochs == 0);
    let frozen = if a.head_epochs.is_some() { "--head-epochs 0" } else { "--from without --head-epochs" };
    [
        ("--head-rate", head && a.head_rate.is_some(), frozen),
        ("--unfreeze-from", base && a.unfreeze_from.is_some(), "--epochs 0"),
        ("--rate", base && a.rate.is_some(), "--epochs 0"),
    ]
    .into_iter()
    .filter(|(_, idle, _)| *idle)
    .map(|(option, _, without)| format!("{option} changes nothing: {without} leaves its stage out"))
    .collect()
}

/// Of looks that draw nothing.
fn of_look(a: &LookArgs) -> Vec<String> {
    let without = match a.tta {
        Some(TtaArg::Times(1)) => "--tta 1 looks at each image as it is",
        Some(TtaArg::Flip) => "--tta flip draws nothing",
        _ => return Vec::new(),
    };
    let options = [("--seed changes", a.seed.is_some()), ("augmentation options change", a.augment.given())];
    let given = options.into_iter().filter(|(_, given)| *given);
    given.map(|(option, _)| format!("{option} nothing: {without}")).collect()
}

/// Whether `command` computes on no device that could be chosen. To open a GPU takes a second.
pub fn is_idle(command: &Command) -> bool {
    matches!(
        command,
        Command::Arrange(_)
            | Command::Check(_)
            | Command::Summary(_)
            | Command::Export(_)
            | Command::Compare(_)
            | Command::Weights(_)
            | Command::Emulate(_)
            | Command::Devices
            | Command::Bench(_)
    )
}

/// What was typed of a device and changes nothing.
fn of_device(cli: &Cli) -> Vec<&'static str> {
    if !is_idle(&cli.command) {
        return Vec::new();
    }
    // These two take theirs from paper or from the machine that they always are.
    let precise = matches!(cli.command, Command::Emulate(_) | Command::Bench(_));
    let given = [
        ("--device", cli.device != DeviceName::Auto),
        ("--precision", !precise && cli.precision.is_some()),
        ("--kernels", !precise && cli.kernels != Kernels::Auto),
        ("--launches", !precise && cli.launches != Launches::Serial),
    ];
    given.into_iter().filter(|(_, given)| *given).map(|(option, _)| option).collect()
}
