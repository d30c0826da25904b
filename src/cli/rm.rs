//! The options of `pmirror rm`.

use std::ffi::OsString;

use clap::Args;

use super::choose::Patterns;
use super::delete::Guards;
use super::limits::Limits;
use super::{RunOptions, Show};
use crate::fault::Error;

/// `pmirror rm`.
#[derive(Debug, Args)]
pub struct Rm {
    /// With --target-only: SRC and DST.
    #[arg(value_name = "SRC DST", num_args = 0..)]
    pub operands: Vec<OsString>,

    /// Remove from DST what SRC does not have.
    #[arg(long, conflicts_with = "tree")]
    pub target_only: bool,

    /// Remove exactly this directory with all that it holds.
    #[arg(long, value_name = "PATH")]
    pub tree: Option<OsString>,

    /// Options for the plan.
    #[command(flatten, next_help_heading = "The plan")]
    pub plan: Plan,

    /// Options that hold deletions back.
    #[command(flatten, next_help_heading = "What holds deletions back")]
    pub guards: Guards,

    /// Patterns.
    #[command(flatten, next_help_heading = "What is chosen: names that are left out stay on DST")]
    pub patterns: Patterns,

    /// Stay in the file system of SRC: skip mount points in it.
    #[arg(short = 'x', long = "one-file-system", env = "PMIRROR_ONE_FILE_SYSTEM")]
    pub one_file_system: bool,

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

/// A plan in a file.
#[derive(Debug, Args)]
pub struct Plan {
    /// Write what would be removed to FILE, as JSON lines with what each entry is, and its paths to
    /// FILE.nul, a NUL after each; remove nothing.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["apply", "tree"])]
    pub plan: Option<OsString>,

    /// Remove just what the plan in FILE has; what changed since is kept.
    #[arg(long, value_name = "FILE", conflicts_with = "tree")]
    pub apply: Option<OsString>,
}

/// What is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// `--target-only SRC DST`.
    TargetOnly(OsString, OsString),
    /// `--tree PATH`.
    Tree(OsString),
}

const FORMS: &str = "rm wants to know what to remove:\n  \
                     pmirror rm --target-only SRC DST    what DST has and SRC does not\n  \
                     pmirror rm --tree PATH              exactly this directory with all that it holds";

impl Rm {
    /// Which of both forms it is.
    ///
    /// # Errors
    /// Neither, or with other operands: the error names both forms.
    pub fn form(&self) -> Result<Form, Error> {
        let usage = || Error::Usage(FORMS.to_owned());
        match (&self.tree, self.target_only, self.operands.as_slice()) {
            (Some(tree), false, []) => Ok(Form::Tree(tree.clone())),
            (None, true, [source, target]) => Ok(Form::TargetOnly(source.clone(), target.clone())),
            _ => Err(usage()),
        }
    }
}
