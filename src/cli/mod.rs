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
mod idle;
mod notebook;
mod look;
mod predict;
mod resume;
mod there;
mod train;
mod values;
mod weights;

#[cfg(test)]
mod tests;

use crate::device::{DeviceName, DeviceOptions, Kernels, Launches, Opened, Precision, no_launches};
use crate::error::{Error, Kind, Result, visible};
use crate::interrupt;
use crate::model::{Head, Pooling};
use crate::task::{self, Host, tell};
use args::{
    Cli, Command, FinetuneArgs, HEAD_RATE, ImageArgs, JobArgs, RATE, ReadingArgs, SMALL_HEAD_RATE,
    SMALLEST_HEAD_RATE, UNFREEZE_FROM,
};
use clap::{Command as Clap, CommandFactory, FromArgMatches, ValueHint};
use idle::{idle, is_idle};
use std::any::TypeId;
use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use train::HeadArgs;

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
        Command::Summary(a) => task::summary(
            &host,
            &task::Summary {
                run: a.run,
                variant: a.network,
                size: a.size,
                top: match (a.units, a.pooling, a.classes, a.dropout) {
                    _ if a.include_top => task::Top::ImageNet,
                    (None, None, None, None) => task::Top::None,
                    (units, pooling, classes, dropout) => task::Top::Head(Head {
                        pooling: pooling.unwrap_or_default(),
                        units: units.unwrap_or(256),
                        dropout: dropout.unwrap_or(0.0),
                        classes: classes.unwrap_or(2),
                    }),
                },
                freeze: a.freeze,
                unfreeze_from: a.unfreeze_from,
            },
        ),
        Command::Extract(a) => task::extract(
            &host,
            &task::Extract {
                data: a.data,
                output: a.output,
                force: a.force,
                variant: a.network.network,
                size: a.network.size,
                images: images(a.images)?,
                layer: a.layer,
                validation_split: held_out(a.validation_split),
                seed: a.seed,
                batch: a.batch,
            },
        ),
        Command::Fit(a) => task::fit(
            &host,
            &task::Fit {
                features: a.features,
                output: a.output,
                begin: begin(a.force, a.resume),
                stage: a.train.stage(
                    "head",
                    None,
                    a.epochs,
                    a.rate.unwrap_or(head_rate(a.head.pooling, a.head.units)),
                )?,
                head: head(&a.head, None),
                weights: a.weights,
            },
        ),
        Command::Finetune(a) => {
            if a.config.is_none() && a.job.augment.given() && a.job.augment.parameters()?.is_none() {
                host.note("these augmentation options change no image");
            }
            task::finetune(&host, &finetune_or_config(a)?)
        }
        Command::Notebook(a) => a.run(&host),
        Command::Resume(a) => task::resume(&host, &a.run, a.data, a.rate_factor, reading(a.reading)),
        Command::Evaluate(a) => task::evaluate(
            &host,
            &task::Evaluate {
                run: a.run,
                data: a.data,
                split: a.split,
                batch: a.batch,
                reading: reading(a.reading),
                look: a.look.look()?,
                output: a.output.map(|path| task::Output { path, force: a.force }),
                format: a.format.map(Into::into),
            },
        ),
        Command::Predict(a) => task::predict(&host, &a.job()?),
        Command::Arrange(a) => task::arrange(&host, &a.job()),
        Command::Check(a) => task::check(&host, &a.job()),
        Command::Augment(a) => task::preview(&host, &a.job()?),
        Command::Report(a) => task::report(&host, &a.job()),
        Command::Compare(a) => task::compare(&host, &a.job()),
        Command::Export(a) => task::export(&host, &a.job()?),
        Command::Demo(a) => {
            let job = finetune(PathBuf::new(), PathBuf::new(), None, a.job, None)?;
            task::demo(&host, &task::Demo { output: a.output, job })
        }
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

/// What is not given is as `from` has it, a run that the job begins with.
fn head(a: &HeadArgs, from: Option<&task::Origin>) -> task::HeadOptions {
    let dropout = a.dropout.unwrap_or_else(|| from.map_or(0.5, task::Origin::dropout));
    let seed = a.seed.unwrap_or_else(|| from.map_or(1, task::Origin::seed));
    task::HeadOptions { pooling: a.pooling, units: a.units, dropout, batch: a.batch, seed }
}

fn finetune_or_config(a: FinetuneArgs) -> Result<task::Finetune> {
    let Some(file) = a.config else {
        let (data, from) = (a.data.unwrap_or_default(), a.from);
        let from = from.as_deref().map(task::Origin::open).transpose()?;
        let share = a.validation_split.or_else(|| from.as_ref()?.validation_split(&data));
        return finetune(data, a.output, held_out(share), a.job, from);
    };
    let begin = begin(a.job.force, a.job.resume);
    let others = a.data.is_some() || a.validation_split.is_some() || a.job.head.seed.is_some();
    let mut job = task::job_of(&file, a.data, a.output, begin, reading(a.job.images.reading))?;
    if others {
        job.named_digests.clear();
    }
    if a.validation_split.is_some() {
        job.validation_split = held_out(a.validation_split);
    }
    if let Some(seed) = a.job.head.seed {
        job.head.seed = seed;
    }
    if let Some(weights) = a.job.images.weights {
        job.images.weights = Some(weights);
    }
    Ok(job)
}

/// A validation split as it was typed: 0 is none.
fn held_out(share: Option<f32>) -> Option<f32> {
    share.filter(|share| *share != 0.0)
}

fn finetune(
    data: PathBuf,
    output: PathBuf,
    validation_split: Option<f32>,
    a: JobArgs,
    from: Option<task::Origin>,
) -> Result<task::Finetune> {
    let mut a = a;
    if let Some(run) = &from {
        a.images.weights = Some(run.weights());
    }
    let augment = a.augment.parameters()?;
    let mut stages = Vec::new();
    let head_epochs = a.head_epochs(from.is_some());
    if head_epochs > 0 {
        let (pooling, units) =
            from.as_ref().map_or((a.head.pooling, a.head.units), |run| (run.pooling(), run.units()));
        let rate = a.head_rate.unwrap_or(head_rate(pooling, units));
        stages.push(a.train.stage("head", None, head_epochs, rate)?);
    }
    if a.epochs > 0 {
        let unfreeze_from = a.unfreeze_from.as_deref().unwrap_or(UNFREEZE_FROM);
        stages.push(a.train.stage("finetune", Some(unfreeze_from), a.epochs, a.rate.unwrap_or(RATE))?);
    }
    stages.iter_mut().for_each(|stage| stage.augment.clone_from(&augment));
    let job = task::Finetune {
        data,
        output,
        begin: begin(a.force, a.resume),
        validation_split,
        variant: a.network.network,
        size: a.network.size,
        head: head(&a.head, from.as_ref()),
        images: images(a.images)?,
        stages,
        keep_features: a.keep_features,
        cache_limit: (a.cache_limit * 1e9) as u64,
        test_images: None,
        named_weights: None,
        named_digests: Vec::new(),
        trained_classifier: false,
        named_classes: Vec::new(),
        earlier: None,
    };
    let job = match from {
        Some(run) => run.network(job)?,
        None => job,
    };
    // Also where that stage is left out: a name that is wrong is wrong.
    a.unfreeze_from.filter(|_| a.epochs == 0).map_or(Ok(()), |layer| job.can_unfreeze(&layer))?;
    Ok(job)
}

/// At which a classifier learns on the frozen base, if nobody says.
fn head_rate(pooling: Pooling, units: usize) -> f32 {
    match (pooling, units) {
        (Pooling::Average, 0) => SMALLEST_HEAD_RATE,
        (Pooling::Average, _) | (Pooling::Flatten, 0) => SMALL_HEAD_RATE,
        (Pooling::Flatten, _) => HEAD_RATE,
    }
}

fn begin(force: bool, resume: bool) -> task::Begin {
    match (force, resume) {
        (_, true) => task::Begin::Resume,
        (true, false) => task::Begin::Over,
        (false, false) => task::Begin::New,
    }
}
