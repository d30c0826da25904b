//! `pmirror mtimes`: the directories that both trees have are right when it ends, and nothing else was
//! looked at or changed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::compare::assert_unwritten;
use support::outcome::second_run_changes_nothing;
use support::*;

/// A mirrored pair of a few directories with files in them.
fn mirrored(make: impl Fn(&Tree)) -> Pair {
    let pair = Pair::new();
    for path in ["a", "a/b", "a/b/c", "d"] {
        pair.source().file(format!("{path}/file"), "content");
    }
    make(&pair.source());
    for (path, seconds) in [("a/b/c", 3_000), ("a/b", 2_000), ("a", 1_000), ("d", 4_000)] {
        pair.source().entry(path).mtime(seconds, 7);
    }
    pair.source().root().mtime(5_000, 7);
    pair.sync().run().exits(0);
    pair
}

fn lines(run: &Outcome) -> Vec<String> {
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn times_that_deletes_moved_are_put_right() {
    let pair = mirrored(|_| ());
    pair.target().file("a/b/extra", "").unlink();
    pair.target().file("extra", "").unlink();
    let run = pair.mtimes().run().exits(0);
    run.counts("directory", &[("metadata_only", 2), ("same", 3)]);
    assert_eq!(run.total("seen"), 5, "files are none of its business");
    pair.assert_mirrored();
    second_run_changes_nothing(&pair, &pair.mtimes(), 0);
}

#[test]
fn owner_mode_acls_and_xattrs_are_put_right_too() {
    let pair = mirrored(|tree| {
        tree.entry("a").mode(0o2750).owner(5, 6);
        tree.entry("a/b").acl("u::rwx,u:1000:r-x,g::r-x,m::r-x,o::---").default_acl("u::rwx,g::r-x,o::---");
        tree.entry("d").xattr("user.kept", "1");
    });
    let target = pair.target();
    target.entry("a").mode(0o700).owner(1, 2);
    target.entry("a/b").acl("u::rwx,g::rwx,o::---");
    target.entry("a/b/c").default_acl("u::rwx,g::rwx,o::---");
    target.entry("d").remove_xattr("user.kept").xattr("user.extra", "2");
    pair.mtimes().run().exits(0).counts("directory", &[("metadata_only", 4), ("same", 1)]);
    pair.assert_mirrored();
    second_run_changes_nothing(&pair, &pair.mtimes(), 0);
}

#[test]
fn three_ranks_set_what_one_would() {
    let pair = Pair::new();
    for index in 0..300 {
        pair.source().dir(format!("{}/{index}", index % 7)).mtime(1_000 + index, 1);
    }
    for index in 0..7 {
        pair.source().entry(index.to_string()).mtime(index, 2);
    }
    pair.sync().run().exits(0);
    for index in 0..300 {
        pair.target().entry(format!("{}/{index}", index % 7)).mtime(7, 7).mode(0o700);
    }
    let mtimes = pair.mtimes().ranks(Ranks::Mpirun(3));
    mtimes.run().exits(0).counts("directory", &[("metadata_only", 300), ("same", 8)]);
    pair.assert_mirrored();
    second_run_changes_nothing(&pair, &mtimes, 0);
}

#[test]
fn files_are_neither_looked_at_nor_changed() {
    let pair = mirrored(|_| ());
    pair.target().entry("a/file").mode(0o600).mtime(9, 9);
    pair.target().entry("a").mtime(9, 9);
    let trace = pair.state_path().join("trace");
    let strace = ["strace", "-f", "-qq", "-e", "trace=statx,openat,openat2", "-o", trace.to_str().unwrap()];
    pair.mtimes().wrapped_by(&strace).run().exits(0).counts("directory", &[("metadata_only", 1), ("same", 4)]);
    let looked = std::fs::read_to_string(trace).unwrap();
    assert!(looked.contains("\"a\"") && !looked.contains("\"file\""), "{looked}");
    assert_eq!(pair.target_now().at("a/file").mode(), 0o600);
}

#[test]
fn where_all_is_right_nothing_is_written_but_the_lock() {
    let pair = mirrored(|_| ());
    let trace = pair.state_path().join("trace");
    let writes = "trace=fchmod,fchmodat,fchown,fchownat,utimensat,setxattr,fsetxattr,removexattr,\
                  fremovexattr,mkdirat,unlinkat,renameat,renameat2,linkat,symlinkat,mknodat,ftruncate";
    let strace = ["strace", "-f", "-qq", "-y", "-e", writes, "-o", trace.to_str().unwrap()];
    pair.mtimes().wrapped_by(&strace).run().exits(0).counts("directory", &[("same", 5)]);
    let trace = std::fs::read_to_string(trace).unwrap();
    // The root's times are put back when the lock's directory comes and goes.
    let is_ours = |line: &&str| line.contains(".pmirror") || line.contains("utimensat(") && line.contains("/target>,");
    let target = pair.target_path().display().to_string();
    let others: Vec<&str> = trace.lines().filter(|line| line.contains(&target) && !is_ours(line)).collect();
    assert!(trace.contains(".pmirror") && others.is_empty(), "{others:#?}");
}

#[test]
fn a_directory_that_the_target_lacks_is_failed_and_the_rest_is_set() {
    let pair = mirrored(|_| ());
    pair.source().dir("only here/below");
    pair.source().dir("a/other");
    pair.target().file("a/other", "no directory");
    pair.target().entry("d").mtime(9, 9);
    let run = pair.mtimes().run().exits(23);
    assert_eq!((run.count("directory", "failed"), run.count("directory", "seen")), (2, 7));
    for path in ["only here", "a/other"] {
        assert_eq!(run.faults_of(path)[0]["note"], "DST has no such directory: run sync first");
    }
    assert_eq!(pair.target_now().at("d").mtime(), (4_000, 7));
    assert!(!pair.target_now().has("only here"), "it makes nothing");
}

#[test]
fn what_a_pattern_leaves_out_stays_as_it_is() {
    let pair = mirrored(|_| ());
    for path in ["a/b", "a/b/c", "d"] {
        pair.target().entry(path).mtime(9, 9);
    }
    let run = pair.mtimes().args(&["--exclude", "/a/b/"]).run().exits(0);
    run.counts("directory", &[("metadata_only", 1), ("same", 2), ("skipped", 1)]);
    assert_eq!(run.number("/skipped/exclude"), 1);
    assert_eq!(pair.target_now().at("a/b").mtime(), (9, 9));
}

#[test]
fn a_dry_run_lists_what_the_run_then_sets() {
    let pair = mirrored(|tree| {
        tree.entry("d").xattr("user.kept", "1");
    });
    pair.target().entry("a").mtime(9, 9);
    pair.target().entry("a/b").mode(0o700);
    pair.target().entry("d").remove_xattr("user.kept");
    pair.target().root().mtime(9, 9);
    let before = pair.target_now();
    let dry = pair.mtimes().args(&["-n", "-q"]).run().exits(0);
    assert_unwritten(&before, &pair.target_now(), "a dry run wrote");
    assert_eq!(lines(&dry), [".d........x d/", ".d...p..... a/b/", ".d..t...... ./", ".d..t...... a/"]);
    dry.counts("directory", &[("metadata_only", 4), ("same", 1)]);
    let real = pair.mtimes().args(&["-i", "-q"]).run().exits(0);
    assert_eq!(lines(&real), lines(&dry));
    pair.assert_mirrored();
    assert!(lines(&pair.mtimes().args(&["-i", "-q"]).run()).is_empty());
}

#[test]
fn an_ordinary_user_sets_directories_that_are_closed_to_him() {
    let pair = mirrored(|tree| {
        tree.root().owner(NOBODY.0, NOBODY.1);
        for path in ["a", "a/b", "a/b/c", "d"] {
            tree.entry(path).owner(NOBODY.0, NOBODY.1);
        }
        for path in ["a/b/c", "a/b", "a"] {
            tree.entry(path).mode(0o555);
        }
    });
    pair.give_to(NOBODY);
    pair.target().entry("a/b/c").mtime(9, 9).mode(0o500);
    // One may be listed but not searched, the other neither.
    pair.target().entry("a/b").mtime(9, 9).mode(0o400);
    pair.target().entry("d").mtime(9, 9).mode(0);
    let mtimes = pair.mtimes().as_user(NOBODY);
    mtimes.run().exits(0);
    let (source, target) = (pair.source_now(), pair.target_now());
    for path in ["a", "a/b", "a/b/c", "d"] {
        let (wanted, found) = (source.at(path), target.at(path));
        assert_eq!((found.mode(), found.mtime()), (wanted.mode(), wanted.mtime()), "{path}");
    }
    second_run_changes_nothing(&pair, &mtimes, 0);
}

#[test]
fn an_interrupted_run_is_run_again() {
    let pair = Pair::new();
    for index in 0..400 {
        pair.source().dir(format!("{}/{index}", index % 20)).mtime(1_000, 1);
    }
    pair.sync().run().exits(0);
    for index in 0..400 {
        pair.target().entry(format!("{}/{index}", index % 20)).mtime(9, 9);
    }
    let slow = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=utimensat:delay_enter=20000"];
    let end = ["timeout", "--preserve-status", "-s", "TERM", "1"];
    let stopped = pair.mtimes().wrapped_by(&[&slow[..], &end].concat()).run().exits(20);
    assert!(stopped.total("metadata_only") < 400, "it was stopped too late to show anything");
    pair.mtimes().run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn a_link_that_takes_the_place_of_a_directory_is_never_followed() {
    let pair = Pair::new();
    pair.beside().dir("victim/below").mode(0o700).mtime(1_000, 1);
    pair.beside().entry("victim").mode(0o700).mtime(1_000, 2);
    for index in 0..20 {
        pair.source().dir(format!("a/{index}")).mode(0o777).owner(7, 7);
    }
    pair.source().dir("a/below").mode(0o777).owner(7, 7).mtime(2_000, 1);
    pair.sync().run().exits(0);
    let before = Snapshot::take(pair.beside().path("victim"));
    pair.beside().symlink("outside", "victim");
    let (inside, outside) = (pair.target().entry("a"), pair.beside().entry("outside"));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                inside.exchange(&outside);
            }
        });
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(1) {
            let run = pair.mtimes().run_unchecked();
            run.assert_books_balance();
            assert!([0, 23, 24].contains(&run.code), "exit code {}", run.code);
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_unwritten(&before, &Snapshot::take(pair.beside().path("victim")), "written through a link");
}

#[test]
fn a_missing_target_is_not_made() {
    let pair = Pair::without_target();
    let run = pair.mtimes().run_unchecked();
    assert_ne!(run.code, 0);
    assert!(!pair.target_path().exists());
}
