//! Choosing by name, age and size: what is left out, what the books say of it, and that rsync agrees.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};
use support::compare::assert_unwritten;
use support::outcome::second_run_changes_nothing;
use support::random::Dice;
use support::*;

/// Fails unless the target holds exactly these paths.
fn assert_holds(pair: &Pair, paths: &[&str]) {
    let mut found: Vec<String> = Snapshot::paths(pair.target_path()).iter().map(escaped).collect();
    let mut expected: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
    found.retain(|path| !path.is_empty());
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn what_a_pattern_matches_is_left_out_and_stands_in_the_books() {
    let pair = Pair::new();
    pair.source().file("a.o", "x");
    pair.source().file("a.c", "x");
    pair.source().file("build/deep/file", "x");
    let sync = pair.sync().args(&["--exclude", "*.o", "--exclude=/build/"]);
    let run = sync.run().exits(0);
    run.counts("file", &[("created", 1), ("skipped", 1)]);
    assert_eq!((run.count("directory", "seen"), run.count("directory", "skipped")), (2, 1));
    assert_eq!(run.number("/skipped/exclude"), 2);
    assert!(String::from_utf8_lossy(&run.stdout).contains("2 entries skipped: --exclude"));
    assert_holds(&pair, &["a.c"]);
    second_run_changes_nothing(&pair, &sync, 0);
}

#[test]
fn an_excluded_directory_is_not_opened() {
    let pair = Pair::new();
    pair.source().file("closed/secret/file", "x");
    pair.source().file("open/file", "x");
    let trace = pair.top_path().join("trace");
    let strace = ["strace", "-f", "-qq", "-e", "trace=%file", "-o", trace.to_str().unwrap()];
    pair.sync().args(&["--exclude", "closed"]).wrapped_by(&strace).run_unchecked().exits(0);
    let calls = std::fs::read_to_string(trace).unwrap();
    let lines: Vec<&str> = calls.lines().filter(|line| !line.contains("execve(")).collect();
    assert!(lines.iter().any(|line| line.contains("\"open\"")), "the trace shows names");
    let looked: Vec<&&str> = lines.iter().filter(|line| line.contains("closed") || line.contains("secret")).collect();
    assert!(looked.is_empty(), "{looked:?}");
}

#[test]
fn the_first_pattern_that_matches_decides_in_the_order_of_the_command_line() {
    let pair = Pair::new();
    for name in ["keep.o", "b.o", "c.o", "x/keep.o"] {
        pair.source().file(name, "x");
    }
    pair.sync().args(&["--include", "keep.o", "--exclude", "*.o", "--include", "b.o"]).run().exits(0);
    assert_holds(&pair, &["keep.o", "x", "x/keep.o"]);
}

#[test]
fn patterns_come_from_a_file_and_from_the_standard_input() {
    let pair = Pair::new();
    for name in ["a", "b", "#c", "d"] {
        pair.source().file(name, "x");
    }
    pair.beside().file("list", "# a comment\n\n+ b\n- [ab]\r\n[#]c\n");
    let list = pair.top_path().join("list");
    pair.sync().arg("--exclude-from").arg(&list).run().exits(0);
    assert_holds(&pair, &["b", "d"]);
    pair.beside().file("list0", b"d\0#c\0");
    let script = format!("exec \"$@\" < '{}'", pair.top_path().join("list0").display());
    let sync = pair.sync().wrapped_by(&["sh", "-c", &script, "sh"]).args(&["--exclude-from=-", "-0"]);
    sync.run().exits(0).counts("file", &[("same", 1), ("created", 1), ("skipped", 2)]);
    assert_holds(&pair, &["a", "b", "d"]);
}

#[test]
fn a_pattern_can_come_from_the_environment() {
    let pair = Pair::new();
    pair.source().file("a.o", "x");
    pair.sync().env("PMIRROR_EXCLUDE", "*.o").run().exits(0).counts("file", &[("skipped", 1)]);
}

#[test]
fn what_is_excluded_stays_on_the_target_and_is_no_name_that_only_it_has() {
    let pair = Pair::new();
    pair.source().file("both.o", "new");
    pair.source().file("other", "x");
    for name in ["both.o", "only.o", "extra"] {
        pair.target().file(name, "of the target").mtime(5, 5);
    }
    pair.target().file("cache/file", "of the target");
    let before = pair.target_now();
    let run = pair.sync().args(&["--exclude", "*.o", "--exclude", "cache/"]).run().exits(0);
    assert_eq!(run.number("/target_only"), 1, "extra");
    let after = pair.target_now();
    for path in ["both.o", "only.o", "cache"] {
        assert_unwritten(&before.below(path), &after.below(path), "an excluded name was changed");
    }
}

#[test]
fn excluded_names_of_a_group_of_hard_links_count_as_names_outside() {
    let pair = Pair::new();
    pair.source().file("a", "x");
    pair.source().hard_link("a", "b");
    pair.source().hard_link("a", "c.o");
    let sync = pair.sync().args(&["--exclude", "*.o"]);
    let run = sync.run().exits(0);
    run.counts("file", &[("created", 1), ("linked", 1), ("skipped", 1)]);
    assert_eq!(run.number("/links/outside"), 1);
    second_run_changes_nothing(&pair, &sync, 0);
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

#[test]
fn ages_choose_by_the_time_they_name() {
    let pair = Pair::new();
    let day = 24 * 3600;
    pair.source().file("old", "x").mtime(now() - 100 * day, 0).atime(now() - 100 * day, 0);
    pair.source().file("read lately", "x").mtime(now() - 100 * day, 0).atime(now() - day, 0);
    pair.source().file("new", "x").atime(now() - day, 0);
    pair.source().symlink("link", "x").mtime(now() - 2 * day, 0).atime(now(), 0);
    let sync = pair.sync().args(&["--max-age", "90d:atime", "--min-age", "12h"]);
    let run = sync.run().exits(0);
    assert_eq!((run.number("/skipped/max_age"), run.number("/skipped/min_age")), (1, 1));
    assert_holds(&pair, &["read lately", "link"]);
    let run = pair.sync().args(&["--min-age", "1h:ctime"]).run().exits(0);
    assert_eq!(run.number("/skipped/min_age"), 4, "every inode was just made");
}

#[test]
fn what_is_left_out_for_its_age_or_size_is_not_opened() {
    let pair = Pair::new();
    pair.source().file("small", "x");
    pair.source().file("large", "x".repeat(5_000));
    let trace = pair.top_path().join("trace");
    let strace = ["strace", "-f", "-qq", "-e", "trace=openat", "-o", trace.to_str().unwrap()];
    pair.sync().args(&["--max-size", "4K"]).wrapped_by(&strace).run_unchecked().exits(0);
    let calls = std::fs::read_to_string(trace).unwrap();
    assert!(calls.contains("\"small\"") && !calls.contains("\"large\""), "{calls}");
}

#[test]
fn sizes_are_for_regular_files_and_inclusive() {
    let pair = Pair::new();
    for size in [9, 10, 2048, 2049] {
        pair.source().file(format!("{size:04}"), "x".repeat(size));
    }
    pair.source().symlink("link", "x");
    pair.source().dir("directory");
    let sync = pair.sync().args(&["--min-size=10", "--max-size=2K"]);
    let run = sync.run().exits(0);
    assert_eq!((run.number("/skipped/min_size"), run.number("/skipped/max_size")), (1, 1));
    assert_eq!(run.number("/bytes/logical"), 2058);
    assert_holds(&pair, &["0010", "2048", "directory", "link"]);
    second_run_changes_nothing(&pair, &sync, 0);
}

#[test]
fn a_file_that_is_left_out_now_keeps_its_older_copy() {
    let pair = Pair::new();
    pair.source().file("file", "old");
    pair.sync().run().exits(0);
    let before = pair.target_now();
    pair.source().file("file", "new and longer");
    let run = pair.sync().args(&["--max-size", "5"]).run().exits(0);
    run.counts("file", &[("skipped", 1)]);
    assert_eq!(run.number("/target_only"), 0);
    assert_unwritten(&before.below("file"), &pair.target_now().below("file"), "it was changed");
}

#[test]
fn what_can_not_be_meant_is_refused_by_name() {
    let pair = Pair::new();
    pair.beside().file("list", "good\nbad[\n");
    let list = pair.top_path().join("list");
    let list = list.to_str().unwrap();
    for (words, named) in [
        (["--exclude", "a[b"], "a[b"),
        (["--exclude", ""], "empty"),
        (["--include", "[[:x:]]"], "[[:x:]]"),
        (["--min-age", "12"], "12"),
        (["--max-age", "3d:btime"], "btime"),
        (["--max-size", "ten"], "ten"),
        (["--exclude-from", "/no/such/list"], "/no/such/list"),
        (["--exclude-from", list], "line 2"),
    ] {
        pair.sync().args(&words).run().refuses(1, &[named]);
    }
    let twice = ["--exclude-from", "-", "--files-from", "-"];
    pair.sync().args(&twice).run().refuses(1, &["standard input"]);
}

#[test]
fn ranks_with_other_patterns_are_refused() {
    let pair = Pair::new();
    let script = "exec \"$@\" --exclude $OMPI_COMM_WORLD_RANK";
    let sync = pair.sync().ranks(Ranks::Mpirun(2)).wrapped_by(&["sh", "-c", script, "sh"]);
    sync.run().refuses(1, &["same program and options"]);
}

#[test]
fn all_ranks_use_the_patterns_that_the_first_one_reads() {
    let pair = Pair::new();
    for index in 0..300 {
        pair.source().file(format!("{}/{index}.o", index % 20), "x");
        pair.source().file(format!("{}/{index}.c", index % 20), "x");
    }
    pair.beside().file("list", "*.o\n");
    let script = format!("exec \"$@\" < '{}'", pair.top_path().join("list").display());
    let launch = ["sh", "-c", &script, "sh", "mpirun", "--oversubscribe", "-n", "3"];
    let sync = pair.sync().wrapped_by(&launch).args(&["--exclude-from", "-", "--min-age", "0s"]);
    sync.run().exits(0).counts("file", &[("created", 300), ("skipped", 300)]);
}

/// Both trees in a file system that does not tell types with names, in a mount namespace of its own.
#[test]
fn where_listings_tell_no_types_the_verdicts_are_the_same() {
    let pair = Pair::new();
    let contents = pair.beside();
    for path in ["source/d/build/file", "source/build", "source/a.o", "source/b.c", "target/cache/x", "target/e/cache"]
    {
        contents.file(format!("contents/{path}"), "x");
    }
    let path = |name: &str| pair.top_path().join(name).display().to_string();
    let (image, mounted) = (path("image"), path("mounted"));
    contents.dir("mounted");
    let options = ["-q", "-O", "^filetype,^metadata_csum,^has_journal", "-d", &path("contents"), &image, "16M"];
    support::needs::run_ok(Command::new("mkfs.ext4").args(options));
    let script = format!("mount -o loop '{image}' '{mounted}' && exec \"$@\"");
    let sync = Pmirror::new().sync(format!("{mounted}/source"), format!("{mounted}/target"));
    let sync = sync.state_dir(pair.state_path()).wrapped_by(&["unshare", "--mount", "sh", "-c", &script, "sh"]);
    let run = sync.args(&["--exclude=build/", "--exclude=*.o", "--exclude=cache/"]).run_unchecked().exits(0);
    run.assert_books_balance();
    run.counts("file", &[("created", 2), ("skipped", 1)]);
    let directories = ["seen", "created", "skipped"].map(|outcome| run.count("directory", outcome));
    assert_eq!(directories, [3, 1, 1]);
    assert_eq!(run.number("/target_only"), 1, "e, as cache is left out");
}

const NAMES: &[&[u8]] = &[
    b"a", b"b", b"c", b"ab", b"ba", b"abc", b"a.o", b"b.o", b"A1", b"9", b"*", b"a*b", b"[a]", b"\\", b"a\\b", b"-",
    b"]", b"!", b"^", b" ", b"a\nb", b"\xff", b"\xe9a", b"**", b"?",
];

/// A small tree of few names, so that patterns meet many of them.
fn small_tree(dice: &mut Dice, tree: &Tree) {
    let mut directories: Vec<Vec<u8>> = vec![Vec::new()];
    let mut taken = std::collections::BTreeSet::new();
    for _ in 0..60 {
        let above = directories[dice.below(directories.len() as u64) as usize].clone();
        let path = [&above[..], if above.is_empty() { b"" } else { b"/" }, dice.pick(NAMES)].concat();
        if !taken.insert(path.clone()) {
            continue;
        }
        if dice.below(5) < 2 {
            tree.dir(&path);
            directories.push(path);
        } else {
            tree.file(&path, "x");
        }
    }
}

const PIECES: &[&[u8]] = &[
    b"a",
    b"b",
    b"c",
    b".o",
    b"1",
    b"*",
    b"*",
    b"?",
    b"**",
    b"***",
    b"/",
    b"/",
    b"/",
    b"[ab]",
    b"[!a]",
    b"[^b]",
    b"[a-c]",
    b"[]a]",
    b"[a-]",
    b"[[:alpha:]]",
    b"[![:digit:]*]",
    b"[a/]",
    b"[\\]]",
    b"\\*",
    b"\\a",
    b"\\\\",
    b"\\?",
    b"\xff",
    b"\xe9",
    b"**/",
    b"/**",
    b"/***",
    b"-",
    b" ",
    b"!",
    b"[",
];

/// A pattern of random pieces; one that we refuse is no pattern for this test.
fn random_pattern(dice: &mut Dice) -> Vec<u8> {
    loop {
        let pattern: Vec<u8> = (0..1 + dice.below(5)).flat_map(|_| dice.pick(PIECES).to_vec()).collect();
        if pattern != b"!" && pmirror::tree::filter::Rule::of(false, &pattern).is_ok() {
            return pattern;
        }
    }
}

/// rsync is the judge: with the same options it takes the same entries of a random tree.
fn agrees_with_rsync(seed: u64) {
    let (pair, mut dice) = (Pair::new(), Dice::new(seed));
    small_tree(&mut dice, &pair.source());
    pair.beside().dir("by rsync");
    let by_rsync = pair.top_path().join("by rsync");
    for turn in 0..4 {
        let mut words: Vec<Vec<u8>> = Vec::new();
        for _ in 0..1 + dice.below(5) {
            let option: &[u8] = if dice.once_in(3) { b"--include=" } else { b"--exclude=" };
            words.push([option, &random_pattern(&mut dice)].concat());
        }
        let sync = words.iter().fold(pair.sync(), |sync, word| sync.arg(OsStr::from_bytes(word)));
        sync.run().exits(0);
        let contents = |path: &std::path::Path| format!("{}/", path.display());
        let mut rsync = Command::new("rsync");
        rsync.arg("-a").args(words.iter().map(|word| OsStr::from_bytes(word)));
        support::needs::run_ok(rsync.arg(contents(&pair.source_path())).arg(contents(&by_rsync)));
        let (expected, found) = (Snapshot::paths(&by_rsync), Snapshot::paths(pair.target_path()));
        let shown: Vec<String> = words.iter().map(|word| escaped(&word[..])).collect();
        let only = |one: &std::collections::BTreeSet<Vec<u8>>, other| -> Vec<String> {
            one.difference(other).map(escaped).collect()
        };
        let differences = (only(&expected, &found), only(&found, &expected));
        assert!(expected == found, "seed {seed}, turn {turn}, {shown:?}: only rsync, only pmirror: {differences:?}");
        for path in [&by_rsync, &pair.target_path()] {
            support::needs::run_ok(Command::new("find").arg(path).args(["-mindepth", "1", "-delete"]));
        }
    }
}

#[test]
fn rsync_takes_the_same_entries() {
    for seed in 4000..4015 {
        agrees_with_rsync(seed);
    }
}

/// A matcher that tries all ways would be at it for ages.
#[test]
fn a_pattern_of_many_stars_keeps_nobody_waiting() {
    let pair = Pair::new();
    for index in 0..50 {
        pair.source().file(format!("{}{index:02}", "a".repeat(250)), "");
    }
    let pattern = format!("{}b", "*a".repeat(60));
    let deep = format!("/{}b", "**/*a*".repeat(20));
    let sync = pair.sync().args(&["--exclude", &pattern, "--exclude", &deep]);
    sync.run().exits(0).counts("file", &[("created", 50)]);
}
