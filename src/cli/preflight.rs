//! The options of `pmirror preflight`.

use std::ffi::OsString;

use clap::Args;

use super::choose::Patterns;
use super::limits::Limits;
use super::{Keep, RunOptions};

/// `pmirror preflight`.
#[derive(Debug, Args)]
pub struct Preflight {
    /// The directory that is to be read.
    #[arg(value_name = "SRC")]
    pub source: OsString,

    /// The directory that is to be written. Where it is missing its parent is tried.
    #[arg(value_name = "DST")]
    pub target: OsString,

    /// What is tried.
    #[command(flatten, next_help_heading = "What is tried")]
    pub tried: Tried,

    /// Options for what is kept and compared.
    #[command(flatten, next_help_heading = "What the run is to keep")]
    pub keep: Keep,

    /// Patterns.
    #[command(flatten, next_help_heading = "What is chosen")]
    pub patterns: Patterns,

    /// Options for how the run goes.
    #[command(flatten, next_help_heading = "How it runs")]
    pub run: RunOptions,

    /// Options for what it may use.
    #[command(flatten, next_help_heading = "Holding back")]
    pub limits: Limits,
}

/// What is tried.
#[derive(Debug, Args)]
pub struct Tried {
    /// Walk SRC with all ranks, and count what it holds: what is only possible without it is certain then.
    #[arg(long, env = "PMIRROR_WALK")]
    pub walk: bool,

    /// Measure for so long how many operations and bytes a second each node gets through, all at one time. 0: measure
    /// nothing.
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=600),
          env = "PMIRROR_SECONDS")]
    pub seconds: u32,
}
