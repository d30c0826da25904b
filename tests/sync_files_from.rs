//! `--files-from`: only what a list names is mirrored, with the directories on the way.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use nix::errno::Errno;
use std::collections::BTreeSet;
use std::process::Command;
use support::compare::{assert_none, assert_unwritten, differences};
use support::outcome::second_run_changes_nothing;
use support::random::Dice;
use support::snapshot::MIRRORED;
use support::*;

/// `sync` with a list of these bytes.
fn listing(pair: &Pair, list: impl AsRef<[u8]>) -> Pmirror {
    pair.beside().file("list", list);
    pair.sync().arg("--files-from").arg(pair.top_path().join("list"))
}

/// `sync` with this file as its standard input.
fn with_input(pair: &Pair, sync: Pmirror, content: impl AsRef<[u8]>) -> Pmirror {
    pair.beside().file("input", content);
    let script = format!("exec \"$@\" < '{}'", pair.top_path().join("input").display());
    sync.wrapped_by(&["sh", "-c", &script, "sh"])
}

fn target_paths(pair: &Pair) -> Vec<String> {
    Snapshot::paths(pair.target_path()).iter().filter(|path| !path.is_empty()).map(escaped).collect()
}

#[test]
fn only_what_is_listed_is_mirrored_with_the_directories_on_the_way() {
    let pair = Pair::new();
    for path in ["a/b/file", "a/b/other", "a/c/d/e", "a/c/d/f", "top", "x/y"] {
        pair.source().file(path, path).mode(0o640);
    }
    for (path, mode) in [("a", 0o751), ("a/b", 0o2750), ("a/c", 0o700), ("a/c/d", 0o711)] {
        pair.source().entry(path).mode(mode).mtime(1_000_000_000, 5);
    }
    pair.target().file("a/extra", "of the target");
    let sync = listing(&pair, "# what we want\na/b/file\n/top\n\na/c/\n");
    let run = sync.run().exits(0);
    run.counts("file", &[("created", 4)]);
    assert_eq!(run.count("directory", "seen"), 5, "the root and four others");
    assert_eq!(run.number("/target_only"), 0);
    assert_eq!(target_paths(&pair), ["a", "a/b", "a/b/file", "a/c", "a/c/d", "a/c/d/e", "a/c/d/f", "a/extra", "top"]);
    let (source, target) = (pair.source_now(), pair.target_now());
    let lines = differences(&source, &target, MIRRORED);
    let lines: Vec<String> = lines.into_iter().filter(|line| !line.starts_with(['-', '+'])).collect();
    assert_none(&lines, "what was mirrored differs");
    second_run_changes_nothing(&pair, &sync, 0);
}

#[test]
fn a_path_that_is_not_there_fails_and_the_others_are_done() {
    let pair = Pair::new();
    pair.source().file("file", "x");
    pair.source().file("a/b", "x");
    pair.source().symlink("link", "a");
    let sync = listing(&pair, "missing\nno/such/path\nfile/below\na/b\nlink/b\n");
    let run = sync.run().exits(23);
    for (path, errno) in [
        ("missing", Errno::ENOENT),
        ("no/such/path", Errno::ENOENT),
        ("file/below", Errno::ENOTDIR),
        ("link/b", Errno::ENOTDIR),
    ] {
        run.has_fault(path, "source", errno);
    }
    assert_eq!(run.number("/entries/unknown/failed"), 4);
    assert_eq!(target_paths(&pair), ["a", "a/b"]);
    second_run_changes_nothing(&pair, &sync, 23);
}

#[test]
fn the_root_in_the_list_is_everything() {
    let pair = Pair::new();
    RandomTree::new(70, 60).build(&pair.source());
    listing(&pair, "some/file\n.\n").run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn an_empty_list_is_nothing_but_the_root() {
    let pair = Pair::new();
    pair.source().file("file", "x");
    pair.source().root().mode(0o711).mtime(1_000_000_000, 0);
    let run = listing(&pair, "\n").run().exits(0);
    assert_eq!(run.total("seen"), 1);
    assert_eq!(pair.target_now().at("").mtime(), (1_000_000_000, 0));
}

#[test]
fn names_of_any_bytes_come_from_the_standard_input() {
    let pair = Pair::new();
    for name in [&b"new\nline"[..], b"#hash", b"\xff\xfe", b"a b/\r", b"other"] {
        pair.source().file(name, "x");
    }
    let sync = pair.sync().args(&["--files-from=-", "-0"]);
    let sync = with_input(&pair, sync, b"new\nline\0#hash\0\xff\xfe\0a b/\r\0");
    sync.run().exits(0).counts("file", &[("created", 4)]);
    assert!(!pair.target_now().has("other"));
}

#[test]
fn hard_links_in_the_list_are_links_and_others_are_outside() {
    let pair = Pair::new();
    pair.source().file("a", "x");
    for name in ["b", "c"] {
        pair.source().hard_link("a", name);
    }
    let sync = listing(&pair, "a\nc\n");
    let run = sync.run().exits(0);
    run.counts("file", &[("created", 1), ("linked", 1)]);
    assert_eq!(run.number("/links/outside"), 1);
    second_run_changes_nothing(&pair, &sync, 0);
}

#[test]
fn patterns_judge_what_is_found_not_what_is_listed_and_sizes_judge_all() {
    let pair = Pair::new();
    for path in ["listed.o", "listed.c", "d/found.o", "d/found.c", "d/large"] {
        pair.source().file(path, if path.ends_with("large") { "xxxxxxxxxx" } else { "x" });
    }
    let run = listing(&pair, "listed.o\nd\nd/large").args(&["--exclude=*.o", "--max-size=5"]).run().exits(0);
    assert_eq!((run.number("/skipped/exclude"), run.number("/skipped/max_size")), (1, 1));
    assert_eq!(target_paths(&pair), ["d", "d/found.c", "listed.o"]);
}

#[test]
fn a_list_that_leads_elsewhere_or_is_missing_is_refused() {
    let pair = Pair::without_target();
    pair.source().file("file", "x");
    listing(&pair, "file\nfile/../../etc/passwd\n").run_unchecked().refuses(1, &["line 2", ".."]);
    let missing = pair.sync().args(&["--files-from", "/no/such/list"]);
    missing.run_unchecked().refuses(1, &["/no/such/list", "No such file"]);
    assert!(!pair.target_path().exists(), "a target of runs that did not begin");
    let left = std::fs::read_dir(pair.state_path()).into_iter().flatten().count();
    assert_eq!(left, 0, "run directories of runs that did not begin");
}

#[test]
fn nothing_of_the_list_is_left_in_the_run_directory() {
    let pair = Pair::new();
    pair.source().file("file", "x");
    let run = listing(&pair, "file\n").run().exits(0);
    let left = std::fs::read_dir(run.run_dir.unwrap()).unwrap();
    let mut left: Vec<_> = left.flatten().map(|entry| entry.file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["command.json", "summary.json"]);
}

#[test]
fn left_overs_of_a_dead_run_are_swept_where_the_list_leads() {
    let pair = Pair::new();
    for index in 0..200 {
        pair.source().file(format!("d/{index}"), "old");
    }
    pair.sync().run().exits(0);
    for index in 0..200 {
        pair.source().file(format!("d/{index}"), "newer");
    }
    let known = Snapshot::paths(pair.target_path());
    let litter = || Snapshot::paths(pair.target_path().join("d")).iter().filter(|path| path.starts_with(b".p")).count();
    for seconds in ["0.7", "2", "5"] {
        let slow = ["timeout", "-s", "KILL", seconds, "strace", "-f", "-qq", "-o", "/dev/null"];
        let slow = [&slow[..], &["-e", "inject=renameat:delay_enter=100000"]].concat();
        pair.sync().wrapped_by(&slow).run_unchecked().exits(137);
        if litter() > 0 {
            break;
        }
    }
    assert!(litter() > 0, "the run was killed too early to show anything");
    let run = listing(&pair, "d/1\n").run_unchecked().exits(0);
    assert!(run.number("/swept") > 0);
    assert_eq!(litter(), 0);
    // The list did not lead everywhere, so the lock tells the next run of the dead one.
    assert!(pair.target_now().has(".pmirror/lock"));
    pair.sync().run_unchecked().exits(0);
    compare::assert_no_litter(&known, pair.target_path());
}

/// A list of more than two of the parts that are cut for thieves.
fn long_list(pair: &Pair) -> String {
    let mut list = String::new();
    for index in (0..9_000).rev() {
        let path = format!("{}/{}/{index}", ["flat", "other"][index % 2], "a long name ".repeat(6 + index % 2));
        if index < 4_500 {
            pair.source().file(&path, "x");
        }
        list.push_str(&path);
        list.push('\n');
    }
    list.extend((0..1_200).map(|index| format!("gone/{index}\n")));
    list
}

#[test]
fn ranks_share_a_long_list_and_the_books_are_the_same() {
    let mut books = Vec::new();
    for ranks in [Ranks::One, Ranks::Mpirun(3)] {
        let pair = Pair::new();
        let list = long_list(&pair);
        pair.target().root().mtime(1_000_000_000, 0);
        let run = listing(&pair, list).ranks(ranks).run().exits(23);
        run.counts("file", &[("created", 4_500)]);
        assert_eq!(run.number("/entries/unknown/failed"), 4_500 + 1_200);
        assert_eq!(run.faults_of("gone/1").len() + run.faults_of("gone").len(), 2, "some by name, the rest as one");
        pair.assert_mirrored();
        books.push(run.summary()["entries"].clone());
    }
    assert_eq!(books[0], books[1]);
}

#[test]
fn a_run_that_is_stopped_keeps_its_books_and_goes_on() {
    let pair = Pair::new();
    let mut list = String::new();
    for index in 0..600 {
        pair.source().file(format!("d{}/{index}", index % 20), "x");
        list.push_str(&format!("d{}/{index}\n", index % 20));
    }
    let slow = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=statx:delay_enter=5000"];
    let stop = ["timeout", "--preserve-status", "-s", "TERM", "1.5"];
    let words = [&slow[..], &stop[..]].concat();
    let stopped = listing(&pair, &list).wrapped_by(&words).run().exits(20);
    assert!(stopped.count("file", "created") < 600, "it was stopped too late to show anything");
    listing(&pair, &list).run().exits(0);
    pair.assert_mirrored();
}

/// rsync is the judge: with the same list it takes the same entries.
fn agrees_with_rsync(seed: u64) {
    let (pair, mut dice) = (Pair::new(), Dice::new(seed));
    RandomTree::new(seed, 80).build_among(20, &pair.source());
    pair.beside().dir("by rsync");
    let by_rsync = pair.top_path().join("by rsync");
    let source = pair.source_now();
    let paths: Vec<&Vec<u8>> = source.entries.keys().filter(|path| !path.is_empty()).collect();
    let mut list = Vec::new();
    for _ in 0..1 + dice.below(12) {
        let path = paths[dice.below(paths.len() as u64) as usize];
        let front = dice.pick(&[&b""[..], b"/", b"./"]);
        // With -0 rsync still takes these for comments.
        let is_comment = front.is_empty() && matches!(path.first(), Some(b'#' | b';'));
        if !is_comment {
            list.extend([front, path, b"\0"].concat());
        }
    }
    if dice.once_in(3) {
        list.extend(b"not there/at all\0");
    }
    let run = listing(&pair, &list).arg("-0").run_unchecked();
    let mut rsync = Command::new("rsync");
    rsync.args(["-aHr", "-0", "--files-from"]).arg(pair.top_path().join("list"));
    let contents = |path: &std::path::Path| format!("{}/", path.display());
    let output = rsync.arg(contents(&pair.source_path())).arg(contents(&by_rsync)).output().unwrap();
    run.context(|| {
        assert_eq!(Some(run.code), output.status.code(), "seed {seed}: exit codes of pmirror and rsync");
        let set = |path: &std::path::Path| -> BTreeSet<String> { Snapshot::paths(path).iter().map(escaped).collect() };
        let (expected, found) = (set(&by_rsync), set(&pair.target_path()));
        let difference: Vec<&String> = expected.symmetric_difference(&found).collect();
        assert!(difference.is_empty(), "seed {seed}: {difference:?}");
    });
    run.assert_books_balance();
    assert_unwritten(&source, &pair.source_now(), "the source was written to");
}

#[test]
fn rsync_takes_the_same_entries() {
    for seed in 6000..6020 {
        agrees_with_rsync(seed);
    }
}
