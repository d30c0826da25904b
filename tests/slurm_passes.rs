//! A migration as a site does it: copies while people work, then the chain of the downtime, by the batch
//! scripts, on a real cluster.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use support::batch::{PATIENCE, Settings, end_of, field, logs, on_login_node, script, submit, submit_dir};
use support::*;

const CHAIN: [&str; 4] = ["copy", "rm", "mtimes", "cmp"];

/// One whole migration after the other.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Submits the chain of the downtime, and gives the jobs with their passes.
fn submit_chain(pair: &Pair, settings: Settings<'_>) -> Vec<(String, String)> {
    let told = on_login_node(pair, settings, &[&script("final_passes.sh")]);
    let lines = told.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_digit()));
    let words = lines.map(|line| line.split_whitespace().take(2).map(str::to_string).collect::<Vec<_>>());
    words.map(|words| (words[0].clone(), words[1].clone())).collect()
}

/// A copy while people work.
fn copy_stage(pair: &Pair) {
    let job = submit(pair, "copy", &[("LIVE", "1")], &[], &[]);
    assert_eq!(end_of(pair, &job), "COMPLETED", "{}", logs(pair));
}

fn assert_chain_ends_well(pair: &Pair, settings: Settings<'_>, passes: &[&str]) {
    let chain = submit_chain(pair, settings);
    assert_eq!(chain.iter().map(|(_, pass)| pass.as_str()).collect::<Vec<_>>(), passes);
    for (job, pass) in &chain {
        assert_eq!(end_of(pair, job), "COMPLETED", "{pass}\n{}", logs(pair));
    }
    let last_lines = logs(pair).matches("exit code 0, done").count();
    assert!(last_lines >= passes.len(), "{}", logs(pair));
}

/// Of the chain's jobs only the first ones ran, and the last of these failed.
fn assert_chain_stops(pair: &Pair, chain: &[(String, String)], ran: usize) {
    let states: Vec<String> = chain.iter().map(|(job, _)| end_of(pair, job)).collect();
    let mut expected = vec!["COMPLETED"; ran - 1];
    expected.push("FAILED");
    expected.resize(CHAIN.len(), "CANCELLED");
    assert_eq!(states, expected, "{}", logs(pair));
    for (job, pass) in &chain[ran..] {
        let log = submit_dir(pair).join(format!("pmirror-{pass}-{job}.log"));
        assert!(!log.exists(), "the {pass} pass ran:\n{}", logs(pair));
    }
}

/// More ranks would starve each other on a small machine.
const FEW_RANKS: &str = "SBATCH_OPTIONS=(--ntasks-per-node=1)\n";

/// A source of all types, with a part for people to work in.
fn site(seed: u64) -> Pair {
    let pair = Pair::new();
    pair.beside().file("submit/settings.sh", FEW_RANKS);
    let source = pair.source();
    RandomTree::new(seed, 300).linked().build(&source);
    for index in 0..60 {
        source.file(format!("work/{}/{index}", index % 6), "old").mtime(1_000_000, index);
    }
    source.file("work/linked", "one inode").mtime(1_000_000, 0);
    source.hard_link("work/linked", "work/0/link");
    pair
}

/// What people do between two copies.
fn work(pair: &Pair, day: u32) {
    let source = pair.source();
    let base = source.path("work");
    source.file(format!("work/new-{day}/a"), format!("new on day {day}"));
    source.file(format!("work/1/{}", 6 * day + 1), format!("changed on day {day}"));
    std::fs::remove_file(base.join(format!("2/{}", 6 * day + 2))).unwrap();
    source.entry(format!("work/3/{}", 6 * day + 3)).rename(format!("renamed-{day}"));
    source.hard_link("work/linked", format!("work/4/link-{day}"));
    source.hard_link(format!("work/4/{}", 6 * day + 4), format!("work/linked-{day}"));
    if day == 1 {
        std::fs::rename(base.join("5"), base.join("moved")).unwrap();
    }
    if day == 2 {
        std::fs::remove_dir_all(base.join("new-1")).unwrap();
        // A name that was of several becomes an inode of its own.
        source.entry("work/0/link").unlink();
        source.file("work/0/link", "apart");
    }
}

fn assert_migrated(pair: &Pair) {
    rsync_finds_no_difference(pair.source_path(), pair.target_path());
    pair.assert_mirrored();
    assert_same_links(pair.source_path(), pair.target_path());
}

#[test]
fn three_copies_while_people_work_and_the_chain_leave_two_equal_trees() {
    let (_turn, pair) = (turn(), site(401));
    for day in 1..=3 {
        copy_stage(&pair);
        work(&pair, day);
    }
    assert_chain_ends_well(&pair, &[], &CHAIN);
    assert_migrated(&pair);
}

#[test]
fn one_walk_comes_to_the_same_end() {
    let (_turn, pair) = (turn(), site(402));
    for day in 1..=3 {
        copy_stage(&pair);
        work(&pair, day);
    }
    assert_chain_ends_well(&pair, &[("ONE_WALK", "1")], &["copy", "cmp"]);
    assert_migrated(&pair);
}

#[test]
fn of_a_chain_whose_copy_fails_nothing_else_runs() {
    let pair = site(403);
    pair.target().file("only here", "stays");
    let missing = pair.beside().path("missing").display().to_string();
    let chain = submit_chain(&pair, &[("SRC", &missing)]);
    assert_chain_stops(&pair, &chain, 1);
    assert_eq!(std::fs::read_to_string(pair.target().path("only here")).unwrap(), "stays");
}

#[test]
fn deletions_that_a_guard_refuses_end_the_chain_and_the_environment_weakens_no_guard() {
    let pair = site(404);
    pair.beside().file("submit/settings.sh", format!("GUARDS=(--max-delete 0)\n{FEW_RANKS}"));
    pair.target().file("only here", "stays");
    let environment = [("GUARDS", "--max-delete 100%"), ("RM_OPTIONS", "--max-delete 100%")];
    let chain = submit_chain(&pair, &environment);
    assert_chain_stops(&pair, &chain, 2);
    assert_eq!(std::fs::read_to_string(pair.target().path("only here")).unwrap(), "stays");
}

#[test]
fn differences_fail_the_job_of_the_comparison() {
    let pair = site(405);
    let job = submit(&pair, "cmp", &[], &[], &[]);
    assert_eq!(end_of(&pair, &job), "FAILED");
    assert!(logs(&pair).contains("exit code 26, the trees differ"), "{}", logs(&pair));
}

/// What the comment of a running job says, when it first says something of this kind.
fn comment_like(pair: &Pair, job: &str, is_wanted: impl Fn(&str) -> bool) -> String {
    let (started, mut seen) = (Instant::now(), Vec::new());
    while started.elapsed() < PATIENCE {
        let comment = on_login_node(pair, &[], &["squeue", "-h", "-t", "all", "-j", job, "-o", "%T %k"]);
        if let Some(comment) = comment.trim().strip_prefix("RUNNING ").filter(|comment| is_wanted(comment)) {
            return comment.to_string();
        }
        let is_over = !comment.contains("RUNNING") && !comment.contains("PENDING");
        seen.push(comment);
        assert!(!is_over, "the job ended, and its comments were {seen:?}\n{}", logs(pair));
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("the comments were {seen:?}");
}

/// `61 % 1.2 PB ETA 02:40`.
fn tells_share_and_end(comment: &str) -> bool {
    let words: Vec<&str> = comment.split(' ').collect();
    let [percent, "%", size, unit, "ETA", time] = words[..] else { return false };
    percent.parse::<u32>().is_ok_and(|percent| percent < 100)
        && size.parse::<f64>().is_ok()
        && unit.ends_with('B')
        && time.split_once(':').is_some_and(|(hours, minutes)| hours.len() == 2 && minutes.len() == 2)
}

#[test]
fn the_comment_of_a_running_job_tells_how_far_it_is() {
    let pair = Pair::new();
    for index in 0..64 {
        pair.source().file(format!("{index}"), [7; 128 << 10]);
    }
    // The first run knows no total, the second has that of the first.
    pair.sync().run().exits(0);
    for index in 0..64 {
        pair.target().entry(format!("{index}")).unlink();
    }
    let job = submit(&pair, "copy", &[("COMMENT_SECONDS", "1")], &[], &["--bwlimit=1M", "--progress=1"]);
    comment_like(&pair, &job, tells_share_and_end);
    assert_eq!(end_of(&pair, &job), "COMPLETED", "{}", logs(&pair));
    let left = on_login_node(&pair, &[], &["scontrol", "show", "job", &job]);
    assert!(left.contains("Comment=exit code 0, done"), "{left}");
}

#[test]
fn a_comment_that_the_job_was_given_stays() {
    let pair = Pair::new();
    let job = submit(&pair, "copy", &[("COMMENT_SECONDS", "1")], &["--comment=mine"], &[]);
    assert_eq!(end_of(&pair, &job), "COMPLETED", "{}", logs(&pair));
    assert_eq!(field(&pair, &job, "Comment"), "mine");
}

/// scrontab has the script run where it lies, by a job without any of its #SBATCH lines.
#[test]
fn the_copy_runs_as_the_example_for_scrontab_has_it_run() {
    let pair = site(407);
    let example = std::fs::read_to_string(needs::repository_file("slurm/scrontab.example")).unwrap();
    let lines = example.lines().filter_map(|line| line.strip_prefix("#SCRON "));
    let cluster_options = lines.filter(|line| !line.contains("/shared/") && !line.starts_with("--cpus"));
    let line = example.lines().last().unwrap();
    let command = line
        .strip_prefix("0 22 * * * ")
        .unwrap()
        .replace("/shared/pmirror/slurm/copy_pass.sh", &script("copy_pass.sh"));
    let mut words = vec!["sbatch", "--parsable", "--wrap", &command];
    words.extend(cluster_options);
    let jobs: Vec<String> = (0..2).map(|_| on_login_node(&pair, &[], &words).trim().to_string()).collect();
    for job in &jobs {
        assert_eq!(end_of(&pair, job), "COMPLETED", "{}", logs(&pair));
    }
    let (first_end, second_start) = (field(&pair, &jobs[0], "EndTime"), field(&pair, &jobs[1], "StartTime"));
    assert!(first_end <= second_start, "two copies at once: {first_end}, {second_start}");
    assert!(pair.target().path("work/1/1").is_file());
}

#[test]
fn the_chain_keeps_to_the_trees_of_its_submission() {
    let pair = site(406);
    pair.beside().file("submit/settings.sh", "SBATCH_OPTIONS=(--begin=now+2seconds --ntasks-per-node=1)\n");
    let chain = submit_chain(&pair, &[("ONE_WALK", "1")]);
    pair.beside().file("submit/settings.sh", "SRC=/no/such/source DST=/no/such/target\n");
    for (job, pass) in &chain {
        assert_eq!(end_of(&pair, job), "COMPLETED", "{pass}\n{}", logs(&pair));
    }
    assert_migrated(&pair);
}
