//! A command line that was found good: equal on all ranks, or the run is refused.

mod command;

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

pub use self::command::{Cmp, Command, Preflight, Rm, Tasks};
use crate::cli::mtimes::Mtimes;
use crate::cli::preflight;
use crate::cli::rm::Form;
use crate::cli::{self, RunOptions};
use crate::fault::Error;
use crate::fs::data::{BUFFER_BYTES, Copying};
use crate::fs::probe;
use crate::memory::{Shares, Told};
use crate::pass::limits::Rates;
use crate::pass::{Grain, Planning};
use crate::settings::FileSystems;
use crate::slurm::{self, Environment, JobEnd};
use crate::started::Started;
use crate::tree::decide::Policy;
use crate::tree::guard::Guards;
use crate::tree::path::escaped;

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
    /// The run stops at this time.
    pub stop_at: Option<jiff::Timestamp>,
    /// So long before the allocation ends the run stops, if the operator said.
    pub grace: Option<Duration>,
    /// When the allocation ends.
    pub job_end: JobEnd,
    /// A rank that is silent for so long ends the job.
    pub rank_timeout: Duration,
    /// What takes longer than that has no answer; `None`: it is waited for.
    pub op_timeout: Option<Duration>,
    /// The kernel is asked to keep us from what we never do.
    pub sandbox: bool,
    /// Print the summary as JSON.
    pub json: bool,
    /// Print neither progress nor summary.
    pub quiet: bool,
    /// How much more is said.
    pub verbose: u8,
    /// The command line, for the record.
    pub arguments: Vec<String>,
    /// How it was started, for `resume` and `retry`.
    pub started: Started,
    /// How finely work is cut.
    pub grain: Grain,
    /// How the content of files is moved.
    pub copying: Copying,
    /// What is known of the memory that a rank may use, but for what its node tells.
    pub memory: Told,
    /// No table of a rank holds more bytes in memory, nor are more on their way, whatever there is of it.
    pub bag_bytes_max: usize,
    /// What all ranks together may use a second.
    pub limits: Rates,
    /// Write nothing.
    pub dry_run: bool,
    /// Print what is changed.
    pub itemizes: bool,
    /// Go on from the checkpoint of the run.
    pub resume: bool,
    /// So often a checkpoint is taken; `None`: only when the run is stopped.
    pub checkpoint_interval: Option<Duration>,
    /// What holds deletions back; `None`: nothing is removed.
    pub guards: Option<Guards>,
    /// What the patterns leave out is removed too.
    pub delete_excluded: bool,
    /// A directory that was renamed on the source is renamed on the target.
    pub detect_renames: bool,
    /// File systems that `pmirror.toml` names, and what it says of them.
    pub file_systems: FileSystems,
    /// What would be removed is renamed into the trash.
    pub trash: bool,
    /// Runs of this process that are under way at one time: each has its part of the memory.
    pub lanes: u32,
}

const PROGRESS_SECONDS: u32 = 30;
const BAG_BYTES_MAX: usize = 64 << 20;

impl Config {
    /// Checks a command that begins a run. `started` is kept with the run.
    pub fn of(command: cli::Command, started: Started, environment: &Environment) -> Result<Self, Error> {
        let arguments = started.arguments.clone();
        let config = match command {
            cli::Command::Sync(sync) => Self::of_sync(sync, environment, arguments),
            cli::Command::Rm(rm) => Self::of_rm(rm, environment, arguments),
            cli::Command::Mtimes(mtimes) => Self::of_mtimes(mtimes, environment, arguments),
            cli::Command::PurgeTrash(purge) => Self::of_purge(purge, environment, arguments),
            cli::Command::Cmp(cmp) => Self::of_cmp(cmp, environment, arguments),
            cli::Command::Preflight(preflight) => Self::of_preflight(preflight, environment, arguments),
            cli::Command::Run(run) => Self::of_tasks(run, environment, arguments),
            cli::Command::Resume(_)
            | cli::Command::Retry(_)
            | cli::Command::Explain(_)
            | cli::Command::Status(_)
            | cli::Command::Undelete(_)
            | cli::Command::Config(_)
            | cli::Command::Generate { .. } => Err(Error::Usage("this command begins no run by itself".to_owned())),
        }?;
        Ok(Self { started, ..config })
    }

    /// Checks `pmirror sync`.
    pub fn of_sync(sync: cli::Sync, environment: &Environment, arguments: Vec<String>) -> Result<Self, Error> {
        cli::choose::check(&sync.choose)?;
        if sync.delete.delete && sync.choose.files_from.is_some() {
            let text = "--delete goes by what directories hold, --files-from by a list: name one of both";
            return Err(Error::Usage(text.to_owned()));
        }
        if !sync.delete.delete && sync.delete.guards.trash {
            let text = "--trash says what becomes of what is deleted, and nothing is without --delete: add --delete";
            return Err(Error::Usage(text.to_owned()));
        }
        if !sync.delete.delete && sync.delete.guards.is_any() {
            let text = "--max-delete, --hold-threshold, --hold-depth and --delete-excluded are about deletions, and nothing is deleted \
                        without --delete: add it, or leave them out";
            return Err(Error::Usage(text.to_owned()));
        }
        if sync.content.detect_renames && sync.choose.files_from.is_some() {
            let text = "--detect-renames goes by what directories hold, --files-from by a list: name one of both";
            return Err(Error::Usage(text.to_owned()));
        }
        let is_final = sync.compare.is_final;
        if is_final && (sync.choose.min_age.is_some() || sync.choose.max_age.is_some()) {
            let text = "--final copies all that is there: --min-age and --max-age would leave some of it behind; leave them out";
            return Err(Error::Usage(text.to_owned()));
        }
        let policy = Policy {
            extras: sync.extras.kept(),
            content: sync.compare.content_rule(),
            update: sync.compare.update,
            modify_window: sync.compare.modify_window,
            ctime: sync.compare.ctime_rule(),
            ..policy_of(&sync.keep)
        };
        let command = Command::Sync { is_final };
        let mut config = Self::common(command, (sync.source, sync.target), policy, sync.run, environment, arguments)?;
        config.show(&sync.show);
        config.guards = sync.delete.delete.then(|| sync.delete.guards.guards());
        config.delete_excluded = sync.delete.guards.delete_excluded;
        config.trash = sync.delete.guards.trash;
        config.grain.chunk_bytes = sync.content.chunk_size;
        config.limits = sync.limits.rates();
        config.copying = held_back(sync.content.copying(), &config.limits);
        config.detect_renames = sync.content.detect_renames;
        config.choose = sync.choose;
        Ok(config)
    }

    /// Checks `pmirror run --tasks`: as a sync of which SRC and DST are not known yet.
    pub fn of_tasks(run: cli::run::Run, environment: &Environment, arguments: Vec<String>) -> Result<Self, Error> {
        if run.sync.choose.files_from.is_some() {
            let text = "--files-from is one list for one tree: with --tasks each task has its own, as a third word";
            return Err(Error::Usage(text.to_owned()));
        }
        let (tasks, is_final) = (run.tasks, run.sync.compare.is_final);
        let tasks =
            Tasks { file: tasks.tasks, null: tasks.null, at_once: tasks.at_once, reports: tasks.report, is_final };
        let mut sync = run.sync.of("/".into(), "/".into());
        sync.run.run_id.get_or_insert_with(|| default_run_id("run", environment));
        Ok(Self { command: Command::Tasks(tasks), ..Self::of_sync(sync, environment, arguments)? })
    }

    /// Checks `pmirror rm`.
    pub fn of_rm(rm: cli::rm::Rm, environment: &Environment, arguments: Vec<String>) -> Result<Self, Error> {
        let (command, operands) = match rm.form()? {
            Form::Tree(_) if rm.guards.trash => {
                let text = "rm --tree has no trash, as it has no DST: rename the tree yourself, or leave out --trash";
                return Err(Error::Usage(text.to_owned()));
            }
            Form::TargetOnly(..) if rm.plan.plan.is_some() && rm.guards.trash => {
                let text = "--plan removes nothing: --trash belongs to the command that does, with --apply";
                return Err(Error::Usage(text.to_owned()));
            }
            Form::Tree(_) if rm.guards.is_any() => {
                let text = "rm --tree removes all that it was told to: --max-delete and --hold-threshold are for --target-only; leave them out";
                return Err(Error::Usage(text.to_owned()));
            }
            Form::Tree(path) => (Command::RmTree, (path.clone(), path)),
            Form::TargetOnly(..) if rm.plan.apply.is_some() && (!rm.patterns.0.is_empty() || rm.one_file_system) => {
                let text =
                    "--apply removes what the plan has: patterns and -x belong to the command that makes the plan";
                return Err(Error::Usage(text.to_owned()));
            }
            Form::TargetOnly(source, target) => {
                let (plan, apply) = (rm.plan.plan.clone().map(PathBuf::from), rm.plan.apply.clone().map(PathBuf::from));
                let how = plan.map(Rm::Plan).or_else(|| apply.map(Rm::Apply)).unwrap_or(Rm::Whole);
                (Command::Rm(how), (source, target))
            }
        };
        let policy = Policy { one_file_system: rm.one_file_system, target: probe::assumed(), ..Policy::EVERYTHING };
        let guards = (command != Command::RmTree).then(|| rm.guards.guards());
        let (delete_excluded, trash) = (rm.guards.delete_excluded, rm.guards.trash);
        let mut config = Self::common(command, operands, policy, rm.run, environment, arguments)?;
        config.choose.patterns = rm.patterns;
        cli::choose::check(&config.choose)?;
        config.show(&rm.show);
        config.guards = guards;
        config.delete_excluded = delete_excluded;
        config.trash = trash;
        config.limits = rm.limits.rates();
        Ok(config)
    }

    /// Checks `pmirror mtimes`.
    pub fn of_mtimes(mtimes: Mtimes, environment: &Environment, arguments: Vec<String>) -> Result<Self, Error> {
        let operands = (mtimes.source, mtimes.target);
        let policy = policy_of(&mtimes.keep);
        let mut config = Self::common(Command::Mtimes, operands, policy, mtimes.run, environment, arguments)?;
        config.choose.patterns = mtimes.patterns;
        cli::choose::check(&config.choose)?;
        config.show(&mtimes.show);
        config.limits = mtimes.limits.rates();
        Ok(config)
    }

    /// Checks `pmirror purge-trash`.
    pub fn of_purge(
        purge: cli::trash::PurgeTrash,
        environment: &Environment,
        arguments: Vec<String>,
    ) -> Result<Self, Error> {
        // Not clap's to ask for: `config --show` has no operands and no such option either.
        if purge.older_than.is_none() && !purge.all {
            let text = "purge-trash removes for good: say --older-than AGE, such as 7d, or --all";
            return Err(Error::Usage(text.to_owned()));
        }
        let command = Command::PurgeTrash { older_than: purge.older_than };
        let operands = (purge.target.clone(), purge.target);
        let mut config = Self::common(command, operands, Policy::EVERYTHING, purge.run, environment, arguments)?;
        config.dry_run = purge.show.dry_run;
        config.itemizes = purge.show.itemize_changes;
        config.limits = purge.limits.rates();
        Ok(config)
    }

    /// A dry run without anything to print would tell nothing.
    fn show(&mut self, show: &cli::Show) {
        self.dry_run = show.dry_run;
        self.itemizes = show.itemize_changes || show.dry_run;
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
            // What is asked for is always looked at, whatever the clocks say.
            clock_skew: 0,
            modify_window: compared.modify_window,
            target: probe::assumed(),
            ..Policy::EVERYTHING
        };
        let command = Command::Cmp(Cmp::of(compared, &cmp.printed)?);
        let mut config = Self::common(command, (cmp.source, cmp.target), policy, cmp.run, environment, arguments)?;
        cli::choose::check(&cmp.choose)?;
        config.choose = cmp.choose;
        config.limits = cmp.limits.rates();
        Ok(config)
    }

    /// Checks `pmirror preflight`.
    pub fn of_preflight(
        asked: preflight::Preflight,
        environment: &Environment,
        arguments: Vec<String>,
    ) -> Result<Self, Error> {
        let measures = Duration::from_secs(u64::from(asked.tried.seconds));
        let command = Command::Preflight(Preflight { walk: asked.tried.walk, measures });
        let (operands, policy) = ((asked.source, asked.target), policy_of(&asked.keep));
        let mut config = Self::common(command, operands, policy, asked.run, environment, arguments)?;
        config.choose.patterns = asked.patterns;
        cli::choose::check(&config.choose)?;
        config.limits = asked.limits.rates();
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
        let RunOptions {
            threads,
            state_dir,
            run_id,
            progress,
            checkpoint_interval,
            stop_at,
            grace,
            rank_timeout,
            op_timeout,
            max_memory,
            sandbox,
            json,
            verbose,
            quiet,
        } = run;
        let progress = progress.unwrap_or(PROGRESS_SECONDS);
        let word = command.word();
        let (slurm_node, slurm_task) = slurm::memory(environment);
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
            stop_at,
            grace,
            job_end: slurm::job_end(environment),
            rank_timeout,
            op_timeout: Some(op_timeout).filter(|time| !time.is_zero()),
            sandbox,
            json,
            quiet,
            verbose,
            arguments,
            started: Started::default(),
            grain: Grain::default(),
            copying: Copying::default(),
            memory: Told { asked: max_memory, slurm_node, slurm_task, ..Told::default() },
            bag_bytes_max: BAG_BYTES_MAX,
            limits: Rates::UNLIMITED,
            dry_run: false,
            itemizes: false,
            resume: false,
            checkpoint_interval: Some(checkpoint_interval).filter(|interval| !interval.is_zero()),
            guards: None,
            delete_excluded: false,
            detect_renames: false,
            file_systems: FileSystems::default(),
            trash: false,
            lanes: 1,
        })
    }

    /// The workers of a rank, of which the node has so many. Slurm says how many CPUs each of its tasks
    /// has; else the ranks of a node share what there is.
    pub fn workers(&self, ranks_on_node: u32) -> u32 {
        workers(self.threads, self.task_cpus.unwrap_or_else(|| cpus() / ranks_on_node.max(1)))
    }

    /// How finely work is cut by a rank with these shares of its memory.
    pub fn grain_of(&self, shares: &Shares) -> Grain {
        let mut grain = self.grain.clone();
        grain.listing_bytes_max = grain.listing_bytes_max.min(shares.listing_bytes);
        grain
    }

    /// Whether a run that is stopped can be gone on with. Of a tree that is removed nothing need be known but what
    /// is left of it, and a plan is written at once or not at all.
    pub fn can_go_on(&self) -> bool {
        let is_at_once = matches!(self.command, Command::RmTree | Command::PurgeTrash { .. } | Command::Preflight(_));
        !is_at_once && !matches!(self.command, Command::Rm(Rm::Plan(_)))
    }

    /// Whether anything may be written into DST.
    pub fn writes(&self) -> bool {
        !self.dry_run && !matches!(self.command, Command::Cmp(_) | Command::Rm(Rm::Plan(_)) | Command::Preflight(_))
    }

    /// Whether deletions are carried out, or told as if they were.
    pub fn writes_deletions(&self) -> bool {
        !matches!(self.command, Command::Rm(Rm::Plan(_)))
    }

    /// How removals are planned, if any are.
    pub fn planning(&self) -> Option<Planning> {
        let looks = matches!(self.command, Command::Rm(Rm::Plan(_)));
        self.guards.map(|guards| Planning { hold_depth: guards.hold_depth, looks, excluded: self.delete_excluded })
    }

    /// A number that is equal on ranks that were given the same to do.
    pub fn digest(&self) -> u64 {
        let removed = (&self.guards, self.delete_excluded, self.trash);
        let shown = (self.dry_run, self.itemizes, removed, self.sandbox, self.detect_renames);
        let how = (&self.policy, &self.copying, &self.choose, &self.limits, shown, &self.started.retry);
        let told = format!("{:?} {:?} {:?} {how:?}", self.command, self.source, self.target);
        xxhash_rust::xxh3::xxh3_64(told.as_bytes())
    }
}

/// What is kept.
fn policy_of(keep: &cli::Keep) -> Policy {
    Policy {
        owner: !keep.no_owner,
        permissions: !keep.no_perms,
        times: !keep.no_times,
        access_times: keep.access_times,
        xattrs: !keep.no_xattrs,
        acls: !keep.no_acls,
        hard_links: !keep.no_hard_links,
        specials: !keep.no_specials,
        one_file_system: keep.one_file_system,
        clock_skew: u64::from(keep.clock_skew) * 1_000_000_000,
        target: probe::assumed(),
        ..Policy::EVERYTHING
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

/// A root as the operator named it.
pub fn operand(name: &str, value: OsString) -> Result<CString, Error> {
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

/// The state directory, if none is named.
pub fn default_state_dir(environment: &Environment) -> PathBuf {
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
