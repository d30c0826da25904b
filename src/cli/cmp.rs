//! The options of `pmirror cmp`.

use std::ffi::OsString;

use clap::{Args, ValueEnum};

use super::choose::Choose;
use super::compare::window;
use super::limits::Limits;
use super::{AlwaysOn, RunOptions};

/// `pmirror cmp`.
#[derive(Debug, Args)]
pub struct Cmp {
    /// The directory that counts.
    #[arg(value_name = "SRC")]
    pub source: OsString,

    /// The directory that is compared with it.
    #[arg(value_name = "DST")]
    pub target: OsString,

    /// Options for what is compared.
    #[command(flatten, next_help_heading = "What is compared")]
    pub compared: Compared,

    /// Options for what is printed.
    #[command(flatten, next_help_heading = "What is printed")]
    pub printed: Printed,

    /// Options for how the run goes.
    #[command(flatten, next_help_heading = "How it runs")]
    pub run: RunOptions,

    /// Options for what is chosen.
    #[command(flatten, next_help_heading = "What is chosen")]
    pub choose: Choose,

    /// Options that hold the run back.
    #[command(flatten, next_help_heading = "Holding back")]
    pub limits: Limits,

    /// Options of rsync that change nothing here.
    #[command(flatten, next_help_heading = "Accepted for the sake of rsync's users: always on")]
    pub always_on: AlwaysOn,
}

/// How closely `cmp` looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// Names and types.
    Names,
    /// Also size, times, owner, permissions, hard links, the text of symbolic links, device numbers.
    Quick,
    /// Also extended attributes and ACLs.
    Meta,
    /// Also the contents of files.
    Hash,
}

/// What is compared.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // Each is a flag of the command line.
pub struct Compared {
    /// How closely to look.
    #[arg(long, value_enum, default_value_t = Level::Quick, env = "PMIRROR_LEVEL")]
    pub level: Level,

    /// With --level hash: compare the contents of so many of 100 files, such as 5%, chosen by a hash
    /// of their paths. The summary tells what that proves of all.
    #[arg(long, value_name = "P%", value_parser = percent, env = "PMIRROR_SAMPLE")]
    pub sample: Option<f64>,

    /// Another seed chooses other files; the same one the same, on any number of ranks.
    #[arg(long, value_name = "N", default_value_t = 0, env = "PMIRROR_SEED")]
    pub seed: u64,

    /// Do not compare owner and group.
    #[arg(long, env = "PMIRROR_NO_OWNER")]
    pub no_owner: bool,

    /// Do not compare permissions.
    #[arg(long, env = "PMIRROR_NO_PERMS")]
    pub no_perms: bool,

    /// Do not compare times.
    #[arg(long, env = "PMIRROR_NO_TIMES")]
    pub no_times: bool,

    /// Compare access times too, those of symbolic links left aside.
    #[arg(short = 'U', long = "atimes", env = "PMIRROR_ATIMES")]
    pub access_times: bool,

    /// Do not compare extended attributes and file capabilities.
    #[arg(long, env = "PMIRROR_NO_XATTRS")]
    pub no_xattrs: bool,

    /// Do not compare ACLs.
    #[arg(long, env = "PMIRROR_NO_ACLS")]
    pub no_acls: bool,

    /// Do not compare which names are hard links of each other.
    #[arg(long, env = "PMIRROR_NO_HARD_LINKS")]
    pub no_hard_links: bool,

    /// Skip FIFOs, sockets and devices of SRC.
    #[arg(long, env = "PMIRROR_NO_SPECIALS")]
    pub no_specials: bool,

    /// Modification times that differ by no more than this are equal [default: what DST's file system
    /// can tell apart].
    #[arg(long, value_name = "SECONDS", default_value = "0", hide_default_value = true, value_parser = window,
          env = "PMIRROR_MODIFY_WINDOW")]
    pub modify_window: u64,

    /// Stay in the file system of SRC: skip mount points in it.
    #[arg(short = 'x', long = "one-file-system", env = "PMIRROR_ONE_FILE_SYSTEM")]
    pub one_file_system: bool,
}

/// What is printed.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // Each is a flag of the command line.
pub struct Printed {
    /// Print rsync's eleven letters of what a sync would do, then the path.
    #[arg(short = 'i', long, env = "PMIRROR_ITEMIZE_CHANGES", conflicts_with_all = ["jsonl", "print0"])]
    pub itemize_changes: bool,

    /// Print a JSON object for each difference, with both entries as they were.
    #[arg(long, env = "PMIRROR_JSONL", conflicts_with = "print0")]
    pub jsonl: bool,

    /// Print only the paths, raw, each with a NUL behind it.
    #[arg(long, env = "PMIRROR_PRINT0")]
    pub print0: bool,

    /// Changes nothing here: a comparison never writes.
    #[arg(short = 'n', long, env = "PMIRROR_DRY_RUN")]
    pub dry_run: bool,

    /// List no more differences than this. All are counted, and all are looked for.
    #[arg(long, value_name = "N", env = "PMIRROR_MAX_DIFFERENCES")]
    pub max_differences: Option<u64>,
}

/// A percentage above 0, written with its sign: a bare number could be meant as a share.
pub(super) fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
    match number {
        Some(percent) if percent > 0.0 && percent <= 100.0 => Ok(percent),
        Some(_) => Err("a sample has more than 0% and at most 100% of the files".to_owned()),
        None => Err("write a percentage with its sign, such as 5% or 0.1%".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_a_percentage_with_its_sign() {
        assert_eq!(percent("5%"), Ok(5.0));
        assert_eq!(percent("0.1%"), Ok(0.1));
        assert_eq!(percent("100%"), Ok(100.0));
        for bad in ["5", "%", "0%", "-1%", "101%", "NaN%", "inf%", "five%", ""] {
            assert!(percent(bad).is_err(), "{bad}");
        }
    }
}
