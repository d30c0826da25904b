//! The options of the commands over a trash.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::again::RunOperand;
use super::limits::Limits;
use super::{RunOptions, Show, time};

/// `pmirror undelete`.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // Each is a flag of the command line.
pub struct Undelete {
    /// The run.
    #[command(flatten)]
    pub of: RunOperand,

    /// Only what has this path below DST, or lies below it [default: all that the run renamed].
    #[arg(value_name = "PATH")]
    pub path: Option<OsString>,

    /// The DST whose trash it is [default: that of the run, as its record in the state directory tells].
    #[arg(long, value_name = "DST")]
    pub target: Option<OsString>,

    /// Make directories that are missing above what is put back, with mode 0700.
    #[arg(long)]
    pub parents: bool,

    /// Write nothing: list what would be put back.
    #[arg(short = 'n', long, env = "PMIRROR_DRY_RUN")]
    pub dry_run: bool,

    /// Where runs keep their records [default: pmirror-runs in the directory from which the job was submitted].
    #[arg(long, value_name = "DIR", env = "PMIRROR_STATE_DIR")]
    pub state_dir: Option<PathBuf>,

    /// Print the result as JSON.
    #[arg(long, env = "PMIRROR_JSON")]
    pub json: bool,

    /// List what is put back.
    #[arg(short, long)]
    pub verbose: bool,

    /// Print what stays in the trash, and errors, only.
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// `pmirror purge-trash`.
#[derive(Debug, Args)]
pub struct PurgeTrash {
    /// The directory whose trash it is.
    #[arg(value_name = "DST")]
    pub target: OsString,

    /// The trash of runs that began to rename so long ago, such as 7d or 36h.
    #[arg(long, value_name = "AGE", value_parser = time::duration)]
    pub older_than: Option<Duration>,

    /// The trash of all runs.
    #[arg(long, conflicts_with = "older_than")]
    pub all: bool,

    /// Options for what is shown.
    #[command(flatten, next_help_heading = "What is shown")]
    pub show: Show,

    /// Options for how the run goes.
    #[command(flatten, next_help_heading = "How it runs")]
    pub run: RunOptions,

    /// Options for what it may use.
    #[command(flatten, next_help_heading = "Holding back")]
    pub limits: Limits,
}
