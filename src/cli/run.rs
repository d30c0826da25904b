//! `pmirror run`: many pairs of trees in one job.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::{AlwaysOn, Content, Delete, Extras, Keep, RunOptions, Show, Sync, choose, compare, limits};
use crate::report::rows::Form;

/// `pmirror run`.
#[derive(Debug, Args)]
pub struct Run {
    /// The tasks.
    #[command(flatten, next_help_heading = "Which tasks")]
    pub tasks: Tasks,

    /// What each of them is to do.
    #[command(flatten)]
    pub sync: SyncOptions,
}

/// Which tasks.
#[derive(Debug, Args)]
pub struct Tasks {
    /// Each line of FILE is a task: SRC DST, or SRC DST LIST, where LIST is a file of paths relative to SRC, one a
    /// line, and nothing else of SRC is mirrored. Quotes and # comments as in a shell; `-` is the standard input of
    /// the first rank.
    #[arg(long, value_name = "FILE", required = true, env = "PMIRROR_TASKS")]
    pub tasks: OsString,

    /// NUL bytes end the fields of FILE, three for each task: SRC, DST, LIST; an empty LIST is none. No quotes, no
    /// comments.
    #[arg(long, env = "PMIRROR_NULL")]
    pub null: bool,

    /// Tasks that are under way at one time, each by all ranks; they share the threads and the memory of a rank
    /// [default: 4, or as many as the memory allows].
    #[arg(long = "tasks-at-once", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64),
          env = "PMIRROR_TASKS_AT_ONCE")]
    pub at_once: Option<u32>,

    /// Write the result rows to FILE too, as its ending says: .csv, .md, .html or .json. May be given several times.
    #[arg(long, value_name = "FILE", value_parser = report, env = "PMIRROR_REPORT")]
    pub report: Vec<PathBuf>,
}

/// Options of `pmirror sync`.
#[derive(Debug, Args)]
pub struct SyncOptions {
    /// Options for what is kept and compared.
    #[command(flatten, next_help_heading = "What is kept")]
    pub keep: Keep,

    /// Options for how files are compared.
    #[command(flatten, next_help_heading = "How files are compared")]
    pub compare: compare::Compare,

    /// Options for how the content of files is copied.
    #[command(flatten, next_help_heading = "How content is copied")]
    pub content: Content,

    /// Options for what is chosen.
    #[command(flatten, next_help_heading = "What is chosen")]
    pub choose: choose::Choose,

    /// Options for what is removed.
    #[command(flatten, next_help_heading = "What is removed")]
    pub delete: Delete,

    /// Options for what is shown.
    #[command(flatten, next_help_heading = "What is shown")]
    pub show: Show,

    /// Options for what only some file systems have.
    #[command(flatten, next_help_heading = "Kept where both sides have it")]
    pub extras: Extras,

    /// Options for how the run goes.
    #[command(flatten, next_help_heading = "How it runs")]
    pub run: RunOptions,

    /// Options for what it may use.
    #[command(flatten, next_help_heading = "Holding back")]
    pub limits: limits::Limits,

    /// Options of rsync that change nothing here.
    #[command(flatten, next_help_heading = "Accepted for the sake of rsync's users: always on")]
    pub always_on: AlwaysOn,
}

impl SyncOptions {
    /// A sync with these options.
    pub fn of(self, source: OsString, target: OsString) -> Sync {
        let Self { keep, compare, content, choose, delete, show, extras, run, limits, always_on } = self;
        Sync { source, target, keep, compare, content, choose, delete, show, extras, run, limits, always_on }
    }
}

fn report(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match Form::of(&path) {
        Some(_) => Ok(path),
        None => Err("the ending says how it is written: .csv, .md, .html or .json".to_owned()),
    }
}
