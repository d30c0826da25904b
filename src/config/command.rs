//! A command, with the options that it has alone.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli;
use crate::fault::Error;
use crate::pass::Purpose;
use crate::report::differences::Manner;
use crate::tree::difference::{Comparing, Level};
use crate::tree::itemize::Trigger;
use crate::tree::sample::Sample;

/// A command, with the options that it has alone.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// `pmirror sync`; `is_final`: the source is frozen.
    Sync {
        /// `--final`.
        is_final: bool,
    },
    /// `pmirror cmp`.
    Cmp(Cmp),
    /// `pmirror rm --target-only`.
    Rm(Rm),
    /// `pmirror rm --tree`: SRC and DST are the tree.
    RmTree,
    /// `pmirror mtimes`.
    Mtimes,
    /// `pmirror preflight`.
    Preflight(Preflight),
    /// `pmirror purge-trash`: SRC and DST are the DST.
    PurgeTrash {
        /// Of runs that renamed so long ago; `None`: of all.
        older_than: Option<Duration>,
    },
    /// `pmirror run --tasks`: SRC and DST stand in the tasks.
    Tasks(Tasks),
}

/// The options that `pmirror preflight` has alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preflight {
    /// SRC is walked.
    pub walk: bool,
    /// So long the speed is measured; 0: it is not.
    pub measures: Duration,
}

/// The options that `pmirror run` has alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tasks {
    /// The file that lists them.
    pub file: OsString,
    /// Its fields end with NUL bytes.
    pub null: bool,
    /// Tasks under way at one time, if the operator said.
    pub at_once: Option<u32>,
    /// Files for the result rows.
    pub reports: Vec<PathBuf>,
    /// `--final`.
    pub is_final: bool,
}

/// The options that `pmirror rm --target-only` has alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rm {
    /// Plan and remove.
    Whole,
    /// `--plan`: write the plan to this file.
    Plan(PathBuf),
    /// `--apply`: remove what the plan in this file has.
    Apply(PathBuf),
}

/// The options that `pmirror cmp` has alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Cmp {
    /// What is compared.
    pub comparing: Comparing,
    /// How differences are printed.
    pub manner: Manner,
    /// Differences that are listed, at most.
    pub differences_max: u64,
}

impl Cmp {
    pub(super) fn of(compared: &cli::cmp::Compared, printed: &cli::cmp::Printed) -> Result<Self, Error> {
        let level = match compared.level {
            cli::cmp::Level::Names => Level::Names,
            cli::cmp::Level::Quick => Level::Quick,
            cli::cmp::Level::Meta => Level::Meta,
            cli::cmp::Level::Hash => Level::Hash,
        };
        if compared.sample.is_some() && level != Level::Hash {
            return Err(Error::Usage("--sample chooses files whose contents are read: add --level hash".to_owned()));
        }
        let manner = match (printed.itemize_changes, printed.jsonl, printed.print0) {
            (true, ..) => Manner::Itemized,
            (_, true, _) => Manner::Jsonl,
            (.., true) => Manner::Paths,
            _ => Manner::Text,
        };
        let sample = compared.sample.map(|percent| Sample::new(percent, compared.seed));
        let differences_max = printed.max_differences.unwrap_or(u64::MAX);
        Ok(Self { comparing: Comparing { level, sample }, manner, differences_max })
    }

    /// Which difference moves a file, for rsync's letters.
    pub fn trigger(&self) -> Trigger {
        if self.comparing.level == Level::Hash { Trigger::Content } else { Trigger::SizeOrTime }
    }
}

impl Command {
    /// Its name.
    pub fn word(&self) -> &'static str {
        match self {
            Command::Sync { .. } => "sync",
            Command::Cmp(_) => "cmp",
            Command::Rm(_) | Command::RmTree => "rm",
            Command::Mtimes => "mtimes",
            Command::Preflight(_) => "preflight",
            Command::PurgeTrash { .. } => "purge-trash",
            Command::Tasks(_) => "run",
        }
    }

    /// Whether it may make DST if it is missing.
    pub fn makes_target(&self) -> bool {
        matches!(self, Command::Sync { .. } | Command::Preflight(_))
    }

    /// Whether the source is said to be frozen.
    pub fn is_final(&self) -> bool {
        matches!(self, Command::Sync { is_final: true })
    }

    /// What its walk is for.
    pub fn purpose(&self) -> Purpose {
        match self {
            Command::Sync { .. } | Command::Tasks(_) => Purpose::Mirror,
            Command::Cmp(cmp) => Purpose::Compare(cmp.comparing.clone()),
            Command::Rm(_) | Command::RmTree | Command::PurgeTrash { .. } => Purpose::Remove,
            Command::Mtimes => Purpose::Directories,
            Command::Preflight(_) => Purpose::Census,
        }
    }

    /// The options of `cmp`, if it is that.
    pub fn compare(&self) -> Option<&Cmp> {
        match self {
            Command::Cmp(cmp) => Some(cmp),
            _ => None,
        }
    }
}
