//! After an unclean end nothing unflushed is believed: files that the dead run wrote are compared by content,
//! whatever their size and time say, and no others.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::time::Duration;
use support::*;

/// The run is killed when all is written, and nothing flushed.
const KILLED_BEFORE_FLUSH: &[&str] =
    &["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=syncfs", "-e", "inject=syncfs:signal=KILL"];
/// The flush of the run fails.
const FLUSH_FAILS: &[&str] =
    &["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=syncfs", "-e", "inject=syncfs:error=EIO"];

const CONTENT: &str = "what it should be";
const LOST: &str = "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// No clock is off in these tests, so that no second need be waited for.
fn exact(run: Pmirror) -> Pmirror {
    run.arg("--clock-skew=0")
}

fn pair_with(names: &[&str]) -> Pair {
    let pair = Pair::new();
    names.iter().for_each(|name| drop(pair.source().file(name, CONTENT)));
    pair
}

fn killed(pair: &Pair) {
    exact(pair.sync()).wrapped_by(KILLED_BEFORE_FLUSH).run_unchecked().exits(137);
    assert!(pair.target_now().has(".pmirror/lock"));
}

/// What a power cut leaves of a file that was not flushed: its size and its times, and not its content.
fn lose(pair: &Pair, name: &str, content: &str) {
    let (seconds, nanoseconds) = pair.target_now().at(name).mtime();
    pair.target().entry(name).content(content);
    pair.target().entry(name).mtime(seconds, nanoseconds);
}

fn compared(run: &Outcome) -> u64 {
    run.number("/bytes/compared")
}

#[test]
fn a_file_that_a_dead_run_wrote_and_that_lost_its_content_is_copied_again() {
    let pair = pair_with(&["lost", "right"]);
    killed(&pair);
    lose(&pair, "lost", LOST);
    let next = exact(pair.sync()).run_unchecked().exits(0);
    next.counts("file", &[("same", 1), ("updated", 1)]);
    assert!(String::from_utf8_lossy(&next.stderr).contains("did not end well"));
    pair.assert_mirrored();
    assert!(!pair.target_now().has(".pmirror"));
}

#[test]
fn it_is_the_target_that_tells_and_no_state_directory() {
    let pair = pair_with(&["lost"]);
    killed(&pair);
    lose(&pair, "lost", LOST);
    exact(pair.sync()).state_dir(pair.top_path().join("elsewhere")).run_unchecked().exits(0);
    pair.assert_mirrored();
}

#[test]
fn what_was_there_before_the_dead_run_is_not_read() {
    let pair = pair_with(&["old"]);
    exact(pair.sync()).run().exits(0);
    std::thread::sleep(Duration::from_millis(50));
    pair.source().file("new", "a content of 23 bytes..");
    killed(&pair);
    let next = exact(pair.sync()).run_unchecked().exits(0);
    assert_eq!(compared(&next), 23);
    assert_eq!(compared(&exact(pair.sync()).run().exits(0)), 0, "after a clean run nothing is doubted");
}

#[test]
fn equal_content_stays_as_it_is() {
    let pair = pair_with(&["a", "b/c"]);
    killed(&pair);
    let before = pair.target_now();
    let next = exact(pair.sync()).run_unchecked().exits(0);
    next.counts("file", &[("same", 2)]);
    assert_eq!(compared(&next), 2 * CONTENT.len() as u64);
    for name in ["a", "b/c"] {
        assert_eq!(pair.target_now().at(name).identity(), before.at(name).identity(), "{name}");
    }
}

#[test]
fn metadata_of_a_doubted_file_are_repaired_without_a_copy() {
    let pair = pair_with(&["a"]);
    killed(&pair);
    pair.target().entry("a").mode(0o600);
    pair.source().entry("a").mode(0o640);
    let next = exact(pair.sync()).run_unchecked().exits(0);
    next.counts("file", &[("metadata_only", 1)]);
    pair.assert_mirrored();
}

#[test]
fn a_run_that_does_not_look_everywhere_leaves_the_doubt_to_the_next() {
    let pair = pair_with(&["lost", "other"]);
    killed(&pair);
    ["lost", "other"].iter().for_each(|name| lose(&pair, name, LOST));
    for option in ["--exclude=lost", "--max-size=1"] {
        exact(pair.sync()).arg(option).run_unchecked().exits(0);
    }
    pair.mtimes().run_unchecked().exits(0);
    pair.rm().run_unchecked().exits(0);
    exact(pair.sync()).run_unchecked().exits(0).counts("file", &[("same", 1), ("updated", 1)]);
    pair.assert_mirrored();
    assert!(!pair.target_now().has(".pmirror"));
}

#[test]
fn what_a_run_wrote_and_flushed_is_believed_though_an_older_doubt_is_carried_on() {
    let pair = pair_with(&["of-the-dead"]);
    killed(&pair);
    std::thread::sleep(Duration::from_millis(50));
    pair.source().file("later", "flushed");
    exact(pair.sync()).arg("--exclude=of-the-dead").run_unchecked().exits(0);
    let next = exact(pair.sync()).run_unchecked().exits(0);
    assert_eq!(compared(&next), CONTENT.len() as u64);
}

#[test]
fn the_doubts_of_two_dead_runs_add_up() {
    let pair = pair_with(&["first"]);
    killed(&pair);
    pair.source().file("second", CONTENT);
    killed(&pair);
    ["first", "second"].iter().for_each(|name| lose(&pair, name, LOST));
    exact(pair.sync()).run_unchecked().exits(0).counts("file", &[("updated", 2)]);
    pair.assert_mirrored();
}

#[test]
fn a_run_that_could_not_compare_a_file_leaves_the_doubt_to_the_next() {
    let pair = pair_with(&["lost"]);
    killed(&pair);
    lose(&pair, "lost", LOST);
    let path = pair.target_path().join("lost");
    let unreadable = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", path.to_str().unwrap(), "-e"];
    let unreadable = [&unreadable[..], &["inject=pread64,read,openat:error=EIO"]].concat();
    exact(pair.sync()).wrapped_by(&unreadable).run_unchecked().exits(23);
    exact(pair.sync()).run_unchecked().exits(0).counts("file", &[("updated", 1)]);
    pair.assert_mirrored();
}

#[test]
fn a_large_file_is_compared_and_copied_in_chunks_by_all_ranks() {
    let pair = Pair::new();
    let content: Vec<u8> = (0..4_000_000_u32).map(|byte| (byte % 251) as u8).collect();
    pair.source().file("large", &content);
    let sync = || exact(pair.sync()).arg("--chunk-size=256K").ranks(Ranks::Mpirun(2));
    let killed = sync().wrapped_by(KILLED_BEFORE_FLUSH).run_unchecked();
    assert_ne!(killed.code, 0);
    let (seconds, nanoseconds) = pair.source_now().at("large").mtime();
    assert_eq!(pair.target_now().at("large").mtime(), (seconds, nanoseconds), "it was finished before the end");
    let mut torn = content;
    torn[3_500_000..3_504_096].fill(0);
    pair.target().entry("large").content(&torn);
    pair.target().entry("large").mtime(seconds, nanoseconds);
    let next = sync().run_unchecked().exits(0);
    next.counts("file", &[("updated", 1)]);
    assert!(compared(&next) > 0);
    pair.assert_mirrored();
}

#[test]
fn all_names_of_an_inode_that_lost_its_content_get_it_back() {
    let pair = pair_with(&["a"]);
    pair.source().hard_link("a", "b");
    killed(&pair);
    lose(&pair, "b", LOST);
    exact(pair.sync()).run_unchecked().exits(0);
    pair.assert_mirrored();
    assert_same_links(pair.source_path(), pair.target_path());
}

#[test]
fn by_size_alone_and_without_times_a_doubted_file_is_compared_too() {
    for option in ["--size-only", "--no-times", "-u", "--modify-window=1"] {
        let pair = pair_with(&["lost"]);
        exact(pair.sync()).arg(option).wrapped_by(KILLED_BEFORE_FLUSH).run_unchecked().exits(137);
        lose(&pair, "lost", LOST);
        exact(pair.sync()).arg(option).run_unchecked().exits(0).counts("file", &[("updated", 1)]);
    }
}

fn assert_flush_failed(run: &Outcome) {
    let said = run.summary()["error"].as_str().unwrap_or_default().to_owned();
    run.context(|| assert!(run.code == 11 && said.contains("may be lost: syncfs"), "{said}"));
}

#[test]
fn a_flush_that_fails_is_fatal_and_the_next_run_believes_nothing_of_it() {
    let pair = pair_with(&["lost"]);
    assert_flush_failed(&exact(pair.sync()).wrapped_by(FLUSH_FAILS).run_unchecked());
    lose(&pair, "lost", LOST);
    exact(pair.sync()).run_unchecked().exits(0).counts("file", &[("updated", 1)]);
    pair.assert_mirrored();
    assert!(!pair.target_now().has(".pmirror"));
}

#[test]
fn no_command_says_that_it_is_done_when_its_flush_failed() {
    let pair = pair_with(&["a"]);
    pair.target().file("only-here", "x");
    pair.beside().dir("tree");
    let rm_tree = Pmirror::new().rm_tree(pair.top_path().join("tree")).state_dir(pair.state_path());
    let commands = [pair.rm(), pair.mtimes(), rm_tree];
    for command in commands {
        assert_flush_failed(&command.wrapped_by(FLUSH_FAILS).run_unchecked());
    }
}

#[test]
fn a_dry_run_and_a_comparison_believe_as_before() {
    let pair = pair_with(&["a"]);
    killed(&pair);
    // The root has not got its time yet.
    for (run, code) in [(exact(pair.sync()).arg("-n"), 0), (pair.cmp(), 26)] {
        assert_eq!(compared(&run.run_unchecked().exits(code)), 0);
    }
}
