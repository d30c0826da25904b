//! The command line. Its words are fixed: scripts rely on them.

pub mod again;
pub mod choose;
pub mod cmp;
pub mod compare;
mod content;
pub mod delete;
mod extras;
mod habits;
pub mod hints;
pub mod limits;
pub mod markdown;
pub mod mtimes;
pub mod rm;
mod size;
pub mod time;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use self::content::Content;
pub use self::extras::{Extras, Layout};

/// Mirror a file system with all ranks of a job.
#[derive(Debug, Parser)]
#[command(name = "pmirror", version, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Start it alone, or with srun or mpirun to share the work among many ranks:
  pmirror sync /home/ada/project /scratch/ada/project
  srun -n 256 pmirror sync /panda/user_xyz /badger/user_xyz

Exit codes: 0 done; 1 usage; 3 refused before any change; 11 a root or the state directory
failed, or DST is full; 20 stopped by a signal; 23 some entries failed; 24 only vanished or
changed sources; 25 deletions were held back; 26 cmp found differences; 70 a bug; 75 the time
was up: run it again.";

/// The commands.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant)] // Made once a run.
pub enum Command {
    /// Copy and update DST to be a mirror of SRC; delete nothing.
    ///
    /// Both are directories; their contents are compared, a trailing slash has no meaning. Owners,
    /// groups, permissions, times, ACLs, extended attributes, hard links, holes, FIFOs, sockets and
    /// devices are kept. The same command run again goes on where a run that was killed has ended,
    /// and changes nothing after a run that was not.
    Sync(Sync),
    /// Remove from DST what SRC does not have, or one whole tree.
    ///
    /// With --target-only all names are looked at first, then guards judge the plan as a whole, and only
    /// then is anything removed; whoever removes a name looks once more that SRC does not have it. What
    /// could not be listed on SRC, or whose mount is missing, keeps what DST has there.
    Rm(rm::Rm),
    /// Set times, owner, permissions, ACLs and extended attributes of directories.
    ///
    /// The last step of a migration: names that are made or removed in a directory move its time.
    Mtimes(mtimes::Mtimes),
    /// Compare DST with SRC; write nothing in either.
    ///
    /// Prints a line for each difference, and exits with 26 if there is any. What a sync by the same
    /// user would leave alone is no difference. Of what only DST has, the topmost names are told; of
    /// what only SRC has, all.
    Cmp(cmp::Cmp),
    /// Go on with a run that was stopped, or that died after a checkpoint.
    ///
    /// With the options it was started with, by any number of ranks: what was done is in its checkpoint, and is
    /// not done again. The summary at the end tells of all attempts together.
    Resume(again::Resume),
    /// Do once more what failed in a run, and nothing else.
    ///
    /// A run of its own, with the options of the other one. A directory that could not be listed is
    /// walked whole. Removals are left to the command itself: run it again.
    Retry(again::Retry),
    /// Print the man page or shell completions.
    Generate {
        /// Which.
        #[arg(value_enum)]
        what: Generate,
    },
}

/// What `generate` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Generate {
    /// The manual page.
    Man,
    /// Completions for bash.
    Bash,
    /// Completions for zsh.
    Zsh,
    /// Completions for fish.
    Fish,
    /// All commands and options as one page of Markdown.
    Markdown,
}

/// `pmirror sync`.
#[derive(Debug, Args)]
pub struct Sync {
    /// The directory that is read.
    #[arg(value_name = "SRC")]
    pub source: OsString,

    /// The directory that is written. It is made if only its last name is missing.
    #[arg(value_name = "DST")]
    pub target: OsString,

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

/// What is removed from DST.
#[derive(Debug, Args)]
pub struct Delete {
    /// After the copy remove from DST what SRC does not have, as `rm --target-only` does.
    #[arg(long)]
    pub delete: bool,

    /// Options that hold deletions back.
    #[command(flatten)]
    pub guards: delete::Guards,
}

/// What is shown.
#[derive(Debug, Args)]
pub struct Show {
    /// Write nothing: tell what would be done, as -i does.
    #[arg(short = 'n', long, env = "PMIRROR_DRY_RUN")]
    pub dry_run: bool,

    /// Print a line for each change: rsync's eleven letters, then the path.
    #[arg(short = 'i', long, env = "PMIRROR_ITEMIZE_CHANGES")]
    pub itemize_changes: bool,
}

/// What is kept and compared.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // Each is a flag of the command line.
pub struct Keep {
    /// Do not set owner and group.
    #[arg(long, env = "PMIRROR_NO_OWNER")]
    pub no_owner: bool,

    /// Do not set permissions.
    #[arg(long, env = "PMIRROR_NO_PERMS")]
    pub no_perms: bool,

    /// Do not set times: a file of equal size that is not older than its source counts as its copy.
    #[arg(long, env = "PMIRROR_NO_TIMES")]
    pub no_times: bool,

    /// Compare access times too. They are always set together with the modification times.
    #[arg(short = 'U', long = "atimes", env = "PMIRROR_ATIMES")]
    pub access_times: bool,

    /// Do not copy extended attributes and file capabilities.
    #[arg(long, env = "PMIRROR_NO_XATTRS")]
    pub no_xattrs: bool,

    /// Do not copy ACLs.
    #[arg(long, env = "PMIRROR_NO_ACLS")]
    pub no_acls: bool,

    /// Copy each name of a hard-linked file apart.
    #[arg(long, env = "PMIRROR_NO_HARD_LINKS")]
    pub no_hard_links: bool,

    /// Skip FIFOs, sockets and devices.
    #[arg(long, env = "PMIRROR_NO_SPECIALS")]
    pub no_specials: bool,

    /// Stay in the file system of SRC: skip mount points in it.
    #[arg(short = 'x', long = "one-file-system", env = "PMIRROR_ONE_FILE_SYSTEM")]
    pub one_file_system: bool,

    /// How far the clocks of the source's and the target's servers may differ, in seconds. A target
    /// file born later than that after the last change of its source needs no look at its extended
    /// attributes.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, env = "PMIRROR_CLOCK_SKEW")]
    pub clock_skew: u32,
}

/// How the run goes.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // Each is a flag of the command line.
pub struct RunOptions {
    /// Worker threads of each rank [default: two for each CPU of the task, at least 4, at most 32].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024), env = "PMIRROR_THREADS")]
    pub threads: Option<u32>,

    /// Where runs keep their records; seen by every rank, and in neither tree [default:
    /// pmirror-runs in the directory from which the job was submitted].
    #[arg(long, value_name = "DIR", env = "PMIRROR_STATE_DIR")]
    pub state_dir: Option<PathBuf>,

    /// The name of this run's directory below the state directory [default: the job's number and
    /// the time].
    #[arg(long, value_name = "ID", value_parser = run_id, env = "PMIRROR_RUN_ID")]
    pub run_id: Option<String>,

    /// Seconds between two lines of progress in a log [default: 30]. On a terminal there is a bar.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "10",
          value_parser = clap::value_parser!(u32).range(1..), env = "PMIRROR_PROGRESS")]
    pub progress: Option<u32>,

    /// So often what is left to do is written down, without anybody waiting for it: after a crash `pmirror resume`
    /// goes on from there. 0 or none: only when the run is stopped.
    #[arg(long, value_name = "DURATION", value_parser = time::or_none, default_value = "10m",
          env = "PMIRROR_CHECKPOINT_INTERVAL")]
    pub checkpoint_interval: Duration,

    /// Stop in order at this time, with exit code 75: 18:30 (today or tomorrow), +2h30m (from now),
    /// or 2026-05-01T06:00:00+02:00.
    #[arg(long, value_name = "TIME", value_parser = time::moment, env = "PMIRROR_STOP_AT")]
    pub stop_at: Option<jiff::Timestamp>,

    /// Stop so long before the Slurm allocation ends, such as 90s or 10m [default: 5m, but at most
    /// a quarter of what is left of it].
    #[arg(long, value_name = "DURATION", value_parser = time::duration, env = "PMIRROR_GRACE")]
    pub grace: Option<Duration>,

    /// A rank that does not answer for so long ends the job, with exit code 11.
    #[arg(long, value_name = "DURATION", value_parser = time::seconds, default_value = "10m",
          env = "PMIRROR_RANK_TIMEOUT")]
    pub rank_timeout: Duration,

    /// An operation on a file that has had no answer for so long, such as 90s, 10m or 2h, is given up:
    /// its entry is parked, which is a failure, and the rest goes on. 0 or none: wait for ever.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = time::seconds_or_none, env = "PMIRROR_OP_TIMEOUT")]
    pub op_timeout: Duration,

    /// Memory that each rank may use, such as 512M or 4G; beyond it tables are kept in the run directory
    /// [default: what Slurm and the control group leave each rank of the node, at most half of the node's memory,
    /// and 2G].
    #[arg(long, value_name = "SIZE", value_parser = size::with_unit, env = "PMIRROR_MAX_MEMORY")]
    pub max_memory: Option<u64>,

    /// Have the kernel keep the run from writing to SRC, from following links there, and from opening anything but SRC,
    /// DST and the run directory, as far as it can. What it can not do is said at the start, and fails nothing.
    #[arg(long, env = "PMIRROR_SANDBOX")]
    pub sandbox: bool,

    /// Print the summary as JSON.
    #[arg(long, env = "PMIRROR_JSON")]
    pub json: bool,

    /// Say what the run goes by: ranks, nodes, threads, what DST can hold.
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// No progress and no summary; errors only.
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// Options of rsync that change nothing here.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // Each is a flag of the command line.
pub struct AlwaysOn {
    /// Archive.
    #[arg(short = 'a', long)]
    archive: bool,
    /// Recursive.
    #[arg(short = 'r', long)]
    recursive: bool,
    /// Symbolic links.
    #[arg(short = 'l', long)]
    links: bool,
    /// Permissions.
    #[arg(short = 'p', long)]
    perms: bool,
    /// Times.
    #[arg(short = 't', long)]
    times: bool,
    /// Group.
    #[arg(short = 'g', long)]
    group: bool,
    /// Owner.
    #[arg(short = 'o', long)]
    owner: bool,
    /// Devices and specials.
    #[arg(short = 'D')]
    devices: bool,
    /// Hard links.
    #[arg(short = 'H', long)]
    hard_links: bool,
    /// ACLs.
    #[arg(short = 'A', long)]
    acls: bool,
    /// Extended attributes.
    #[arg(short = 'X', long)]
    xattrs: bool,
    /// Holes.
    #[arg(short = 'S', long)]
    sparse: bool,
    /// Owners by number.
    #[arg(long)]
    numeric_ids: bool,
}

/// Whether some option that takes a size, a rate, a time, an age, a share or a name takes this.
pub fn is_taken_by_some(text: &str) -> bool {
    let sizes = [size::size(text).is_ok(), size::with_unit(text).is_ok(), content::buffer_size(text).is_ok()];
    let rates = [limits::bytes_a_second(text).is_ok(), limits::operations_a_second(text).is_ok()];
    let times = [time::seconds_or_none(text).is_ok(), time::moment(text).is_ok(), compare::window(text).is_ok()];
    let others = [choose::age(text).is_ok(), cmp::percent(text).is_ok(), delete::max_delete(text).is_ok()];
    let names = [again::errno(text).is_ok(), run_id(text).is_ok()];
    [&sizes[..], &rates, &times, &others, &names].concat().contains(&true)
}

/// The name of a directory, and no more than that.
fn run_id(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let length_max = 100;
    if text.is_empty() || text.len() > length_max || text.starts_with('.') || !text.chars().all(good) {
        return Err(format!("a run id has 1 to {length_max} of the characters a-z A-Z 0-9 - _ . and no dot in front"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_letters_of_rsync_are_accepted() {
        assert!(Cli::try_parse_from(["pmirror", "sync", "-arlptgoDHAXSx", "--numeric-ids", "a", "b"]).is_ok());
    }

    #[test]
    fn they_are_accepted_by_cmp_too() {
        assert!(Cli::try_parse_from(["pmirror", "cmp", "-arlptgoDHAXSxi", "--numeric-ids", "a", "b"]).is_ok());
        assert!(Cli::try_parse_from(["pmirror", "cmp", "-i", "--print0", "a", "b"]).is_err());
    }

    #[test]
    fn a_run_id_is_one_name() {
        assert!(run_id("copy-17").is_ok());
        for bad in ["", ".", "..", "a/b", ".hidden", "a b"] {
            assert!(run_id(bad).is_err(), "{bad}");
        }
    }
}
