//! A file system that is slow or broken on demand, over a folder: for tests and benchmarks.
//!
//! `faultfs BACKING MOUNTPOINT` mounts, says `{"mounted":true}` and stays until its standard input
//! ends. Meanwhile each line there is a request in JSON, answered by a line of JSON; `Request` has them.
//! For example: `{"rule":{"operations":["all"],"latency_us":1000}}`.

#![allow(missing_docs)]
#![allow(clippy::disallowed_methods)]

mod attributes;
mod backing;
mod files;
mod filesystem;
mod gate;
mod handles;
mod inodes;
mod layout;
mod rules;
mod synthetic;

use std::ffi::OsString;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, ValueEnum};
use fuser::{Config, Filesystem, MountOption, SessionACL};
use serde::Deserialize;

use crate::attributes::Limits;
use crate::backing::{Backing, Ways};
use crate::filesystem::PassThrough;
use crate::gate::Gate;
use crate::inodes::Inodes;
use crate::rules::Rule;
use crate::synthetic::Shape;

/// Mount a folder as a file system that is slow or broken on demand.
#[derive(Debug, Parser)]
#[command(name = "faultfs")]
#[allow(clippy::struct_excessive_bools)] // Each is a flag of the command line.
struct Options {
    /// The folder whose content is shown.
    backing: OsString,

    /// Where.
    mountpoint: PathBuf,

    /// What times can be held.
    #[arg(long, value_enum, default_value_t = Times::Nanoseconds)]
    times: Times,

    /// No extended attributes and no ACLs.
    #[arg(long)]
    no_xattrs: bool,

    /// Extended attributes are accepted without an error, and forgotten.
    #[arg(long)]
    forget_xattrs: bool,

    /// No hard links.
    #[arg(long)]
    no_links: bool,

    /// Names that differ only in the case of letters are one.
    #[arg(long)]
    fold_case: bool,

    /// Layouts, whole seconds, short device numbers and renames as on Lustre.
    #[arg(long)]
    lustre: bool,

    /// In the root also so many files in each of so many directories, of so many bytes, that take no
    /// memory and can not be changed.
    #[arg(long, value_name = "FILES[:DIRECTORIES[:BYTES]]")]
    synthetic: Option<Shape>,

    /// Operations that are worked on at the same time; those that hang count.
    #[arg(long, default_value_t = 128)]
    threads: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Times {
    Nanoseconds,
    Seconds,
    TwoSeconds,
}

/// A line of standard input.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Request {
    /// Puts a rule in force; the answer is its number.
    Rule(Rule),
    /// Lifts a rule.
    Lift(u64),
    /// Lifts all rules.
    Clear,
    /// Begins a log of calls.
    StartLog,
    /// Ends it; the answer is the calls in order.
    TakeLog,
    /// The numbers of calls since the last time.
    TakeCalls,
}

fn answer(gate: &Gate, line: &str) -> serde_json::Result<String> {
    let request = match serde_json::from_str(line) {
        Ok(request) => request,
        Err(error) => return serde_json::to_string(&serde_json::json!({ "error": error.to_string() })),
    };
    match request {
        Request::Rule(rule) => match gate.add(rule) {
            Ok(id) => serde_json::to_string(&id),
            Err(error) => serde_json::to_string(&serde_json::json!({ "error": error })),
        },
        Request::Lift(id) => {
            gate.lift(Some(id));
            Ok("true".to_owned())
        }
        Request::Clear => {
            gate.lift(None);
            Ok("true".to_owned())
        }
        Request::StartLog => {
            gate.start_log();
            Ok("true".to_owned())
        }
        Request::TakeLog => serde_json::to_string(&gate.take_log()),
        Request::TakeCalls => serde_json::to_string(&gate.take_calls()),
    }
}

/// Answers requests until standard input ends.
fn serve(gate: &Gate) -> std::io::Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, r#"{{"mounted":true}}"#)?;
    output.flush()?;
    for line in std::io::stdin().lock().lines() {
        writeln!(output, "{}", answer(gate, &line?)?)?;
        output.flush()?;
    }
    Ok(())
}

fn mount<F: Filesystem>(options: &Options, file_system: F, gate: &Gate) -> std::io::Result<()> {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("faultfs".to_owned()),
        MountOption::DefaultPermissions,
        MountOption::Dev,
        MountOption::Suid,
    ];
    config.acl = SessionACL::All;
    config.n_threads = Some(options.threads);
    let session = fuser::spawn_mount(file_system, &options.mountpoint, &config)?;
    let served = serve(gate);
    // What hangs by a rule must not keep the mount.
    gate.lift(None);
    drop(session);
    served
}

fn run(options: &Options) -> std::io::Result<()> {
    // Modes are what the kernel says.
    rustix::process::umask(rustix::fs::Mode::empty());
    let gate = Arc::new(Gate::default());
    let time_seconds = match options.times {
        _ if options.lustre => 1,
        Times::Nanoseconds => 0,
        Times::Seconds => 1,
        Times::TwoSeconds => 2,
    };
    let ways = Ways {
        limits: Limits { time_seconds, short_devices: options.lustre },
        no_xattrs: options.no_xattrs,
        forget_xattrs: options.forget_xattrs,
        no_links: options.no_links,
        fold_case: options.fold_case,
        lustre: options.lustre,
        synthetic: options.synthetic,
    };
    let backing = Backing { inodes: Inodes::new(&options.backing)?, ways };
    let file_system = PassThrough { gate: Arc::clone(&gate), backing, files: files::Files::default() };
    mount(options, file_system, &gate)
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("faultfs: {error}");
            ExitCode::FAILURE
        }
    }
}
