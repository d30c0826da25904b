//! pmirror: parse, run, print, exit code.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use pmirror::cli::again::{Resume, Retry};
use pmirror::cli::trash::Undelete;
use pmirror::cli::{Cli, Command, Generate, hints};
use pmirror::comm::{Alone, Comm};
use pmirror::config::Config;
use pmirror::engine::StopSign;
use pmirror::fault::Error;
use pmirror::records;
use pmirror::report::{print, say, tell, unless_gone};
use pmirror::run::{self, Circumstances, Conclusion};
use pmirror::settings::{self, FileSystems, Refusal, Settings, show};
use pmirror::signals;
use pmirror::slurm::{self, Environment, Launch, Library};
use pmirror::started::Started;
use pmirror::tree::path::is_harmful;

fn main() -> ExitCode {
    let environment: Environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let (cli, matches, settings) = match parse() {
        Ok(parsed) => parsed,
        Err(refusal) => return refused(&refusal, slurm::speaks(&environment)),
    };
    let file_systems = &settings.file_systems;
    let started = || Started::of_process(&matches, &environment);
    match cli.command {
        Command::Generate { what } => generate(what),
        // Nothing of these runs: among several tasks one of them tells.
        Command::Explain(_) | Command::Status(_) if !slurm::speaks(&environment) => ExitCode::SUCCESS,
        Command::Explain(asked) => tell_result(records::explain(&asked, &environment)),
        Command::Status(asked) => tell_result(records::status(&asked, &environment)),
        Command::Config(asked) => {
            show::print(&asked, &settings).map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
        }
        Command::Retry(retry) => start(Asked::Retry(retry, started()), &environment, file_systems),
        Command::Undelete(undelete) => start(Asked::Undelete(undelete), &environment, file_systems),
        Command::Resume(resume) => start(Asked::Resume(resume, started()), &environment, file_systems),
        command => match Config::of(command, started(), &environment) {
            Ok(config) => start(Asked::Run(config), &environment, file_systems),
            Err(error) if slurm::speaks(&environment) => fail(&error),
            Err(error) => ExitCode::from(error.exit_code()),
        },
    }
}

/// What this process is to do.
#[allow(clippy::large_enum_variant)] // Made once a run.
enum Asked {
    /// A run.
    Run(Config),
    /// What failed in another run; how we were started ourselves.
    Retry(Retry, Started),
    /// What a stopped run has left; likewise.
    Resume(Resume, Started),
    /// What a run has in the trash.
    Undelete(Undelete),
}

/// What a run finds: the environment, and the file systems that the operator named.
type Around<'a> = (&'a Environment, &'a FileSystems);

/// The command line, with what the environment and the operator's file add to it.
fn parse() -> Result<(Cli, clap::ArgMatches, Settings), Refusal> {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let given = Cli::command().try_get_matches().map_err(|error| hints::hinted(error, &words))?;
    let named = || given.get_one::<OsString>("config").cloned();
    let settings = match Cli::from_arg_matches(&given)?.command {
        Command::Generate { .. } => Settings::default(),
        Command::Config(asked) if asked.example => Settings::default(),
        Command::Config(asked) => settings::find::find(show::file_in(&asked).or_else(named).as_deref())?,
        _ => settings::find::find(named().as_deref())?,
    };
    let matches = settings.layered(given)?;
    let cli = Cli::from_arg_matches(&matches)?;
    Ok((cli, matches, settings))
}

/// Tells why there is nothing to run.
fn refused(refusal: &Refusal, speaks: bool) -> ExitCode {
    match refusal {
        Refusal::Clap(error) if speaks => answer(error),
        Refusal::Clap(error) => ExitCode::from(if error.use_stderr() { 1 } else { 0 }),
        Refusal::Ours(error) if speaks => fail(error),
        Refusal::Ours(error) => ExitCode::from(error.exit_code()),
    }
}

/// What clap says of the words that it was given, which it quotes as they are: colours only where it has none to quote.
fn answer(error: &clap::Error) -> ExitCode {
    let words = std::env::args_os().chain(std::env::vars_os().map(|(_, value)| value));
    let is_plain = words.into_iter().all(|word| word.to_str().is_some_and(|word| !word.contains(is_harmful)));
    let printed = match (is_plain, error.use_stderr()) {
        (true, _) => error.print(),
        (false, true) => {
            tell(&error.render().to_string());
            Ok(())
        }
        (false, false) => print(&error.render().to_string()),
    };
    if error.use_stderr() { ExitCode::from(1) } else { told(printed) }
}

/// The end of a program that was only to print something.
fn told(printed: std::io::Result<()>) -> ExitCode {
    match unless_gone(printed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&Error::Fatal(format!(
            "what was asked for can not be written to stdout: {error}; is there room where it goes?"
        ))),
    }
}

/// Prints what was found.
fn tell_result(found: Result<String, Error>) -> ExitCode {
    match found {
        Ok(text) => told(print(&text)),
        Err(error) => fail(&error),
    }
}

fn fail(error: &Error) -> ExitCode {
    say(&error.to_string());
    ExitCode::from(error.exit_code())
}

/// Starts the run as the launcher wants it.
fn start(asked: Asked, environment: &Environment, file_systems: &FileSystems) -> ExitCode {
    abort_on_bugs();
    set_limits();
    let library = mpi_library();
    match slurm::launch(environment, Library::of(&library)) {
        Launch::Refused { message, speaks } => {
            if speaks {
                say(&message);
            }
            ExitCode::from(1)
        }
        Launch::Alone(warning) => {
            let stop_sign = match signals::watch() {
                Ok(stop_sign) => stop_sign,
                Err(error) => return fail(&error),
            };
            if let Some(warning) = warning {
                say(&warning);
            }
            work(asked, (environment, file_systems), &mut Alone::default(), stop_sign)
        }
        Launch::Mpi { tasks } => with_mpi(asked, (environment, file_systems), tasks, &library),
    }
}

#[cfg(feature = "mpi")]
fn mpi_library() -> String {
    pmirror::comm::mpi::library()
}

#[cfg(not(feature = "mpi"))]
fn mpi_library() -> String {
    String::new()
}

#[cfg(feature = "mpi")]
fn with_mpi(asked: Asked, around: Around<'_>, tasks: Option<u32>, library: &str) -> ExitCode {
    // Before MPI starts its threads.
    let stop_sign = match signals::watch() {
        Ok(stop_sign) => stop_sign,
        Err(error) => return fail(&error),
    };
    let Some(mut mpi) = pmirror::comm::mpi::Mpi::start() else {
        return fail(&Error::Usage(format!(
            "MPI can not be started with threads: {library}; build pmirror with an MPI library that has MPI_THREAD_FUNNELED"
        )));
    };
    if let Some(message) = slurm::refuse_lonely_world(mpi.ranks(), tasks, library) {
        return fail(&Error::Usage(message));
    }
    work(asked, around, &mut mpi, stop_sign)
}

#[cfg(not(feature = "mpi"))]
fn with_mpi(_: Asked, _: Around<'_>, _: Option<u32>, _: &str) -> ExitCode {
    fail(&Error::Usage(
        "this pmirror was built without MPI: build it with the feature \"mpi\", or start one rank without a launcher"
            .to_owned(),
    ))
}

/// Runs, and tells how it went.
fn work(asked: Asked, (environment, file_systems): Around<'_>, comm: &mut dyn Comm, stop_sign: StopSign) -> ExitCode {
    let is_root = comm.rank().0 == 0;
    let config = match asked {
        Asked::Run(config) => Ok(Some(config)),
        Asked::Retry(retry, started) => run::retry(&retry, &started, environment, comm),
        Asked::Resume(resume, started) => run::resume(&resume, &started, environment, comm).map(Some),
        Asked::Undelete(undelete) => {
            return ExitCode::from(run::undelete(&undelete, (environment, file_systems), comm, &stop_sign));
        }
    };
    let config = match config {
        Ok(Some(config)) => Config { file_systems: file_systems.clone(), ..config },
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) if is_root => return fail(&error),
        Err(error) => return ExitCode::from(error.exit_code()),
    };
    let config = &config;
    let circumstances = Circumstances::new(slurm::job(environment), stop_sign);
    let mut conclusion = run::run(config, comm, circumstances);
    if let Err(error) = tell_of(&conclusion, config, is_root) {
        conclusion.is_not_told("the summary", &error);
    }
    ExitCode::from(conclusion.exit_code)
}

/// Tells how a run went.
fn tell_of(conclusion: &Conclusion, config: &Config, is_root: bool) -> std::io::Result<()> {
    let Conclusion { exit_code, summary, error } = conclusion;
    match (summary, error) {
        (Some(summary), _) if config.json => return print(&summary.to_json()),
        // The result is the list of differences, or of changes.
        (Some(summary), _) if !config.quiet && (config.itemizes || config.command.compare().is_some()) => {
            tell(&summary.to_text());
        }
        (Some(summary), _) if !config.quiet => return print(&summary.to_text()),
        (Some(summary), None) if *exit_code != 0 => {
            say(&format!("exit {exit_code}; the record is in {}", summary.run_directory));
        }
        (_, Some(error)) if is_root => say(&error.to_string()),
        _ => {}
    }
    Ok(())
}

/// As many open files as we may have: each file of a flush group has two. And no core dumps, as they
/// would hold what users keep to themselves.
fn set_limits() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
}

/// A bug ends the whole job at once: a job that hangs is worse.
fn abort_on_bugs() {
    std::panic::set_hook(Box::new(|panic| {
        say(&format!("this is a bug, please report it: {panic}"));
        std::process::exit(70);
    }));
}

fn generate(what: Generate) -> ExitCode {
    let mut command = Cli::command();
    let mut out = Vec::new();
    match what {
        Generate::Man => {
            if manual(command, &mut out).is_err() {
                return ExitCode::from(70);
            }
        }
        Generate::Bash => complete(clap_complete::Shell::Bash, &mut command, &mut out),
        Generate::Zsh => complete(clap_complete::Shell::Zsh, &mut command, &mut out),
        Generate::Fish => complete(clap_complete::Shell::Fish, &mut command, &mut out),
        Generate::Markdown => out.extend(pmirror::cli::markdown::page(command).into_bytes()),
    }
    let mut stdout = std::io::stdout().lock();
    told(stdout.write_all(&out).and_then(|()| stdout.flush()))
}

/// One page: the program, then each command with its options.
fn manual(mut command: clap::Command, out: &mut Vec<u8>) -> std::io::Result<()> {
    command.build();
    let page = clap_mangen::Man::new(command.clone());
    page.render_title(out)?;
    page.render_name_section(out)?;
    page.render_synopsis_section(out)?;
    page.render_description_section(out)?;
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let section = clap_mangen::Man::new(sub.clone());
        section.render_synopsis_section(out)?;
        section.render_description_section(out)?;
        section.render_options_section(out)?;
    }
    page.render_extra_section(out)?;
    page.render_version_section(out)
}

fn complete(shell: clap_complete::Shell, command: &mut clap::Command, out: &mut Vec<u8>) {
    clap_complete::generate(shell, command, "pmirror", out);
}
