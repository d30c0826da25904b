//! The real thing: four nodes of Slurm, `srun` and `sbatch`, as root and as an ordinary user.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use support::compare::assert_unwritten;
use support::outcome::second_run_changes_nothing;
use support::*;

const SIXTEEN: Ranks = Ranks::Srun { nodes: 4, tasks: 16 };
const FOUR: Ranks = Ranks::Srun { nodes: 4, tasks: 4 };
const PATIENCE: Duration = Duration::from_secs(120);

/// One job after the other: more ranks than these starve each other on a small machine.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn random_pair(seed: u64) -> Pair {
    let pair = Pair::new();
    RandomTree::new(seed, 600).build(&pair.source());
    pair
}

/// A source of which nobody may read all and keep all.
fn nobodys_pair() -> Pair {
    let pair = Pair::new();
    let tree = pair.source();
    for index in 0..200 {
        let path = format!("{}/{index}", index % 13);
        tree.file(&path, &path).owner(NOBODY.0, NOBODY.1).mtime(1_000, index);
        tree.entry(format!("{}", index % 13)).owner(NOBODY.0, NOBODY.1);
    }
    tree.root().owner(NOBODY.0, NOBODY.1);
    pair.give_to(NOBODY);
    pair
}

#[test]
fn sixteen_ranks_on_four_nodes_mirror_a_tree() {
    let (_turn, pair) = (turn(), random_pair(301));
    let sync = pair.sync().ranks(SIXTEEN).timeout(PATIENCE);
    let run = sync.run().exits(0);
    pair.assert_mirrored();
    rsync_finds_no_difference(pair.source_path(), pair.target_path());
    second_run_changes_nothing(&pair, &sync, 0);
    let ranks = run.summary()["ranks"].as_array().expect("a list of ranks").clone();
    let hosts: BTreeSet<String> = ranks.iter().map(|rank| rank["host"].to_string()).collect();
    assert_eq!((ranks.len(), hosts.len()), (16, 4), "{hosts:?}");
    assert!(!run.summary()["slurm"]["job_id"].is_null());
}

#[test]
fn an_ordinary_user_mirrors_on_four_nodes() {
    let (_turn, pair) = (turn(), nobodys_pair());
    let sync = pair.sync().ranks(SIXTEEN).as_user(NOBODY).timeout(PATIENCE);
    sync.run().exits(0);
    pair.assert_mirrored();
    second_run_changes_nothing(&pair, &sync, 0);
}

#[test]
fn hard_links_across_nodes_are_kept() {
    let (_turn, pair) = (turn(), Pair::new());
    let random = RandomTree::new(302, 600).linked();
    random.build(&pair.source());
    let sync = pair.sync().ranks(SIXTEEN).timeout(PATIENCE);
    sync.run().exits(0);
    pair.assert_mirrored();
    assert_same_links(pair.source_path(), pair.target_path());
    second_run_changes_nothing(&pair, &sync, 0);
}

#[test]
fn failed_entries_give_srun_the_exit_code_23() {
    let (_turn, pair) = (turn(), Pair::new());
    pair.source().file("conflict", "");
    pair.source().file("other", "");
    pair.target().file("conflict/kept", "");
    let run = pair.sync().ranks(FOUR).timeout(PATIENCE).run().exits(23);
    assert_eq!(run.faults_of("conflict").len(), 1);
}

#[test]
fn without_pmi_every_task_would_mirror_the_whole_tree_so_it_is_refused() {
    let (_turn, pair) = (turn(), random_pair(303));
    let before = pair.target_now();
    let sync = pair.sync().ranks(FOUR).launcher_option("--mpi=none");
    sync.run_unchecked().refuses(1, &["--mpi=pmix"]);
    assert_unwritten(&before, &pair.target_now(), "the target was written to");
}

/// A node on which an empty directory is mounted over a path, until this is dropped.
struct Unlike<'a> {
    node: &'a str,
    path: PathBuf,
}

impl Unlike<'_> {
    fn new<'a>(node: &'a str, pair: &Pair, path: PathBuf) -> Unlike<'a> {
        pair.beside().dir("empty");
        let mut mount = Command::new(needs::cluster());
        mount.args(["on", node, "mount", "--bind"]);
        needs::run_ok(mount.arg(pair.beside().path("empty")).arg(&path));
        Unlike { node, path }
    }
}

impl Drop for Unlike<'_> {
    fn drop(&mut self) {
        let mut unmount = Command::new(needs::cluster());
        let _ = unmount.args(["on", self.node, "umount"]).arg(&self.path).status();
    }
}

#[test]
fn a_node_without_the_source_is_named_and_nothing_is_written() {
    let (_turn, pair) = (turn(), random_pair(304));
    let before = pair.target_now();
    let _unlike = Unlike::new("n3", &pair, pair.source_path());
    let run = pair.sync().ranks(FOUR).timeout(PATIENCE).run_unchecked();
    run.refuses(3, &["n3", &pair.source_path().display().to_string()]);
    compare::assert_same_but(&before, &pair.target_now(), &["mtime"]);
}

#[test]
fn a_node_without_the_target_is_named_and_nothing_is_written() {
    let (_turn, pair) = (turn(), random_pair(305));
    let before = pair.target_now();
    let _unlike = Unlike::new("n2", &pair, pair.target_path());
    let run = pair.sync().ranks(FOUR).timeout(PATIENCE).run_unchecked();
    run.refuses(3, &["n2", &pair.target_path().display().to_string()]);
    compare::assert_same_but(&before, &pair.target_now(), &["mtime"]);
    let seen_there = Snapshot::take(pair.beside().path("empty"));
    assert_eq!(seen_there.entries.len(), 1, "written where the node had another directory");
}

/// What `sbatch --wait slurm/copy_pass.sh` ended with, and its log.
struct Batch {
    output: Output,
    log: String,
}

impl Batch {
    /// Submits the script from a directory of its own, with these settings in the environment.
    fn submit(pair: &Pair, user: Option<&str>, settings: &[(&str, &Path)]) -> Batch {
        let submit = pair.beside().path("submit");
        std::fs::create_dir_all(&submit).unwrap();
        std::fs::set_permissions(&submit, PermissionsExt::from_mode(0o777)).unwrap();
        let mut sbatch = Command::new(needs::cluster());
        sbatch.arg("exec");
        sbatch.args(user.map_or_else(Vec::new, |user| vec!["--as", user]));
        sbatch.args(["sbatch", "--wait"]).arg(needs::repository_file("slurm/copy_pass.sh"));
        for name in ["LIVE", "OPTIONS", "MODULES", "THREADS", "PMIRROR_SETTINGS"] {
            sbatch.env_remove(name);
        }
        sbatch.env("SRC", pair.source_path()).env("DST", pair.target_path());
        sbatch.env("REQUEUE", "0").env("STATE_DIR", pair.state_path()).env("PMIRROR", needs::pmirror());
        sbatch.envs(settings.iter().copied());
        let output = sbatch.current_dir(&submit).output().unwrap();
        Batch { output, log: only_file_of(&submit) }
    }

    fn exits(self, code: i32) -> Batch {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = text(&self.output.stdout) + &text(&self.output.stderr);
        assert_eq!(self.output.status.code(), Some(code), "{said}\n--- log\n{}", self.log);
        self
    }
}

fn only_file_of(dir: &Path) -> String {
    let files: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "one log was expected: {files:?}");
    std::fs::read_to_string(&files[0]).unwrap()
}

#[test]
fn the_batch_script_mirrors_a_tree_and_keeps_a_log_and_a_summary() {
    let (_turn, pair) = (turn(), random_pair(306));
    let batch = Batch::submit(&pair, None, &[]).exits(0);
    pair.assert_mirrored();
    rsync_finds_no_difference(pair.source_path(), pair.target_path());
    assert!(batch.log.contains("exit code 0"), "{}", batch.log);
    let submitted = String::from_utf8_lossy(&batch.output.stdout).into_owned();
    let job = submitted.split_whitespace().last().expect("the job's number").to_string();
    let summary = pair.state_path().join(format!("copy-{job}/summary.json"));
    let summary = std::fs::read_to_string(&summary).unwrap_or_else(|_| panic!("no {summary:?}"));
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    let job_id = summary["slurm"]["job_id"].to_string();
    assert_eq!(job_id.trim_matches('"'), job);
    assert_eq!(summary["ranks"].as_array().map(Vec::len), Some(16));
}

#[test]
fn the_batch_script_works_for_an_ordinary_user() {
    let (_turn, pair) = (turn(), nobodys_pair());
    let program = pair.beside().path("pmirror");
    needs::run_ok(Command::new("install").args(["-m", "755"]).arg(needs::pmirror()).arg(&program));
    let script = needs::repository_file("slurm/copy_pass.sh");
    assert!(script.metadata().unwrap().permissions().mode() & 0o004 != 0);
    Batch::submit(&pair, Some("nobody"), &[("PMIRROR", &program)]).exits(0);
    pair.assert_mirrored();
}

/// Submits the script with a program that only ends with `code`; the job must end with `expected`.
fn batch_of_a_program_that_ends(code: i32, live: &str, expected: i32) -> Batch {
    let pair = Pair::new();
    // As the ranks of pmirror do: none ends before all have begun, and none is ended by Slurm's SIGTERM.
    pair.beside().file("fake", format!("#!/bin/sh\ntrap '' TERM\nsleep 3\nexit {code}\n")).mode(0o755);
    let program = pair.beside().path("fake");
    Batch::submit(&pair, None, &[("PMIRROR", &program), ("LIVE", Path::new(live))]).exits(expected)
}

/// All at once, for sbatch --wait looks only every ten seconds.
#[test]
fn the_batch_script_passes_every_exit_code_on_but_24_of_a_live_source() {
    std::thread::scope(|scope| {
        for code in [1, 3, 11, 20, 23, 70, 75] {
            scope.spawn(move || batch_of_a_program_that_ends(code, "1", code));
        }
        scope.spawn(|| batch_of_a_program_that_ends(24, "0", 24));
        let batch = scope.spawn(|| batch_of_a_program_that_ends(24, "1", 0)).join().unwrap();
        assert!(batch.log.contains("24") && batch.log.contains("LIVE"), "{}", batch.log);
    });
}

#[test]
fn the_batch_script_says_which_setting_is_missing() {
    let pair = Pair::new();
    let batch = Batch::submit(&pair, None, &[("SRC", Path::new(""))]).exits(1);
    assert!(batch.log.contains("SRC"), "{}", batch.log);
}

#[test]
fn a_batch_job_that_forgets_srun_runs_as_one_rank_and_is_warned() {
    let (_turn, pair) = (turn(), random_pair(307));
    let state = pair.state_path();
    let line = [pair.source_path(), pair.target_path(), state.clone()];
    let [source, target, state] = line.map(|path| path.display().to_string());
    let pmirror = needs::pmirror();
    let script = format!("{} sync {source} {target} --state-dir {state} --run-id alone", pmirror.display());
    let mut sbatch = Command::new(needs::cluster());
    sbatch.args(["exec", "sbatch", "--wait", "-N2", "-n4", "--output=log", "--wrap", &script]);
    needs::run_ok(sbatch.current_dir(pair.state_path()));
    pair.assert_mirrored();
    let log = std::fs::read_to_string(pair.state_path().join("log")).unwrap();
    assert!(log.contains("srun"), "no warning that 3 tasks of the job are idle:\n{log}");
}
