//! Launches pmirror as a user would, and stops it when it takes too long.

use super::compare;
use super::outcome::Outcome;
use super::snapshot::Snapshot;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// User and group of nobody, the ordinary user of the tests.
pub const NOBODY: (u32, u32) = (65_534, 65_534);

const TIMEOUT: Duration = Duration::from_secs(180);
const LAUNCHERS: &[&str] = &["PMIRROR_", "SLURM_", "SRUN_", "OMPI_", "PMIX_", "PMI_"];

/// How many processes, and who starts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranks {
    /// One process, no launcher.
    One,
    /// So many, on this machine.
    Mpirun(u32),
    /// On the nodes of the test cluster.
    Srun { nodes: u32, tasks: u32 },
}

/// A command line of pmirror that can be refined, run, and run again.
#[derive(Clone, Debug)]
pub struct Pmirror {
    words: Vec<OsString>,
    roots: Option<(PathBuf, PathBuf)>,
    ranks: Ranks,
    launcher_options: Vec<OsString>,
    user: Option<(u32, u32)>,
    wrapper: Vec<OsString>,
    launched_by: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    state_dir: Option<PathBuf>,
    program_dir: Option<PathBuf>,
    working_dir: Option<PathBuf>,
    timeout: Duration,
    run_id: Option<String>,
}

impl Pmirror {
    /// `pmirror`, one rank, as whoever runs the tests.
    pub fn new() -> Pmirror {
        Pmirror {
            words: Vec::new(),
            roots: None,
            ranks: Ranks::One,
            launcher_options: Vec::new(),
            user: None,
            wrapper: Vec::new(),
            launched_by: Vec::new(),
            environment: Vec::new(),
            state_dir: None,
            program_dir: None,
            working_dir: None,
            timeout: TIMEOUT,
            run_id: None,
        }
    }

    /// `pmirror sync SOURCE TARGET`.
    pub fn sync(mut self, source: impl AsRef<Path>, target: impl AsRef<Path>) -> Pmirror {
        let (source, target) = (source.as_ref(), target.as_ref());
        self.words = ["sync".into(), source.into(), target.into()].to_vec();
        self.roots = Some((source.to_path_buf(), target.to_path_buf()));
        self
    }

    /// `pmirror cmp SOURCE TARGET`.
    pub fn cmp(self, source: impl AsRef<Path>, target: impl AsRef<Path>) -> Pmirror {
        let mut cmp = self.sync(source, target);
        cmp.words[0] = "cmp".into();
        cmp
    }

    /// `pmirror rm --target-only SOURCE TARGET`.
    pub fn rm(self, source: impl AsRef<Path>, target: impl AsRef<Path>) -> Pmirror {
        let mut rm = self.sync(source, target);
        rm.words.splice(0..1, ["rm".into(), "--target-only".into()]);
        rm
    }

    /// `pmirror rm --tree PATH`.
    pub fn rm_tree(mut self, path: impl AsRef<Path>) -> Pmirror {
        self.words = ["rm".into(), "--tree".into(), path.as_ref().into()].to_vec();
        self.roots = None;
        self
    }

    /// `pmirror mtimes SOURCE TARGET`.
    pub fn mtimes(self, source: impl AsRef<Path>, target: impl AsRef<Path>) -> Pmirror {
        let mut mtimes = self.sync(source, target);
        mtimes.words[0] = "mtimes".into();
        mtimes
    }

    /// `pmirror retry RUN`, where another run went from this source to this target.
    pub fn retry(self, source: impl AsRef<Path>, target: impl AsRef<Path>, run: impl AsRef<OsStr>) -> Pmirror {
        let mut retry = self.sync(source, target);
        retry.words = ["retry".into(), run.as_ref().to_os_string()].to_vec();
        retry
    }

    /// `pmirror resume RUN`, of this same command.
    pub fn resumed(mut self, run: impl AsRef<OsStr>) -> Pmirror {
        let run = run.as_ref().to_os_string();
        self.run_id = run.to_str().map(str::to_owned);
        self.words = ["resume".into(), run].to_vec();
        self
    }

    pub fn arg(mut self, word: impl AsRef<OsStr>) -> Pmirror {
        self.words.push(word.as_ref().to_os_string());
        self
    }

    /// These words in place of all others.
    pub fn words(mut self, words: &[&str]) -> Pmirror {
        self.words = words.iter().map(OsString::from).collect();
        self
    }

    pub fn args(self, words: &[&str]) -> Pmirror {
        words.iter().fold(self, Pmirror::arg)
    }

    pub fn ranks(mut self, ranks: Ranks) -> Pmirror {
        self.ranks = ranks;
        self
    }

    /// How many processes.
    pub fn rank_count(&self) -> u32 {
        match self.ranks {
            Ranks::One => 1,
            Ranks::Mpirun(ranks) | Ranks::Srun { tasks: ranks, .. } => ranks,
        }
    }

    /// One more option of mpirun or srun.
    pub fn launcher_option(mut self, word: &str) -> Pmirror {
        self.launcher_options.push(word.into());
        self
    }

    /// As an ordinary user, without any right of root.
    #[allow(clippy::wrong_self_convention)]
    pub fn as_user(mut self, user: (u32, u32)) -> Pmirror {
        self.user = Some(user);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Pmirror {
        self.environment.push((name.into(), value.as_ref().into()));
        self
    }

    /// Run by way of another command, which gets this one as its last words.
    pub fn wrapped_by(mut self, words: &[&str]) -> Pmirror {
        self.wrapper = words.iter().map(OsString::from).collect();
        self
    }

    /// The run gets SIGUSR1 so many seconds after it began, as Slurm sends it before the time is up. It needs a
    /// number for the run, and one process.
    pub fn stopped_after(self, seconds: &str) -> Pmirror {
        const STOP: &str = r#"begun=$1; seconds=$2; shift 2; "$@" & run=$!
            until [ -e "$begun" ] || ! kill -0 $run; do sleep 0.02; done
            sleep $seconds; kill -USR1 $run; wait $run"#;
        let run_dir = self.state_dir.as_ref().unwrap().join(self.run_id.as_ref().unwrap());
        let begun = run_dir.join("command.json");
        self.wrapped_by(&["sh", "-c", STOP, "sh", begun.to_str().unwrap(), seconds])
    }

    /// The launcher of the ranks is run by way of another command, which gets it as its last words.
    pub fn launched_by(mut self, words: &[&str]) -> Pmirror {
        self.launched_by = words.iter().map(OsString::from).collect();
        self
    }

    pub fn state_dir(mut self, path: impl AsRef<Path>) -> Pmirror {
        self.state_dir = Some(path.as_ref().to_path_buf());
        self
    }

    pub fn run_id(mut self, run_id: &str) -> Pmirror {
        self.run_id = Some(run_id.to_string());
        self
    }

    pub fn working_dir(mut self, path: impl AsRef<Path>) -> Pmirror {
        self.working_dir = Some(path.as_ref().to_path_buf());
        self
    }

    /// Where a copy of the program goes when its user may not read the original.
    pub fn copied_to(mut self, path: impl AsRef<Path>) -> Pmirror {
        self.program_dir = Some(path.as_ref().to_path_buf());
        self
    }

    pub fn timeout(mut self, timeout: Duration) -> Pmirror {
        self.timeout = timeout;
        self
    }

    /// Runs it to its end. Whatever it does, these must hold: the source is untouched (its access
    /// times too, unless the system lets only root keep them), nothing of ours is left on the
    /// target, the books balance.
    pub fn run(&self) -> Outcome {
        let Some((source, target)) = &self.roots else {
            let outcome = self.run_unchecked();
            outcome.assert_books_balance();
            return outcome;
        };
        let (before, mut known) = (Snapshot::take(source), Snapshot::paths(target));
        known.extend(before.entries.keys().cloned());
        let outcome = self.run_unchecked();
        outcome.context(|| {
            let after = Snapshot::take(source);
            match self.user {
                None => compare::assert_untouched(&before, &after, "the source was touched"),
                Some(_) => compare::assert_unwritten(&before, &after, "the source was written to"),
            }
            compare::assert_no_litter(&known, target);
        });
        outcome.assert_books_balance();
        outcome
    }

    /// Runs it to its end and judges nothing.
    pub fn run_unchecked(&self) -> Outcome {
        self.run_watched(Stdio::null(), |child| wait(child, self.timeout))
    }

    /// The same for a run that is killed meanwhile. mpirun of Open MPI 4.1 may hang for ever when a rank dies in
    /// MPI_Init: then it is killed, too.
    pub fn run_killed(&self) -> Outcome {
        let patience = Duration::from_secs(25);
        self.run_watched(Stdio::null(), |child| wait(child, patience).or(Some(128 + 9)))
    }

    /// The same; `watch` tells the exit code, or nothing when it had to be killed.
    pub fn run_watched(&self, stdin: Stdio, watch: impl FnOnce(Child) -> Option<i32>) -> Outcome {
        let run_id = self.run_id.clone().unwrap_or_else(fresh_run_id);
        let mut command = self.command(&run_id);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let shown: Vec<String> = words.map(|word| super::escaped(word.as_encoded_bytes())).collect();
        let shown = shown.join(" ");
        let (stdout, stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        command.stdin(stdin);
        command.stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap());
        let child = command.process_group(0).spawn();
        let child = child.unwrap_or_else(|error| panic!("start {shown}: {error}"));
        let code = watch(child);
        let run_dir = self.state_dir.as_ref().map(|state| state.join(&run_id));
        let outcome = Outcome::new(shown, code.unwrap_or(-1), all(stdout), all(stderr), run_dir);
        let (limit, in_time) = (self.timeout, code.is_some());
        outcome.context(|| assert!(in_time, "did not end within {limit:?}, so it was killed"));
        outcome
    }

    fn command(&self, run_id: &str) -> Command {
        let mut words = self.launched_by.clone();
        words.extend(self.launcher());
        words.extend(self.wrapper.iter().cloned());
        words.push(self.program().into_os_string());
        words.extend(self.words.iter().cloned());
        if let Some(state_dir) = &self.state_dir {
            words.extend(["--state-dir".into(), state_dir.clone().into_os_string()]);
            words.extend(["--run-id".into(), run_id.into()]);
        }
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        clear_launchers(&mut command);
        command.env("OMPI_ALLOW_RUN_AS_ROOT", "1");
        command.env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
        command.env("OMPI_MCA_mpi_yield_when_idle", "1");
        command.envs(self.environment.iter().cloned());
        command.current_dir(self.working_dir.as_deref().unwrap_or(Path::new("/")));
        command
    }

    fn launcher(&self) -> Vec<OsString> {
        let options = self.launcher_options.iter().cloned();
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let as_user = self.user.map_or_else(Vec::new, as_user);
        match self.ranks {
            Ranks::One => as_user,
            Ranks::Mpirun(ranks) => {
                super::needs::program("mpirun");
                let mpirun = words(&["mpirun", "--oversubscribe", "-n", &ranks.to_string()]);
                as_user.into_iter().chain(mpirun).chain(options).collect()
            }
            Ranks::Srun { nodes, tasks } => {
                let mut line = vec![super::needs::cluster().into_os_string(), "exec".into()];
                if self.user.is_some() {
                    line.extend(words(&["--as", "nobody"]));
                }
                let (nodes, tasks) = (format!("-N{nodes}"), format!("-n{tasks}"));
                line.extend(words(&["srun", &nodes, &tasks]));
                line.into_iter().chain(options).collect()
            }
        }
    }

    /// The program, or a copy that an ordinary user can reach.
    fn program(&self) -> PathBuf {
        let original = super::needs::pmirror();
        let (Some(_), Some(dir)) = (self.user, &self.program_dir) else {
            return original;
        };
        let copy = dir.join("pmirror");
        if !copy.exists() {
            // By another process: a thread that forks while we hold the copy open for writing
            // would make it busy.
            super::needs::run_ok(Command::new("install").args(["-m", "755"]).arg(&original).arg(&copy));
        }
        copy
    }
}

fn as_user((user, group): (u32, u32)) -> Vec<OsString> {
    super::needs::program("setpriv");
    let (user, group) = (format!("--reuid={user}"), format!("--regid={group}"));
    let words = ["setpriv", &user, &group, "--clear-groups"];
    words.map(OsString::from).to_vec()
}

/// The tests may run in a job themselves; the run under test must not see it.
fn clear_launchers(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().into_owned();
        if LAUNCHERS.iter().any(|prefix| text.starts_with(prefix)) && text != "SLURM_CONF" {
            command.env_remove(name);
        }
    }
}

fn fresh_run_id() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("test-{}-{number}", std::process::id())
}

fn all(mut file: File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// The exit code (128 + n for signal n), or nothing when it had to be killed.
fn wait(mut child: Child, timeout: Duration) -> Option<i32> {
    let (start, mut pause) = (Instant::now(), Duration::from_millis(1));
    while start.elapsed() < timeout {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().or(status.signal().map(|signal| 128 + signal));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
    kill(&mut child);
    None
}

/// mpirun and srun take their ranks along when they get SIGTERM; SIGKILL is for what is left.
fn kill(child: &mut Child) {
    use nix::sys::signal::{Signal, killpg};
    let group = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    let _ = killpg(group, Signal::SIGTERM);
    std::thread::sleep(Duration::from_secs(2));
    let _ = killpg(group, Signal::SIGKILL);
    let _ = child.wait();
}
