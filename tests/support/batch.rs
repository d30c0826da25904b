//! Batch jobs of the scripts in slurm/, on the cluster of the tests.

use super::{Pair, needs};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

pub const PATIENCE: Duration = Duration::from_secs(120);

/// Settings by name, as the environment has them.
pub type Settings<'s> = &'s [(&'s str, &'s str)];

/// Runs a command where jobs are submitted, and gives what it printed.
pub fn on_login_node(pair: &Pair, settings: Settings<'_>, words: &[&str]) -> String {
    let mut command = Command::new(needs::cluster());
    for name in [
        "LIVE",
        "MODULES",
        "THREADS",
        "MPI_TYPE",
        "MAIL_TO",
        "ONE_WALK",
        "REQUEUE",
        "REQUEUES_MAX",
        "PMIRROR_SETTINGS",
        "PMIRROR_SLURM_DIR",
    ] {
        command.env_remove(name);
    }
    command.env("SRC", pair.source_path()).env("DST", pair.target_path());
    command.env("STATE_DIR", pair.state_path()).env("PMIRROR", needs::pmirror());
    command.envs(settings.iter().copied()).arg("exec").args(words);
    needs::run_ok(command.current_dir(submit_dir(pair)))
}

pub fn submit_dir(pair: &Pair) -> PathBuf {
    pair.beside().dir("submit");
    pair.beside().path("submit")
}

pub fn script(name: &str) -> String {
    needs::repository_file(&format!("slurm/{name}")).display().to_string()
}

/// Submits a pass; four ranks are enough here.
pub fn submit(pair: &Pair, pass: &str, settings: Settings<'_>, sbatch: &[&str], options: &[&str]) -> String {
    let script = script(&format!("{pass}_pass.sh"));
    let words = [&["sbatch", "--parsable", "--ntasks-per-node=1"], sbatch, &[&script], options].concat();
    on_login_node(pair, settings, &words).trim().to_string()
}

/// A field of what Slurm knows of a job.
pub fn field(pair: &Pair, job: &str, name: &str) -> String {
    let told = on_login_node(pair, &[], &["scontrol", "show", "job", job]);
    let start = format!("{name}=");
    let value = told.split(['\n', ' ']).find_map(|word| word.strip_prefix(start.as_str()));
    value.unwrap_or_else(|| panic!("no {name} in {told}")).to_string()
}

/// Waits for the end of a job, and gives its last state.
pub fn end_of(pair: &Pair, job: &str) -> String {
    let started = Instant::now();
    loop {
        let state = field(pair, job, "JobState");
        if !["PENDING", "RUNNING", "COMPLETING"].contains(&state.as_str()) {
            return state;
        }
        assert!(started.elapsed() < PATIENCE, "job {job} is {state}\n{}", logs(pair));
        std::thread::sleep(Duration::from_millis(200));
    }
}

pub fn logs(pair: &Pair) -> String {
    let read = |path: &PathBuf| format!("--- {}\n{}\n", path.display(), std::fs::read_to_string(path).unwrap());
    log_files(pair)
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "log" || end == "out"))
        .map(read)
        .collect()
}

pub fn log_files(pair: &Pair) -> Vec<PathBuf> {
    std::fs::read_dir(submit_dir(pair)).unwrap().map(|file| file.unwrap().path()).collect()
}
