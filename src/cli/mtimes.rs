//! The options of `pmirror mtimes`.

use std::ffi::OsString;

use clap::Args;

use super::choose::Patterns;
use super::limits::Limits;
use super::{AlwaysOn, Keep, RunOptions, Show};

/// `pmirror mtimes`.
#[derive(Debug, Args)]
pub struct Mtimes {
    /// The directory whose directories count.
    #[arg(value_name = "SRC")]
    pub source: OsString,

    /// The directory whose directories are set.
    #[arg(value_name = "DST")]
    pub target: OsString,

    /// Options for what is kept and compared.
    #[command(flatten, next_help_heading = "What is kept")]
    pub keep: Keep,

    /// Patterns.
    #[command(flatten, next_help_heading = "What is chosen")]
    pub patterns: Patterns,

    /// Options for what is shown.
    #[command(flatten, next_help_heading = "What is shown")]
    pub show: Show,

    /// Options for how the run goes.
    #[command(flatten, next_help_heading = "How it runs")]
    pub run: RunOptions,

    /// Options for what it may use.
    #[command(flatten, next_help_heading = "Holding back")]
    pub limits: Limits,

    /// Options of rsync that change nothing here.
    #[command(flatten, next_help_heading = "Accepted for the sake of rsync's users: always on")]
    pub always_on: AlwaysOn,
}
