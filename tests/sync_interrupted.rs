//! Runs that do not end by themselves: stopped, met by another, or killed (more of that in sync_killed.rs). What
//! was there stays until the new is complete, and the same command goes on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::*;

/// Slows every write down, so that a run of a few files takes long enough to be met in the middle.
const SLOW_WRITES: [&str; 7] = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=pwrite64:delay_enter=20000"];

fn slowly_until(signal: &str, seconds: &str) -> Vec<&'static str> {
    let end = ["timeout", "--preserve-status", "-s", signal, seconds];
    let words = SLOW_WRITES.iter().map(|word| (*word).to_owned()).chain(end.iter().map(|word| (*word).to_owned()));
    words.map(|word| &*Box::leak(word.into_boxed_str())).collect()
}

#[test]
fn a_stopped_run_leaves_in_order_and_the_same_command_goes_on() {
    let pair = Pair::new();
    for index in 0..600 {
        pair.source().file(format!("d{}/{index}", index % 20), format!("content {index}"));
    }
    for signal in ["TERM", "INT"] {
        let stopped = pair.sync().wrapped_by(&slowly_until(signal, "1.5")).run().exits(20);
        assert!(stopped.count("file", "created") < 600, "it was stopped too late to show anything");
    }
    pair.sync().run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn a_second_run_on_the_same_target_is_refused_and_the_first_goes_on() {
    let pair = Pair::new();
    for index in 0..500 {
        pair.source().file(format!("{index}"), "content");
    }
    std::thread::scope(|scope| {
        let first = scope.spawn(|| {
            pair.sync().run_id("first").args(&["--threads", "1"]).wrapped_by(&SLOW_WRITES).run_unchecked().exits(0)
        });
        while !pair.target_path().join(".pmirror/nonce").exists() {
            assert!(!first.is_finished(), "the first run was too quick");
            std::thread::sleep(Duration::from_millis(5));
        }
        let second = pair.sync().run_id("second").run_unchecked();
        second.refuses(3, &["first", "wait for it to end"]);
        first.join().unwrap();
    });
    pair.assert_mirrored();
}

const USER_DATA: &[u8] = b".pmirror-00000000000000aa-00000000-000000000001";

fn temporaries(pair: &Pair) -> usize {
    let ours = |name: &&Vec<u8>| name.starts_with(b".pmirror-") && name.as_slice() != USER_DATA;
    pair.target_now().entries.keys().filter(ours).count()
}

/// A target on which a run was killed while it had temporaries. How long that takes is the machine's
/// business.
fn killed_among_replacements() -> Pair {
    for seconds in ["0.3", "0.5", "0.8", "1.2", "2", "3", "5"] {
        let pair = Pair::new();
        for index in 0..60 {
            pair.source().file(format!("{index}"), "new content");
            pair.target().file(format!("{index}"), "old");
        }
        pair.target().file(USER_DATA, "user data that looks like ours");
        pair.sync().wrapped_by(&slowly_until("KILL", seconds)).run_unchecked();
        if temporaries(&pair) > 0 {
            return pair;
        }
    }
    panic!("it was never killed at the right moment");
}

#[test]
fn the_temporaries_of_a_dead_run_go_and_those_of_others_stay() {
    let pair = killed_among_replacements();
    let next = pair.sync().run_unchecked().exits(0);
    assert!(next.number("/swept") > 0);
    assert_eq!(temporaries(&pair), 0);
    assert!(pair.target_now().has(USER_DATA));
}

#[test]
fn a_file_that_is_replaced_is_old_or_new_at_every_moment() {
    let pair = Pair::new();
    let (old, new) = ("o".repeat(3_000_000), "n".repeat(2_000_000));
    pair.source().file("f", &new);
    pair.target().file("f", &old);
    let (path, over) = (pair.target_path().join("f"), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut looks = 0;
            while !over.load(Ordering::Relaxed) {
                let seen = std::fs::read_to_string(&path).expect("the name is never missing");
                assert!(seen == old || seen == new, "{} bytes of neither", seen.len());
                looks += 1;
            }
            looks
        });
        pair.sync().wrapped_by(&SLOW_WRITES).run_unchecked().exits(0);
        over.store(true, Ordering::Relaxed);
        assert!(watcher.join().unwrap() > 5);
    });
    pair.assert_mirrored();
}

#[test]
fn a_run_that_does_not_look_everywhere_leaves_the_left_overs_of_a_dead_one_to_the_next() {
    let pair = killed_among_replacements();
    let left = temporaries(&pair);
    pair.sync().arg("--exclude=*").run_unchecked().exits(0);
    pair.beside().file("list", "0\n");
    let list = format!("--files-from={}", pair.beside().path("list").display());
    pair.sync().args(&[&list, "--exclude=nothing"]).run_unchecked().exits(0);
    assert!(temporaries(&pair) <= left);
    let next = pair.sync().run_unchecked().exits(0);
    next.context(|| assert_eq!(temporaries(&pair), 0));
    assert!(!pair.target_now().has(".pmirror"));
}

/// A target with a file that a killed run made in its place and did not finish: newer than its source,
/// and shorter.
fn killed_in_place() -> Pair {
    for seconds in ["0.3", "0.5", "0.8", "1.2", "2", "3", "5"] {
        let pair = Pair::new();
        for index in 0..40 {
            pair.source().file(format!("{index}"), vec![b'x'; 9 << 20]).mtime(1_000_000_000, 0);
        }
        pair.sync().wrapped_by(&slowly_until("KILL", seconds)).run_unchecked();
        let torn = |copy: &&support::snapshot::Seen| copy.kind() == "file" && copy.mtime().0 > 1_000_000_000;
        if pair.target_now().entries.values().filter(torn).count() > 0 {
            return pair;
        }
    }
    panic!("it was never killed at the right moment");
}

#[test]
fn what_only_a_time_tells_to_be_unfinished_is_not_left_to_a_run_that_goes_by_other_signs() {
    for option in ["-u", "--size-only", "--no-times", "--modify-window=5"] {
        let pair = killed_in_place();
        let refused = pair.sync().arg(option).run_unchecked();
        refused.refuses(3, &["did not end well", "once without"]);
        pair.sync().run().exits(0);
        pair.sync().arg(option).run().exits(0);
        pair.assert_mirrored();
    }
}
