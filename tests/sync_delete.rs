//! `sync --delete`: the copy, then the same plan, guards and proofs as `rm --target-only`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use support::outcome::second_run_changes_nothing;
use support::*;

fn pair() -> Pair {
    let pair = Pair::new();
    for n in 0..4 {
        pair.source().file(format!("both/{n}/file"), format!("content {n}")).mtime(1_000, n);
        pair.target().file(format!("both/{n}/extra/deep/file"), "x");
    }
    for path in ["both/0", "both/1", "both"] {
        pair.source().entry(path).mtime(2_000, 2);
    }
    pair.target().symlink("extra", "both");
    pair
}

#[test]
fn one_run_copies_deletes_and_sets_the_times_of_directories() {
    for ranks in [Ranks::One, Ranks::Mpirun(3)] {
        let pair = pair();
        let sync = pair.sync().arg("--delete").ranks(ranks);
        let run = sync.run().exits(0);
        assert_eq!(run.removals("removed"), 4 * 3 + 1);
        pair.assert_mirrored();
        second_run_changes_nothing(&pair, &sync, 0);
    }
}

#[test]
fn without_delete_nothing_is_removed() {
    let pair = pair();
    let run = pair.sync().run().exits(0);
    assert!(pair.target_now().has("both/1/extra/deep/file"));
    assert_eq!(run.number("/target_only"), 5);
}

#[test]
fn a_directory_in_the_way_of_something_else_is_part_of_the_plan() {
    for ranks in [Ranks::One, Ranks::Mpirun(3)] {
        let pair = pair();
        let source = pair.source();
        source.file("file", "content");
        source.symlink("link", "file");
        source.fifo("fifo");
        source.file("linked", "one inode");
        source.hard_link("linked", "both/3/linked too");
        for name in ["file", "link", "fifo", "linked", "both/3/linked too"] {
            pair.target().file(format!("{name}/inner/file"), "x");
        }
        pair.sync().ranks(ranks).run().exits(23);
        assert!(pair.target_now().has("file/inner/file"), "only --delete removes it");
        let sync = pair.sync().arg("--delete").ranks(ranks);
        let dry = sync.clone().arg("-n").run().exits(0);
        let real = sync.clone().arg("-i").run().exits(0);
        assert_eq!(String::from_utf8_lossy(&dry.stdout), String::from_utf8_lossy(&real.stdout));
        assert_eq!(dry.totals(), real.totals());
        pair.assert_mirrored();
        second_run_changes_nothing(&pair, &sync, 0);
    }
}

#[test]
fn what_a_guard_refuses_stays_and_the_copy_is_done() {
    let pair = pair();
    let sync = pair.sync().args(&["--delete", "--max-delete", "12"]);
    let run = sync.run().exits(25);
    assert_eq!((run.removals("held"), run.count("file", "created")), (13, 4));
    assert!(pair.target_now().has("both/1/extra/deep/file"));
    let again = sync.run().exits(3);
    assert_eq!(again.removals("held"), 13, "nothing at all was changed");
    pair.sync().args(&["--delete", "--max-delete", "13"]).run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn a_directory_in_the_way_of_one_of_the_names_of_an_inode_does_not_part_them() {
    for ranks in [Ranks::One, Ranks::Mpirun(3)] {
        let pair = pair();
        for (name, other) in [("a", "z"), ("z2", "a2")] {
            pair.source().file(name, "of both");
            pair.source().hard_link(name, other);
            pair.target().file(format!("{name}/file"), "x");
        }
        let sync = pair.sync().arg("--delete").ranks(ranks);
        let dry = sync.clone().arg("--dry-run").run().exits(0);
        let run = sync.run().exits(0);
        pair.assert_mirrored();
        assert_same_links(pair.source_path(), pair.target_path());
        assert_eq!((run.count("file", "linked"), run.totals()), (2, dry.totals()));
        second_run_changes_nothing(&pair, &sync, 0);
    }
}

#[test]
fn a_directory_in_the_way_that_is_held_stays_and_its_place_is_not_taken() {
    let pair = pair();
    pair.source().file("file", "content");
    pair.target().file("file/inner", "x");
    let run = pair.sync().args(&["--delete", "--max-delete", "0"]).run().exits(23);
    assert!(pair.target_now().has("file/inner"));
    assert_eq!(run.count("file", "failed"), 1);
}

#[test]
fn excluded_names_stay_on_the_target() {
    let pair = pair();
    pair.target().file("both/0/extra/note.txt", "x");
    pair.sync().args(&["--delete", "--exclude", "*.txt"]).run().exits(0);
    let now = pair.target_now();
    assert!(now.has("both/0/extra/note.txt") && !now.has("both/1/extra") && !now.has("both/0/extra/deep"));
}

#[test]
fn with_delete_excluded_what_the_patterns_leave_out_goes_from_the_target_and_never_from_the_source() {
    for ranks in [Ranks::One, Ranks::Mpirun(3)] {
        let pair = pair();
        pair.source().file("both/1/cache/deep/file", "content");
        pair.source().file("both/2/note.txt", "content");
        pair.sync().run().exits(0);
        pair.target().file("both/0/extra/note.txt", "x");
        pair.target().file("both/3/old.txt", "x");
        let words = ["--exclude", "*.txt", "--exclude", "/both/*/cache/"];
        pair.rm().args(&words).arg("-n").run().exits(0);
        assert!(pair.target_now().has("both/1/cache/deep/file"), "without it they stay");
        let sync = pair.sync().args(&words).args(&["--delete", "--delete-excluded"]).ranks(ranks);
        let dry = sync.clone().arg("-n").run().exits(0);
        let run = sync.clone().arg("-i").run().exits(0);
        assert_eq!(String::from_utf8_lossy(&dry.stdout), String::from_utf8_lossy(&run.stdout));
        let now = pair.target_now();
        assert!(
            ["both/1/cache", "both/2/note.txt", "both/0/extra", "both/3/old.txt"].iter().all(|path| !now.has(path))
        );
        assert!(now.has("both/1/file") && pair.source_now().has("both/1/cache/deep/file"));
        assert_eq!(run.removals("removed"), 13 + 3 + 1 + 1 + 1);
        second_run_changes_nothing(&pair, &sync, 0);
    }
}

#[test]
fn a_directory_that_is_left_out_stays_though_a_file_should_have_its_name() {
    let pair = pair();
    pair.source().file("cache", "a file");
    pair.target().file("cache/precious", "x");
    pair.sync().args(&["--delete", "--exclude", "cache/"]).run().exits(23);
    assert!(pair.target_now().has("cache/precious"));
}

#[test]
fn what_is_excluded_goes_by_a_plan_too() {
    let pair = pair();
    pair.source().file("both/1/cache/file", "content");
    pair.sync().run().exits(0);
    let plan = pair.beside().path("plan");
    let rm = || pair.rm().args(&["--exclude", "cache/", "--delete-excluded"]);
    rm().arg("--plan").arg(&plan).run().exits(0);
    pair.rm().arg("--apply").arg(&plan).run().refuses(1, &["--delete-excluded again"]);
    let run = pair.rm().arg("--delete-excluded").arg("--apply").arg(&plan).run().exits(0);
    assert_eq!(run.removals("removed"), 13 + 2);
    assert!(!pair.target_now().has("both/1/cache") && pair.source_now().has("both/1/cache/file"));
}

#[test]
fn a_list_of_files_and_delete_are_not_taken_together() {
    let pair = pair();
    let list = pair.beside().file("list", "both\n");
    drop(list);
    let sync = pair.sync().arg("--delete").arg("--files-from").arg(pair.beside().path("list"));
    sync.run().refuses(1, &["--delete", "--files-from"]);
}

#[test]
fn a_copy_that_was_killed_is_completed_also_when_rm_and_mtimes_ran_in_between() {
    let pair = pair();
    for n in 0..40 {
        pair.source().file(format!("both/2/{n}"), "content").mtime(1_000, n);
    }
    let kill = "inject=renameat:signal=SIGKILL:when=3";
    let sync = || pair.sync().args(&["--size-only", "--threads", "2"]);
    sync()
        .wrapped_by(&["strace", "-f", "-o", "/dev/null", "-e", "trace=renameat", "-e", kill])
        .run_unchecked()
        .exits(137);
    let temporaries = || {
        let names = Snapshot::paths(pair.target_path());
        names.iter().filter(|path| String::from_utf8_lossy(path).contains(".pmirror-")).count()
    };
    assert!(temporaries() > 0);
    let run = pair.rm().run_unchecked().exits(0);
    assert_eq!((temporaries(), run.removals("removed")), (0, 13));
    Pmirror::new().mtimes(pair.source_path(), pair.target_path()).state_dir(pair.state_path()).run_unchecked();
    pair.sync().run().exits(0);
    pair.assert_mirrored();
    assert!(!pair.target_now().has(".pmirror"));
}

#[test]
fn left_overs_of_a_dead_run_are_swept_not_planned() {
    let pair = pair();
    let kill = "inject=renameat,openat2:signal=SIGKILL:when=12";
    let _ = pair.sync().arg("--size-only").wrapped_by(&["strace", "-f", "-o", "/dev/null", "-e", kill]).run_unchecked();
    let run = pair.sync().arg("--delete").run().exits(0);
    assert_eq!(run.removals("removed"), 13);
    pair.assert_mirrored();
}
