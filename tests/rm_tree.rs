//! `rm --tree`: exactly one tree, by all ranks, and nothing that is precious.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use support::*;

fn tree() -> Pair {
    let pair = Pair::new();
    for n in 0..20 {
        for file in 0..25 {
            pair.target().file(format!("{n}/{}/{file}", n % 3), "x");
        }
        pair.target().dir(format!("empty/{n}"));
    }
    pair.target().symlink("out", "../canary");
    pair.target().chain("deep", 60).fifo("leaf");
    pair
}

const ENTRIES: u64 = 20 * 25 + 20 + 20 + 1 + 20 + 1 + 61;

fn rm(pair: &Pair) -> Pmirror {
    Pmirror::new().rm_tree(pair.target_path()).state_dir(pair.state_path())
}

#[test]
fn a_tree_goes_with_all_that_it_holds_and_nothing_beside_it() {
    for ranks in [Ranks::One, Ranks::Mpirun(3)] {
        let pair = tree();
        let dry = rm(&pair).ranks(ranks).arg("-n").run().exits(0);
        assert_eq!(dry.removals("removed"), ENTRIES + 1);
        assert!(pair.target_path().join("19/1/24").exists());
        let run = rm(&pair).ranks(ranks).run().exits(0);
        assert_eq!(run.removals("removed"), ENTRIES + 1);
        assert!(!pair.target_path().exists());
        pair.assert_canary();
    }
}

#[test]
fn a_large_directory_is_shared_by_the_ranks() {
    let pair = Pair::new();
    for n in 0..9_000 {
        pair.target().file(format!("{n}"), "");
    }
    let run = rm(&pair).ranks(Ranks::Mpirun(2)).run().exits(0);
    assert_eq!(run.removals("removed"), 9_001);
    assert!(!pair.target_path().exists());
}

#[test]
fn what_can_not_be_removed_is_listed_and_all_else_goes() {
    let pair = tree();
    let immutable = pair.target().entry("3/0/7").immutable();
    let run = rm(&pair).run().exits(23);
    assert_eq!((run.removals("failed"), run.kept("holds_failed")), (1, 3));
    assert_eq!(run.removals("removed"), ENTRIES + 1 - 4);
    run.has_fault("3/0/7", "target", nix::errno::Errno::EPERM);
    drop(immutable);
    rm(&pair).run().exits(0);
    assert!(!pair.target_path().exists());
}

#[test]
fn what_the_patterns_leave_out_stays_with_what_holds_it() {
    for kept in ["3/0/keep", "keep"] {
        let pair = tree();
        pair.target().file(kept, "x");
        let run = rm(&pair).args(&["--exclude", "keep"]).run().exits(0);
        assert!(pair.target_path().join(kept).exists() && !pair.target_path().join("4").exists());
        assert_eq!(run.kept("protected"), run.removals("kept"));
    }
}

#[test]
fn precious_directories_are_refused() {
    let pair = tree();
    let refused = |rm: Pmirror, word: &str| drop(rm.run().refuses(3, &[word]));
    let of = |path: &std::path::Path| Pmirror::new().rm_tree(path).state_dir(pair.state_path());
    refused(of("/".as_ref()), "root of all");
    refused(of("/proc".as_ref()), "mounted");
    refused(of(".".as_ref()), "name");
    refused(of("/usr/..".as_ref()), "name");
    refused(rm(&pair).working_dir(pair.target_path().join("3")), "working directory");
    refused(rm(&pair).env("HOME", pair.target_path().join("3/0")), "home");
    refused(of(&pair.target_path().join("out")), "no directory");
    refused(of(&pair.target_path().join("3/0/7")), "no directory");
    refused(of(&pair.target_path().join("nothing")), "does not exist");
    refused(rm(&pair).state_dir(pair.target_path().join("3/state")), "state directory");
    assert_eq!(pair.target_now().entries.len() as u64, ENTRIES + 1);
}

#[test]
fn the_source_of_a_run_is_refused_and_so_is_what_holds_it() {
    let pair = tree();
    pair.source().file("home/ada/file", "x");
    let sync = pair.sync().sync(pair.source_path().join("home"), pair.beside().path("copy"));
    sync.run().exits(0);
    for path in [pair.source_path().join("home"), pair.source_path()] {
        Pmirror::new().rm_tree(path).state_dir(pair.state_path()).run().refuses(3, &["was the SRC of run"]);
    }
    Pmirror::new().rm_tree(pair.source_path().join("home/ada")).state_dir(pair.state_path()).run().exits(0);
    rm(&pair).run().exits(0);
}

#[test]
fn a_tree_in_which_something_is_mounted_is_refused() {
    let pair = tree();
    let (canary, point) = (pair.beside().path("canary"), pair.target_path().join("empty/4"));
    let script = format!("mount --bind '{}' '{}' && exec \"$@\"", canary.display(), point.display());
    rm(&pair).wrapped_by(&["unshare", "--mount", "sh", "-c", &script, "sh"]).run().refuses(3, &["mounted in it"]);
    pair.assert_canary();
    assert_eq!(pair.target_now().entries.len() as u64, ENTRIES + 1);
}
