//! What was typed becomes a task; what a task returns becomes an exit code.
//!
//! In: `argv`. Out: results on stdout, remarks and errors on stderr, 0 for success, 1 for a job that
//! failed, 2 for a command that is wrong (unknown or conflicting options, or a path that is missing or not what it should
//! be), 128 and the signal's number for one that was stopped.

mod args;
mod arrange;
mod augment;
mod bench;
mod check;
mod emulate;
mod evaluate;
mod export;
mod extract;
mod finetune;
mod fit;
mod idle;
mod notebook;
mod look;
mod predict;
mod resume;
mod summary;
mod there;
mod train;
mod values;
mod weights;

#[cfg(test)]
mod tests;

use crate::device::{DeviceName, DeviceOptions, Kernels, Launches, Opened, Precision, no_launches};
use crate::error::{Error, Kind, Result, visible};
use crate::interrupt;
use crate::task::{self, Host, tell};
use args::{Cli, Command, ImageArgs, ReadingArgs};
use clap::{Command as Clap, CommandFactory, FromArgMatches, ValueHint};
use finetune::FinetuneArgs;
use idle::{idle, is_idle};
use std::any::TypeId;
use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let mut command = numbers(Cli::command());
    let cli = parsed(&mut command, std::env::args_os().collect()).unwrap_or_else(|error| {
        // clap repeats what was typed, and leaves out of it what a terminal would obey: here that is to be seen.
        let seen = std::env::args_os().map(|arg| visible(&arg.to_string_lossy()).into()).collect();
        misspelt(&parsed(&mut command, seen).err().unwrap_or(error))
    });
    let json = cli.json;
    match interrupt::install().and_then(|()| run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&error, json);
            ExitCode::from(match error.kind() {
                Kind::Interrupted => interrupt::exit_code(),
                _ => error.exit_code(),
            })
        }
    }
}

fn parsed(command: &mut Clap, typed: Vec<OsString>) -> Result<Cli, clap::Error> {
    let mut matches = command.try_get_matches_from_mut(typed)?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(command))
}

/// Ends with what clap says of a command that it does not understand, which may be its help.
fn misspelt(error: &clap::Error) -> ! {
    if error.use_stderr() && std::env::args_os().any(|arg| arg == "--json") {
        let text = error.render().to_string();
        let mut parts = text.split("\n\n").map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
        let message = parts.next().unwrap_or_default();
        let error = Error::new(Kind::Usage, message.strip_prefix("error: ").unwrap_or(&message));
        // A tip if there is one, and how the command is typed.
        let help: Vec<String> = parts.collect();
        tell(&error.help(help.join("; ")), true);
        std::process::exit(2);
    }
    if !error.use_stderr() || std::io::stderr().is_terminal() {
        // In colour.
        error.exit()
    }
    // In one piece, as `tell`.
    let _ = std::io::stderr().write_all(error.render().to_string().as_bytes());
    std::process::exit(2)
}

/// A negative number behind an option is its value, to be refused as one, and not an option that nobody knows; of
/// `-1e-5` clap knows that only where anything may begin so.
fn numbers(command: Clap) -> Clap {
    command
        .mut_args(|arg| {
            let path = arg.get_value_hint() == ValueHint::AnyPath;
            let kind = arg.get_value_parser().type_id();
            if kind == TypeId::of::<f32>() || kind == TypeId::of::<f64>() {
                arg.allow_hyphen_values(true)
            } else if arg.get_long().is_some() && !path {
                arg.allow_negative_numbers(true)
            } else {
                arg
            }
        })
        .mut_subcommands(numbers)
}

fn run(cli: Cli) -> Result<()> {
    there::there(&cli.command)?;
    let host = host(&cli)?;
    for idle in idle(&cli) {
        host.note(format_args!("{idle}"));
    }
    match cli.command {
        Command::Summary(a) => task::summary(&host, &a.job()),
        Command::Extract(a) => task::extract(&host, &a.job()?),
        Command::Fit(a) => task::fit(&host, &a.job()?),
        Command::Finetune(a) => {
            if a.augments_nothing()? {
                host.note("these augmentation options change no image");
            }
            task::finetune(&host, &a.job()?)
        }
        Command::Notebook(a) => a.run(&host),
        Command::Resume(a) => task::resume(&host, &a.run, a.data, a.rate_factor, reading(a.reading)),
        Command::Evaluate(a) => task::evaluate(&host, &a.job()?),
        Command::Predict(a) => task::predict(&host, &a.job()?),
        Command::Arrange(a) => task::arrange(&host, &a.job()),
        Command::Check(a) => task::check(&host, &a.job()),
        Command::Augment(a) => task::preview(&host, &a.job()?),
        Command::Report(a) => task::report(&host, &a.job()),
        Command::Compare(a) => task::compare(&host, &a.job()),
        Command::Export(a) => task::export(&host, &a.job()?),
        Command::Demo(a) => task::demo(&host, &a.job()?),
        Command::Weights(a) => a.run(&host),
        Command::Devices => task::devices(&host, cli.threads.map(usize::from)),
        Command::Bench(a) => task::bench(
            &host,
            &a.job(cli.device, cli.precision.unwrap_or_default(), cli.kernels, cli.launches),
        ),
        Command::Emulate(_) if cli.launches != Launches::Serial => Err(no_launches(cli.launches)),
        Command::Emulate(a) => {
            let threads = cli.threads.map(usize::from);
            task::emulate(&host, &a.job(threads, cli.precision, cli.kernels))
        }
    }
}

fn host(cli: &Cli) -> Result<Host> {
    let threads = cli.threads.map(usize::from);
    // Decoding runs on rayon's global pool; the device has its own of the same size. Made here, where that there is no room
    // for it can be said: its first use would panic. 0 is as many as there are cores.
    rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0)).build_global().map_err(|e| {
        Error::new(Kind::Device, "cannot start the threads").fact("reason", e).help(
            "close other programs, raise the limit of processes (ulimit -u), or take fewer with --threads",
        )
    })?;
    let idle = is_idle(&cli.command);
    let written = written(&cli.command);
    let (name, precision, kernels, launches) = match &cli.command {
        _ if idle => (DeviceName::Cpu, Precision::F32, Kernels::Auto, Launches::Serial),
        _ => (cli.device, cli.precision.or(written).unwrap_or_default(), cli.kernels, cli.launches),
    };
    let options = DeviceOptions { precision, kernels, launches, threads, sync: cli.sync };
    let Opened { device, reason, tensor_cores } = name.open(options)?;
    let advice = tensor_cores
        .filter(|_| cli.precision.is_none() && begins(&cli.command))
        .map(|faster| format!("its tensor cores are idle: --precision {faster} is several times faster"));
    Ok(Host { device, reason, advice, json: cli.json, quiet: cli.quiet })
}

/// The precision of a job that was written down. A file that cannot be read is left to those who need it.
fn written(command: &Command) -> Option<Precision> {
    match command {
        Command::Resume(a) => task::precision_of(&a.run),
        Command::Finetune(FinetuneArgs { config: Some(file), .. }) => task::precision_of(file),
        _ => None,
    }
}

/// Whether a job begins here that takes its time, and whose precision can still be chosen.
fn begins(command: &Command) -> bool {
    match command {
        Command::Finetune(a) => a.config.is_none() && !a.job.resume,
        Command::Notebook(a) => a.output.as_ref().is_none_or(|output| !output.exists()),
        Command::Extract(a) => !a.output.exists(),
        Command::Demo(_) => true,
        _ => false,
    }
}

fn images(a: ImageArgs) -> Result<task::ImageOptions> {
    Ok(task::ImageOptions {
        preprocess: a.preprocess.map_or_else(|| task::scaling(a.weights.as_deref()), Ok)?,
        resize: a.resize,
        weights: a.weights,
        reading: reading(a.reading),
    })
}

fn reading(a: ReadingArgs) -> task::Reading {
    let chosen = a.cache.is_some() || env("VGG_FT_CACHE").is_some();
    let cache = if a.no_cache { None } else { a.cache.or_else(default_cache) };
    task::Reading { strict: a.strict, cache, chosen }
}

fn env(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// `$VGG_FT_CACHE`, `$XDG_CACHE_HOME/vgg-ft` or `~/.cache/vgg-ft`; without a home, or with one that is no whole path,
/// decoded images stay in memory.
fn default_cache() -> Option<PathBuf> {
    let folder = |name: &str| env(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
    let caches = || folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
    env("VGG_FT_CACHE").map(PathBuf::from).or_else(|| Some(caches()?.join("vgg-ft")))
}

/// A validation split as it was typed: 0 is none.
fn held_out(share: Option<f32>) -> Option<f32> {
    share.filter(|share| *share != 0.0)
}

fn begin(force: bool, resume: bool) -> task::Begin {
    match (force, resume) {
        (_, true) => task::Begin::Resume,
        (true, false) => task::Begin::Over,
        (false, false) => task::Begin::New,
    }
}
