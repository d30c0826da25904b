//! Jobs that go back into the queue by themselves: their time was up, or a rank died. On a real cluster, by the
//! batch scripts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::batch::{PATIENCE, Settings, end_of, field, logs, on_login_node, submit};
use support::*;

/// One thread a rank, which `--ops-limit` holds back evenly.
const ONE_THREAD: Settings<'static> = &[("THREADS", "1"), ("COMMENT_SECONDS", "1")];

/// The shortest limit that Slurm knows is a minute: all of it but some seconds is kept for the end. Slurm's own
/// signal, which comes up to a minute early, would come at once.
const ONE_MINUTE: &[&str] = &["--time=1", "--signal=USR1@1"];

fn tree(files: usize) -> Pair {
    let pair = Pair::new();
    for index in 0..files {
        pair.source()
            .file(format!("d{}/{index}", index % 40), format!("content {index}"))
            .mtime(1_000, u32::try_from(index).unwrap());
    }
    pair
}

fn run_directory(pair: &Pair, pass: &str, job: &str) -> PathBuf {
    pair.state_path().join(format!("{pass}-{job}"))
}

fn summary(pair: &Pair, pass: &str, job: &str) -> serde_json::Value {
    let text = std::fs::read_to_string(run_directory(pair, pass, job).join("summary.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The lines of RUN/requeues: the code and the verdict of each attempt.
fn record(pair: &Pair, pass: &str, job: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(run_directory(pair, pass, job).join("requeues")).unwrap_or_default();
    let words = text.lines().map(|line| line.split(' ').map(str::to_string).collect::<Vec<_>>());
    words.map(|words| (words[2].clone(), words[6].clone())).collect()
}

fn restarts(pair: &Pair, job: &str) -> u32 {
    field(pair, job, "Restarts").parse().unwrap()
}

fn wait_for(pair: &Pair, what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "{what} never came\n{}", logs(pair));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn copied(pair: &Pair) -> usize {
    pair.target_now().entries.values().filter(|seen| seen.kind() == "file").count()
}

/// The ranks of the run on this pair.
fn ranks_of(target: &Path) -> Vec<nix::unistd::Pid> {
    let is_rank = |process: &Path| {
        let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
        let program = std::fs::read_link(process.join("exe")).unwrap_or_default();
        let names_target =
            line.split(|&byte| byte == 0).any(|word| Path::new(&*String::from_utf8_lossy(word)) == target);
        program.ends_with("pmirror") && names_target
    };
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok).map(|entry| entry.path());
    let number =
        |process: &PathBuf| process.file_name().unwrap().to_str().unwrap().parse().map(nix::unistd::Pid::from_raw);
    processes.filter(|process| is_rank(process)).filter_map(|process| number(&process).ok()).collect()
}

#[test]
fn a_time_limit_far_too_short_finishes_a_tree_over_several_requeues() {
    let pair = tree(840);
    let options = ["--ops-limit=60/s", "--grace=53s"];
    let job = submit(&pair, "copy", ONE_THREAD, ONE_MINUTE, &options);
    // What runs only after it waits for the last attempt.
    let after = format!("--dependency=afterok:{job}");
    let cmp = submit(&pair, "cmp", ONE_THREAD, &[&after, "--kill-on-invalid-dep=yes"], &[]);
    assert_eq!(end_of(&pair, &job), "COMPLETED", "{}", logs(&pair));
    let requeues = record(&pair, "copy", &job);
    assert!(requeues.len() >= 2, "{requeues:?}\n{}", logs(&pair));
    assert!(requeues.iter().all(|(code, verdict)| code == "75" && verdict == "on"), "{requeues:?}");
    assert_eq!(restarts(&pair, &job) as usize, requeues.len());
    let summary = summary(&pair, "copy", &job);
    assert_eq!(summary["entries"]["file"]["created"], 840, "the books of all attempts");
    assert_eq!(summary["attempt"], requeues.len() as u64 + 1);
    assert_eq!(summary["slurm"]["job_id"].to_string().trim_matches('"'), job);
    let comment = field(&pair, &job, "Comment");
    assert!(comment.starts_with("exit"), "the comment stayed ours: {comment}");
    assert_eq!(end_of(&pair, &cmp), "COMPLETED", "{}", logs(&pair));
    pair.assert_mirrored();
}

#[test]
fn a_job_whose_rank_is_killed_goes_on_and_comes_to_its_end() {
    let pair = tree(400);
    let job = submit(&pair, "copy", ONE_THREAD, &[], &["--ops-limit=100/s", "--checkpoint-interval=1s"]);
    let manifest = run_directory(&pair, "copy", &job).join("checkpoint/manifest");
    wait_for(&pair, "a checkpoint", || manifest.exists() && copied(&pair) > 50);
    nix::sys::signal::kill(ranks_of(&pair.target_path())[1], nix::sys::signal::Signal::SIGKILL).unwrap();
    assert_eq!(end_of(&pair, &job), "COMPLETED", "{}", logs(&pair));
    assert_eq!(record(&pair, "copy", &job), [("137".to_string(), "on".to_string())], "{}", logs(&pair));
    let summary = summary(&pair, "copy", &job);
    assert_eq!(summary["entries"]["file"]["seen"], 400);
    assert_eq!(summary["attempt"], 2);
    // What the dead attempt left is swept by the next run that looks everywhere.
    pair.sync().run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn a_run_that_gets_nowhere_twice_in_a_row_is_left_alone() {
    let pair = tree(10);
    // As the ranks of pmirror do: none ends before all have begun.
    pair.beside().file("fake", "#!/bin/sh\ntrap '' TERM\nsleep 2\nkill -KILL $$\n").mode(0o755);
    let program = pair.beside().path("fake").display().to_string();
    let job = submit(&pair, "copy", &[("PMIRROR", &program)], &[], &[]);
    assert_eq!(end_of(&pair, &job), "FAILED", "{}", logs(&pair));
    assert_eq!((restarts(&pair, &job), field(&pair, &job, "ExitCode")), (1, "137:0".to_string()), "{}", logs(&pair));
    let log = logs(&pair);
    assert!(log.contains("two attempts in a row got nowhere") && log.contains("submit it again"), "{log}");
}

#[test]
fn a_cancelled_job_stays_cancelled() {
    let pair = tree(400);
    let job = submit(&pair, "copy", ONE_THREAD, &[], &["--ops-limit=50/s"]);
    wait_for(&pair, "a file", || copied(&pair) > 5);
    on_login_node(&pair, &[], &["scancel", &job]);
    assert_eq!(end_of(&pair, &job), "CANCELLED", "{}", logs(&pair));
    assert_eq!(restarts(&pair, &job), 0);
}
