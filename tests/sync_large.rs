//! Large files, which all ranks copy in chunks: complete or not there, whatever happens meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::Write;
use std::time::Duration;
use support::outcome::second_run_changes_nothing;
use support::*;

const CHUNK: &str = "--chunk-size=64K";
const MIB: usize = 1 << 20;

/// Bytes that are the same nowhere, so that a chunk in the wrong place shows.
fn bytes(length: usize, seed: u32) -> Vec<u8> {
    let words = (0..length as u32 / 4 + 1).flat_map(|word| (word.wrapping_mul(2_654_435_761) ^ seed).to_le_bytes());
    words.take(length).collect()
}

fn large_pair() -> Pair {
    let pair = Pair::new();
    pair.source().file("a/large", bytes(3 * MIB + 77, 1)).mode(0o640).xattr("user.a", "1").mtime(1_000, 7);
    pair
}

/// Each write takes 30 ms: the run can be met in the middle of its chunks.
fn slow_sync(pair: &Pair) -> Pmirror {
    let slow = "inject=pwrite64,copy_file_range:delay_enter=30000";
    pair.sync().args(&[CHUNK, "--threads", "1"]).wrapped_by(&["strace", "-f", "-qq", "-o", "/dev/null", "-e", slow])
}

/// Signals rank 0 of the run, which the lock names.
fn signal(pair: &Pair, signal: Signal) {
    let lock = std::fs::read(pair.target_path().join(".pmirror/lock")).unwrap();
    let lock: serde_json::Value = serde_json::from_slice(&lock).unwrap();
    kill(Pid::from_raw(lock["pid"].as_i64().unwrap() as i32), signal).unwrap();
}

/// Runs a slow copy, and does something to its source or target in the middle.
fn while_copied(pair: &Pair, meanwhile: impl FnOnce() + Send) -> Outcome {
    while_copied_by(Ranks::One, pair, meanwhile)
}

fn while_copied_by(ranks: Ranks, pair: &Pair, meanwhile: impl FnOnce() + Send) -> Outcome {
    std::thread::scope(|scope| {
        let run = scope.spawn(|| slow_sync(pair).ranks(ranks).run_unchecked());
        while !pair.target_now().entries.keys().any(|path| path.starts_with(b"a/.pmirror-")) {
            assert!(!run.is_finished(), "the run was too quick");
            std::thread::sleep(Duration::from_millis(5));
        }
        meanwhile();
        run.join().unwrap()
    })
}

fn assert_no_temporary(pair: &Pair) {
    let left = pair.target_now().entries.keys().find(|path| path.starts_with(b"a/.pmirror-")).cloned();
    assert!(left.is_none(), "left behind: {left:?}");
}

#[test]
fn a_large_file_is_copied_in_chunks_by_all_ranks() {
    let pair = large_pair();
    for index in 0..40 {
        pair.source().file(format!("small/{index}"), bytes(5_000, index));
    }
    pair.source().file("a/another", bytes(2 * MIB, 2));
    let sync = pair.sync().arg(CHUNK).ranks(Ranks::Mpirun(3));
    let run = sync.run().exits(0);
    assert_eq!(run.count("file", "created"), 42);
    pair.assert_mirrored();
    second_run_changes_nothing(&pair, &sync, 0);
}

#[test]
fn a_large_replacement_keeps_the_old_content_until_it_is_complete() {
    let pair = large_pair();
    pair.target().file("a/large", "old").mtime(5, 5);
    let run = while_copied(&pair, || {
        assert_eq!(std::fs::read(pair.target_path().join("a/large")).unwrap(), b"old");
    });
    assert_eq!(run.exits(0).count("file", "updated"), 1);
    pair.assert_mirrored();
}

#[test]
fn a_large_file_that_grows_is_changed_and_comes_with_the_next_run() {
    let pair = large_pair();
    let path = pair.source_path().join("a/large");
    let run = while_copied(&pair, || {
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"more").unwrap();
    });
    run.assert_books_balance();
    assert_eq!(run.exits(24).count("file", "changed"), 1);
    let (source, target) = (pair.source_now(), pair.target_now());
    assert_ne!(source.at("a/large").mtime(), target.at("a/large").mtime(), "it would be taken for finished");
    pair.sync().arg(CHUNK).run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn a_large_file_that_shrinks_or_is_replaced_is_changed_and_the_old_copy_stays() {
    let replace = |path: &std::path::Path| {
        std::fs::rename(path, path.with_extension("moved")).unwrap();
        std::fs::write(path, "short").unwrap();
    };
    let shrink = |path: &std::path::Path| {
        std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(1_000).unwrap();
    };
    for disturb in [&replace as &(dyn Fn(&std::path::Path) + Sync), &shrink] {
        let pair = large_pair();
        pair.target().file("a/large", "old");
        let run = while_copied(&pair, || disturb(&pair.source_path().join("a/large")));
        run.assert_books_balance();
        assert_eq!(run.exits(24).count("file", "changed"), 1);
        assert_eq!(std::fs::read(pair.target_path().join("a/large")).unwrap(), b"old");
        assert_no_temporary(&pair);
        pair.sync().arg(CHUNK).run().exits(0);
        pair.assert_mirrored();
    }
}

#[test]
fn a_large_file_that_is_removed_has_vanished() {
    let pair = large_pair();
    let run = while_copied(&pair, || std::fs::remove_file(pair.source_path().join("a/large")).unwrap());
    run.assert_books_balance();
    assert_eq!(run.exits(24).count("file", "vanished"), 1);
    assert_no_temporary(&pair);
}

#[test]
fn a_chunk_that_fails_fails_the_file_and_the_old_copy_stays() {
    for (side, call) in [("source", "pread64,copy_file_range"), ("target", "fdatasync")] {
        let pair = large_pair();
        pair.target().file("a/large", "old");
        pair.source().file("other", "content");
        let inject = format!("inject={call}:error=EIO:when=4+");
        let mut strace = vec!["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject];
        let large = pair.source_path().join("a/large").into_os_string().into_string().unwrap();
        if side == "source" {
            strace.extend(["-P", &large]);
        }
        let run = pair.sync().arg(CHUNK).wrapped_by(&strace).run_unchecked();
        run.assert_books_balance();
        assert_eq!((run.count("file", "failed"), run.count("file", "created")), (1, 1), "{side}");
        assert_eq!(run.faults[0]["side"], side);
        assert!(run.exits(23).number("/faults/0/count") >= 1);
        assert_eq!(std::fs::read(pair.target_path().join("a/large")).unwrap(), b"old");
        assert_no_temporary(&pair);
    }
}

#[test]
fn a_stopped_run_keeps_its_large_files_for_the_next_attempt_and_a_new_run_takes_them_away() {
    for ranks in [Ranks::One, Ranks::Mpirun(3)] {
        let pair = large_pair();
        let stopped = while_copied_by(ranks, &pair, || signal(&pair, Signal::SIGTERM)).exits(20);
        stopped.assert_books_balance();
        assert_eq!(stopped.count("file", "unfinished"), 1);
        assert!(!pair.target_now().has("a/large"));
        pair.sync().arg(CHUNK).run().exits(0);
        assert_no_temporary(&pair);
        pair.assert_mirrored();
    }
}

#[test]
fn a_killed_run_never_leaves_a_large_file_that_looks_finished() {
    let pair = large_pair();
    while_copied(&pair, || signal(&pair, Signal::SIGKILL));
    assert!(!pair.target_now().has("a/large"));
    pair.sync().arg(CHUNK).run().exits(0);
    assert_no_temporary(&pair);
    pair.assert_mirrored();
}

#[test]
fn an_empty_directory_gives_way_to_a_large_file_and_another_does_not() {
    let pair = large_pair();
    pair.target().dir("a/large");
    pair.sync().arg(CHUNK).run().exits(0);
    pair.assert_mirrored();
    let pair = large_pair();
    pair.target().file("a/large/kept", "x");
    let run = pair.sync().arg(CHUNK).run().exits(23);
    assert_eq!(run.count("file", "failed"), 1);
    assert_no_temporary(&pair);
    assert!(pair.target_now().has("a/large/kept"));
}

#[test]
fn a_size_of_chunks_that_is_none_is_refused() {
    let pair = large_pair();
    pair.sync().arg("--chunk-size=0").run_unchecked().refuses(1, &["0 is no size"]);
    pair.sync().arg("--chunk-size=much").run_unchecked().refuses(1, &["much", "64M"]);
}

#[test]
fn the_names_of_a_large_inode_wait_for_its_chunks_and_become_links() {
    for ranks in [Ranks::One, Ranks::Mpirun(3)] {
        let pair = large_pair();
        for name in ["b/second", "b/third"] {
            pair.source().hard_link("a/large", name);
        }
        pair.target().file("b/third", bytes(3 * MIB, 9));
        let sync = pair.sync().arg(CHUNK).ranks(ranks);
        let run = sync.run().exits(0);
        let made = run.count("file", "created") + run.count("file", "updated");
        assert_eq!((made, run.count("file", "linked")), (1, 2));
        pair.assert_mirrored();
        assert_same_links(pair.source_path(), pair.target_path());
        second_run_changes_nothing(&pair, &sync, 0);
    }
}

#[test]
fn the_names_of_a_large_inode_that_changes_share_its_fate() {
    let pair = large_pair();
    pair.source().hard_link("a/large", "a/other name");
    let path = pair.source_path().join("a/large");
    let run = while_copied(&pair, || {
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1_000).unwrap();
    });
    run.assert_books_balance();
    assert_eq!(run.count("file", "seen"), 2);
    assert_eq!(run.count("file", "changed") + run.count("file", "failed"), 2);
    pair.sync().arg(CHUNK).run().exits(0);
    pair.assert_mirrored();
    assert_same_links(pair.source_path(), pair.target_path());
}

#[test]
fn large_files_are_compared_in_chunks_and_only_those_that_differ_are_copied() {
    for ranks in [Ranks::One, Ranks::Mpirun(3)] {
        let pair = large_pair();
        pair.source().file("a/same", bytes(2 * MIB, 3)).mtime(1_000, 0);
        pair.source().hard_link("a/same", "a/its link");
        pair.sync().run().exits(0);
        let path = pair.target_path().join("a/large");
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"another", 2 * MIB as u64).unwrap();
        drop(file);
        pair.target().entry("a/large").mtime(1_000, 7);
        let sync = pair.sync().args(&[CHUNK, "-c"]).ranks(ranks);
        let run = sync.run().exits(0);
        assert_eq!((run.count("file", "updated"), run.count("file", "same")), (1, 2));
        assert_eq!(run.number("/bytes/compared"), 5 * MIB as u64 + 77);
        pair.assert_mirrored();
        assert_same_links(pair.source_path(), pair.target_path());
        second_run_changes_nothing(&pair, &sync, 0);
    }
}

#[test]
fn a_name_of_another_type_that_becomes_a_large_file_stands_in_the_books_as_it_was_listed() {
    for on_target in [false, true] {
        let pair = Pair::new();
        pair.source().symlink("a/large", "elsewhere");
        if on_target {
            pair.target().file("a/large", bytes(3 * MIB, 2)).mtime(1_000, 7);
        }
        let source = FaultFs::mount(pair.source_path());
        let held = source.rule(Rule::on("lookup").named("large").hang());
        source.start_log();
        let sync = Pmirror::new().sync(source.path(), pair.target_path()).state_dir(pair.state_path());
        let run = std::thread::scope(|scope| {
            let run = scope.spawn(|| sync.args(&[CHUNK, "-c"]).run_unchecked());
            while !source.take_log().iter().any(|call| call == "lookup large") {
                assert!(!run.is_finished(), "it was never looked at");
                std::thread::sleep(Duration::from_millis(5));
            }
            std::fs::remove_file(pair.source_path().join("a/large")).unwrap();
            pair.source().file("a/large", bytes(3 * MIB, 1)).mtime(1_000, 7);
            source.lift(held);
            run.join().unwrap()
        });
        run.assert_books_balance();
        assert_eq!(run.exits(0).count("symlink", if on_target { "updated" } else { "created" }), 1);
        pair.assert_mirrored();
    }
}
