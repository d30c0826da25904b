//! A command line that was found good: equal on all ranks, or the run is refused.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::{self, RunOptions};
use crate::fault::Error;
use crate::fs::data::{BUFFER_BYTES, Copying};
use crate::fs::probe;
use crate::pass::Grain;
use crate::pass::limits::Rates;
use crate::report::differences::Manner;
use crate::slurm::Environment;
use crate::tree::Extras;
use crate::tree::decide::{ContentRule, CtimeRule, Policy};
use crate::tree::difference::{Comparing, Level};
use crate::tree::itemize::Trigger;
use crate::tree::path::escaped;
use crate::tree::sample::Sample;

/// What a run is to do: what all commands have, and what one has alone.
#[derive(Debug, Clone)]
pub struct Config {
    /// The command, with its own options.
    pub command: Command,
    /// SRC as the operator named it.
    pub source: CString,
    /// DST as the operator named it.
    pub target: CString,
    /// What is kept and compared; what the target allows is measured later.
    pub policy: Policy,
    /// What of SRC is chosen.
    pub choose: cli::choose::Choose,
    /// Workers of each rank, if the operator said.
    pub threads: Option<u32>,
    /// The CPUs that Slurm gave each task.
    pub task_cpus: Option<u32>,
    /// The state directory.
    pub state_dir: PathBuf,
    /// The run's directory in it.
    pub run_id: String,
    /// Time between two lines of progress in a log.
    pub progress: Duration,
    /// Print the summary as JSON.
    pub json: bool,
    /// Print neither progress nor summary.
    pub quiet: bool,
    /// How much more is said.
    pub verbose: u8,
    /// The command line, for the record.
    pub arguments: Vec<String>,
    /// How finely work is cut.
    pub grain: Grain,
    /// How the content of files is moved.
    pub copying: Copying,
    /// Bytes of items that each table of a rank holds in memory.
    pub bag_bytes_max: usize,
    /// What all ranks together may use a second.
    pub limits: Rates,
}

const PROGRESS_SECONDS: u32 = 30;
const BAG_BYTES_MAX: usize = 64 << 20;
const LISTINGS_BYTES_MAX: usize = 256 << 20;

/// A command, with the options that it has alone.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// `pmirror sync`.
    Sync,
    /// `pmirror cmp`.
    Cmp(Cmp),
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
    fn of(compared: &cli::cmp::Compared, printed: &cli::cmp::Printed) -> Result<Self, Error> {
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
            Command::Sync => "sync",
            Command::Cmp(_) => "cmp",
        }
    }

    /// The options of `cmp`, if it is that.
    pub fn compare(&self) -> Option<&Cmp> {
        match self {
            Command::Cmp(cmp) => Some(cmp),
            Command::Sync => None,
        }
    }
}

impl Config {
    /// Checks `pmirror sync`.
    pub fn of_sync(sync: cli::Sync, environment: &Environment, arguments: Vec<String>) -> Result<Self, Error> {
        cli::choose::check(&sync.choose)?;
        let keep = &sync.keep;
        let policy = Policy {
            owner: !keep.no_owner,
            permissions: !keep.no_perms,
            times: !keep.no_times,
            access_times: keep.access_times,
            xattrs: !keep.no_xattrs,
            acls: !keep.no_acls,
            hard_links: !keep.no_hard_links,
            specials: !keep.no_specials,
            one_file_system: keep.one_file_system,
            extras: sync.extras.kept(),
            clock_skew: u64::from(keep.clock_skew) * 1_000_000_000,
            content: sync.compare.content_rule(),
            update: sync.compare.update,
            modify_window: sync.compare.modify_window,
            ctime: sync.compare.ctime_rule(),
            target: probe::assumed(),
        };
        let mut config =
            Self::common(Command::Sync, (sync.source, sync.target), policy, sync.run, environment, arguments)?;
        config.grain.chunk_bytes = sync.content.chunk_size;
        config.limits = sync.limits.rates();
        config.copying = held_back(sync.content.copying(), &config.limits);
        config.choose = sync.choose;
        Ok(config)
    }

    /// Checks `pmirror cmp`.
    pub fn of_cmp(cmp: cli::cmp::Cmp, environment: &Environment, arguments: Vec<String>) -> Result<Self, Error> {
        let compared = &cmp.compared;
        let policy = Policy {
            owner: !compared.no_owner,
            permissions: !compared.no_perms,
            times: !compared.no_times,
            access_times: compared.access_times,
            xattrs: !compared.no_xattrs,
            acls: !compared.no_acls,
            hard_links: !compared.no_hard_links,
            specials: !compared.no_specials,
            one_file_system: compared.one_file_system,
            extras: Extras::default(),
            // What is asked for is always looked at, whatever the clocks say.
            clock_skew: 0,
            content: ContentRule::Times,
            update: false,
            modify_window: compared.modify_window,
            ctime: CtimeRule::Metadata,
            target: probe::assumed(),
        };
        let command = Command::Cmp(Cmp::of(compared, &cmp.printed)?);
        let mut config = Self::common(command, (cmp.source, cmp.target), policy, cmp.run, environment, arguments)?;
        cli::choose::check(&cmp.choose)?;
        config.choose = cmp.choose;
        config.limits = cmp.limits.rates();
        Ok(config)
    }

    /// What all commands have.
    fn common(
        command: Command,
        (source, target): (OsString, OsString),
        policy: Policy,
        run: RunOptions,
        environment: &Environment,
        arguments: Vec<String>,
    ) -> Result<Self, Error> {
        let RunOptions { threads, state_dir, run_id, progress, json, verbose, quiet } = run;
        let progress = progress.unwrap_or(PROGRESS_SECONDS);
        let word = command.word();
        Ok(Self {
            command,
            source: operand("SRC", source)?,
            target: operand("DST", target)?,
            policy,
            choose: cli::choose::Choose::default(),
            threads,
            task_cpus: environment.get("SLURM_CPUS_PER_TASK").and_then(|text| text.parse().ok()),
            state_dir: state_dir.unwrap_or_else(|| default_state_dir(environment)),
            run_id: run_id.unwrap_or_else(|| default_run_id(word, environment)),
            progress: Duration::from_secs(u64::from(progress)),
            json,
            quiet,
            verbose,
            arguments,
            grain: Grain::default(),
            copying: Copying::default(),
            bag_bytes_max: BAG_BYTES_MAX,
            limits: Rates::UNLIMITED,
        })
    }

    /// The workers of a rank, of which the node has so many. Slurm says how many CPUs each of its tasks
    /// has; else the ranks of a node share what there is.
    pub fn workers(&self, ranks_on_node: u32) -> u32 {
        workers(self.threads, self.task_cpus.unwrap_or_else(|| cpus() / ranks_on_node.max(1)))
    }

    /// How finely work is cut by ranks of so many workers, which share a bound of memory.
    pub fn grain_of(&self, threads: u32) -> Grain {
        let mut grain = self.grain.clone();
        let share = (LISTINGS_BYTES_MAX / threads.max(1) as usize).clamp(8 << 20, 64 << 20);
        grain.listing_bytes_max = grain.listing_bytes_max.min(share);
        grain
    }

    /// A number that is equal on ranks that were given the same to do.
    pub fn digest(&self) -> u64 {
        let how = (&self.policy, &self.copying, &self.choose, &self.limits);
        let told = format!("{:?} {:?} {:?} {how:?}", self.command, self.source, self.target);
        xxhash_rust::xxh3::xxh3_64(told.as_bytes())
    }
}

/// The workers of a rank: two for each of its CPUs, as one waits for a server while the other works. More
/// cost nothing where the disk is near (`docs/internals/performance.md`).
fn workers(asked: Option<u32>, cpus: u32) -> u32 {
    asked.unwrap_or_else(|| cpus.saturating_mul(2).clamp(4, 32))
}

/// The CPUs of this process.
fn cpus() -> u32 {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(cpus).unwrap_or(1)
}

/// Where something is limited, no call moves more than what is paid for at once.
fn held_back(mut copying: Copying, limits: &Rates) -> Copying {
    if *limits != Rates::UNLIMITED {
        copying.buffer_bytes = copying.buffer_bytes.min(BUFFER_BYTES);
        copying.call_bytes_max = BUFFER_BYTES as u64;
    }
    copying
}

fn operand(name: &str, value: OsString) -> Result<CString, Error> {
    let bytes = value.into_vec();
    if bytes.is_empty() {
        return Err(Error::Usage(format!("{name} is empty; is a variable of the script unset?")));
    }
    if looks_remote(&bytes) {
        let text = escaped(&bytes);
        return Err(Error::Usage(format!(
            "{name} {text} names another host; pmirror works on mounted file systems: mount it, or write ./{text} if \
             that is the directory's name"
        )));
    }
    CString::new(bytes).map_err(|_| Error::Usage(format!("{name} holds a NUL byte")))
}

/// rsync's `host:path`: a colon before any slash.
fn looks_remote(bytes: &[u8]) -> bool {
    bytes.iter().position(|&byte| byte == b':').is_some_and(|colon| !bytes.iter().take(colon).any(|&byte| byte == b'/'))
}

fn default_state_dir(environment: &Environment) -> PathBuf {
    let base = environment.get("SLURM_SUBMIT_DIR").map_or_else(PathBuf::new, PathBuf::from);
    base.join("pmirror-runs")
}

/// The job's number, so that a person finds the run of a job; the time, so that two runs differ.
fn default_run_id(command: &str, environment: &Environment) -> String {
    let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%3fZ").to_string().replace('.', "");
    match environment.get("SLURM_JOB_ID") {
        Some(job) => format!("job-{job}-{time}"),
        None => format!("{command}-{time}-{}", std::process::id()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operand_on_another_host_is_refused_with_the_remedy() {
        let error = operand("SRC", "host:/data".into()).unwrap_err();
        assert!(error.to_string().contains("mount it"));
        assert!(operand("SRC", "./a:b".into()).is_ok());
        assert!(operand("SRC", "/a:b".into()).is_ok());
    }

    #[test]
    fn a_rank_has_two_workers_for_each_cpu() {
        assert_eq!(workers(Some(7), 4), 7);
        assert_eq!([0, 1, 3, 16, 128].map(|cpus| workers(None, cpus)), [4, 4, 6, 32, 32]);
    }
}
