//! `rm --target-only`: what SRC does not have goes, proven name by name, and nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use nix::errno::Errno;
use std::time::{Duration, Instant};
use support::compare::assert_unwritten;
use support::*;

/// Both trees have `both/N/file`.
fn equal() -> Pair {
    let pair = Pair::new();
    for tree in [pair.source(), pair.target()] {
        for n in 0..5 {
            tree.file(format!("both/{n}/file"), "content").mtime(1_000, 1);
        }
    }
    pair
}

fn names(tree: &Snapshot) -> Vec<&Vec<u8>> {
    tree.entries.keys().collect()
}

fn assert_same_names(pair: &Pair) {
    let (source, target) = (pair.source_now(), pair.target_now());
    assert_eq!(names(&source), names(&target));
    pair.assert_canary();
}

#[test]
fn entries_of_every_type_go_with_all_that_is_in_them() {
    let pair = equal();
    let target = pair.target();
    target.file("file", "x");
    target.symlink("link", "both/0/file");
    target.symlink("link to a directory", "../canary");
    target.fifo("both/1/fifo");
    target.socket("both/1/socket");
    target.char_device("both/1/null", 1, 3);
    target.dir("both/2/empty");
    target.chain("deep", 40).file("leaf", "x");
    target.hard_link("both/3/file", "another name");
    let run = pair.rm().run().exits(0);
    assert_same_names(&pair);
    assert_eq!((run.removals("planned"), run.removals("removed")), (8 + 41, 8 + 41));
    assert_eq!(pair.target_now().at("both/3/file").stat.stx_nlink, 1);
    let again = pair.rm().run().exits(0);
    assert_eq!(again.removals("planned"), 0);
}

#[test]
fn three_ranks_share_a_wide_and_a_deep_tree() {
    let pair = equal();
    let target = pair.target();
    for n in 0..40 {
        for file in 0..30 {
            target.file(format!("extra/{n}/{}/{file}", n % 3), "x");
        }
        target.file(format!("both/{}/more {n}", n % 5), "x");
    }
    for n in 0..3_000 {
        target.file(format!("large/{n}"), "");
    }
    let rm = pair.rm().ranks(Ranks::Mpirun(3)).args(&["--max-delete", "100%", "--hold-threshold", "100%"]);
    let run = rm.run().exits(0);
    assert_same_names(&pair);
    assert_eq!(run.removals("removed"), 40 * 30 + 40 + 40 + 40 + 1 + 3_001);
}

#[test]
fn names_of_any_bytes_go_and_never_reach_the_terminal_raw() {
    let pair = equal();
    for name in [&b"-rf"[..], b"new\nline", b"\x1b[2J", b"\xff\xfe", b" ", b"*", b"$(touch x)"] {
        pair.target().file(name, "x");
    }
    let run = pair.rm().arg("-i").run().exits(0);
    assert_same_names(&pair);
    run.assert_output_is_escaped();
    assert_eq!(String::from_utf8_lossy(&run.stdout).lines().filter(|line| line.starts_with("*deleting")).count(), 7);
}

#[test]
fn a_dry_run_lists_what_the_real_run_removes_and_removes_nothing() {
    let pair = equal();
    pair.target().file("both/4/extra/file", "x");
    pair.target().file("top", "x");
    let before = pair.target_now();
    let dry = pair.rm().arg("-n").run().exits(0);
    assert_unwritten(&before, &pair.target_now(), "the dry run wrote to the target");
    let real = pair.rm().arg("-i").run().exits(0);
    let lines = |run: &Outcome| {
        let text = String::from_utf8_lossy(&run.stdout).into_owned();
        text.lines().filter(|line| line.starts_with('*')).map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines(&dry), lines(&real));
    assert_eq!(lines(&real), ["*deleting   both/4/extra/", "*deleting   both/4/extra/file", "*deleting   top"]);
    assert_same_names(&pair);
}

#[test]
fn what_the_patterns_leave_out_stays_and_so_do_the_directories_that_hold_it() {
    let pair = equal();
    pair.target().file("extra/keep.log", "x");
    pair.target().file("extra/go", "x");
    pair.target().file("extra/inner/go", "x");
    pair.target().file("top.log", "x");
    let run = pair.rm().args(&["--exclude", "*.log"]).run().exits(0);
    let now = pair.target_now();
    assert!(now.has("extra/keep.log") && now.has("top.log"));
    assert!(!now.has("extra/go") && !now.has("extra/inner"));
    assert_eq!((run.removals("removed"), run.kept("protected")), (3, 1));
}

#[test]
fn a_source_directory_that_can_not_be_read_keeps_its_twin_and_only_that() {
    let pair = equal();
    pair.target().file("both/1/extra", "x");
    pair.target().file("both/2/extra", "x");
    pair.give_to(NOBODY);
    for path in ["both", "both/1", "both/2", "both/1/extra", "both/2/extra"] {
        pair.target().entry(path).owner(NOBODY.0, NOBODY.1);
    }
    pair.source().entry("both/1").mode(0o700);
    let run = pair.rm().as_user(NOBODY).run().exits(23);
    let now = pair.target_now();
    assert!(now.has("both/1/extra") && !now.has("both/2/extra"));
    run.has_fault("both/1", "source", Errno::EACCES);
}

#[test]
fn a_listing_of_the_source_that_breaks_off_proves_nothing() {
    let pair = equal();
    let source = FaultFs::mount(pair.source_path());
    source.rule(Rule::on("readdir").named("3").error(Errno::EIO));
    pair.target().file("both/3/extra/file", "x");
    pair.target().file("both/4/extra/file", "x");
    let rm = Pmirror::new().rm(source.path(), pair.target_path()).state_dir(pair.state_path());
    let run = rm.run_unchecked().exits(23);
    run.assert_books_balance();
    let now = pair.target_now();
    assert!(now.has("both/3/extra/file") && !now.has("both/4/extra"));
    run.has_fault("both/3", "source", Errno::EIO);
}

#[test]
fn no_error_but_enoent_proves_that_the_source_lacks_a_name() {
    for errno in [Errno::EIO, Errno::ESTALE, Errno::EACCES, Errno::ETIMEDOUT, Errno::ENOTCONN] {
        let pair = equal();
        let source = FaultFs::mount(pair.source_path());
        source.rule(Rule::on("lookup").named("extra*").error(errno));
        pair.target().file("both/1/extra file", "x");
        pair.target().file("both/1/extra/inner/file", "x");
        pair.target().file("both/1/goes", "x");
        let rm = Pmirror::new().rm(source.path(), pair.target_path()).state_dir(pair.state_path());
        let run = rm.run_unchecked().exits(23);
        run.assert_books_balance();
        let now = pair.target_now();
        assert!(now.has("both/1/extra file") && now.has("both/1/extra/inner/file"), "{errno}");
        assert!(!now.has("both/1/goes"), "{errno}");
        let fates = (run.removals("removed"), run.removals("failed"), run.kept("holds_failed"));
        assert_eq!(fates, (1, 1, 1), "{errno}");
    }
}

/// Removes these files; at the first removal something is done to the source.
fn while_removing(pair: &Pair, paths: &[String], meanwhile: impl FnOnce()) -> Outcome {
    let target = FaultFs::mount(pair.target_path());
    paths.iter().for_each(|path| drop(pair.target().file(path, "old")));
    target.rule(Rule::on("unlink").named("back*").first(1).hang());
    target.start_log();
    let rm = Pmirror::new().rm(pair.source_path(), target.path()).state_dir(pair.state_path());
    let rm = rm.args(&["--threads", "1"]);
    std::thread::scope(|scope| {
        let run = scope.spawn(|| rm.run_unchecked());
        let started = Instant::now();
        let is_there = || target.take_log().iter().any(|line| line.contains("unlink") && line.contains("back"));
        while !is_there() && started.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(10));
        }
        meanwhile();
        target.clear();
        run.join().unwrap()
    })
}

#[test]
fn a_name_that_comes_back_on_the_source_before_its_turn_stays() {
    let pair = equal();
    let paths: Vec<String> = (0..6).map(|n| format!("both/1/back {n}")).collect();
    let run = while_removing(&pair, &paths, || paths.iter().for_each(|path| drop(pair.source().file(path, "new"))));
    let run = run.exits(24);
    assert_eq!((run.removals("removed"), run.kept("on_source")), (1, 5));
}

/// What has the path now is not what was listed, so that it lacks a name proves nothing.
#[test]
fn a_source_directory_that_was_replaced_by_another_proves_nothing() {
    let pair = equal();
    let paths: Vec<String> = (0..5).map(|n| format!("both/{n}/back")).collect();
    let run = while_removing(&pair, &paths, || {
        std::fs::rename(pair.source_path().join("both"), pair.source_path().join("moved")).unwrap();
        (0..5).for_each(|n| drop(pair.source().dir(format!("both/{n}"))));
    });
    run.assert_books_balance();
    let run = run.exits(25);
    let left = paths.iter().filter(|path| pair.target_path().join(path).exists()).count();
    assert_eq!((run.removals("removed"), run.kept("unproven"), left), (1, 4, 4));
}

#[test]
fn an_empty_source_is_refused_while_the_target_is_not() {
    let pair = Pair::new();
    pair.target().file("all/of/it", "x");
    pair.rm().run().refuses(3, &["is empty", "mounted"]);
    assert!(pair.target_now().has("all/of/it"));
    pair.sync().arg("--delete").run().refuses(3, &["is empty"]);
    assert!(pair.target_now().has("all/of/it"));
}

#[test]
fn exchanged_operands_are_refused_once_a_run_has_told_which_is_which() {
    let pair = equal();
    pair.sync().run().exits(0);
    pair.source().file("only here", "x");
    let exchanged = Pmirror::new().rm(pair.target_path(), pair.source_path()).state_dir(pair.state_path());
    exchanged.run().refuses(3, &["exchanged"]);
    assert!(pair.source_now().has("only here"));
}

#[test]
fn a_copy_to_other_roots_than_those_of_the_last_run_says_so_once() {
    let told = |run: &Outcome, word: &str| String::from_utf8_lossy(&run.stderr).matches(word).count();
    for ranks in [Ranks::One, Ranks::Mpirun(2)] {
        let pair = equal();
        pair.sync().run().exits(0);
        let usual = pair.sync().run().exits(0);
        assert_eq!(told(&usual, "exchanged") + told(&usual, "mounted"), 0);
        let exchanged = || Pmirror::new().sync(pair.target_path(), pair.source_path()).state_dir(pair.state_path());
        assert_eq!(told(&exchanged().arg("-n").run().exits(0), "exchanged"), 0, "it writes nothing");
        assert_eq!(told(&exchanged().ranks(ranks).run().exits(0), "SRC and DST look exchanged"), 1);
    }
    let pair = equal();
    pair.sync().run().exits(0);
    std::fs::rename(pair.target_path(), pair.beside().path("unmounted")).unwrap();
    std::fs::create_dir(pair.target_path()).unwrap();
    let run = pair.sync().run().exits(0);
    assert_eq!(told(&run, "pmirror: DST ") * told(&run, "is not the directory that it was"), 1);
    assert_eq!(
        told(&pair.sync().run().exits(0), "is not the directory"),
        0,
        "the copy has made it the one that is meant"
    );
}

#[test]
fn a_root_that_is_not_the_one_of_the_last_run_is_refused_until_a_copy_has_run() {
    let pair = equal();
    pair.target().file("both/1/extra", "x");
    pair.sync().run().exits(0);
    std::fs::rename(pair.source_path(), pair.beside().path("unmounted")).unwrap();
    std::fs::create_dir(pair.source_path()).unwrap();
    pair.source().file("both/left over in the mount point", "x");
    pair.rm().run().refuses(3, &["SRC", "not the directory that it was", "mounted"]);
    pair.sync().arg("--delete").run().refuses(3, &["not the directory that it was"]);
    assert!(pair.target_now().has("both/1/extra") && pair.target_now().has("both/1/file"));
    pair.sync().run().exits(0);
    let run = pair.rm().run().exits(0);
    assert_eq!(run.removals("removed"), 5 + 5 + 1);
}

fn with_many(lost: u32, both: u32) -> Pair {
    let pair = equal();
    for n in 0..both {
        pair.source().file(format!("home/ada/{n}"), "");
        pair.target().file(format!("home/ada/{n}"), "");
    }
    for n in 0..lost {
        pair.target().file(format!("home/ada/lost {n}"), "");
    }
    pair
}

#[test]
fn more_removals_than_the_limit_are_refused_with_the_number_to_pass() {
    let pair = with_many(1_001, 1_100);
    pair.target().file("both/1/extra", "x");
    let refused = pair.rm().run().exits(3);
    assert_eq!(refused.removals("held"), 1_002);
    assert!(pair.target_now().has("home/ada/lost 7") && pair.target_now().has("both/1/extra"));
    assert!(String::from_utf8_lossy(&refused.stdout).contains("--max-delete 1002"));
    pair.rm().args(&["--max-delete", "1001"]).run().exits(3);
    let run = pair.rm().args(&["--max-delete", "1002"]).run().exits(0);
    assert_eq!(run.removals("removed"), 1_002);
    assert_same_names(&pair);
}

#[test]
fn a_subtree_that_loses_most_of_itself_is_held_and_the_rest_goes_on() {
    let pair = with_many(1_000, 900);
    pair.target().file("both/1/extra", "x");
    let run = pair.rm().run().exits(25);
    assert_eq!((run.removals("held"), run.removals("removed")), (1_000, 1));
    assert_eq!(run.summary()["removals"]["held"][0]["path"], "home");
    assert!(pair.target_now().has("home/ada/lost 7") && !pair.target_now().has("both/1/extra"));
    let all = pair.rm().args(&["--hold-threshold", "60%", "--max-delete", "60%"]).run().exits(0);
    assert_eq!(all.removals("removed"), 1_000);
    assert_same_names(&pair);
}

#[test]
fn a_held_directory_that_the_source_lacks_stays_whole() {
    let pair = equal();
    for n in 0..1_000 {
        pair.target().file(format!("gone/{}/{n}", n % 7), "");
    }
    pair.target().file("small/file", "");
    let run = pair.rm().run().exits(25);
    assert_eq!((run.removals("held"), run.removals("removed")), (1_008, 2));
    let now = pair.target_now();
    assert!(now.has("gone/3/3") && !now.has("small"));
    let deeper = pair.rm().args(&["--hold-depth", "2"]).run().exits(3);
    assert_eq!(deeper.removals("held"), 1_008, "the limit holds now: no subtree loses 1,000");
}

#[test]
fn a_held_subtree_may_hold_what_can_not_be_looked_into() {
    let pair = equal();
    for n in 0..1_100 {
        pair.target().file(format!("gone/{n}"), "");
    }
    pair.target().file("gone/sealed/inner/file", "");
    let target = FaultFs::mount(pair.target_path());
    target.rule(Rule::on("readdir").named("inner").error(Errno::EIO));
    let rm = Pmirror::new().rm(pair.source_path(), target.path()).state_dir(pair.state_path());
    let run = rm.run_unchecked().exits(3);
    run.assert_books_balance();
    assert_eq!(run.removals("held"), 1_103);
}

/// Both trees in a file system that does not tell types with names, in a mount namespace of its own.
#[test]
fn where_listings_tell_no_types_what_is_left_out_stays_all_the_same() {
    let pair = Pair::new();
    let contents = pair.beside();
    for path in
        ["source/both", "source/scratch/file", "target/both", "target/scratch/results/file", "target/extra/file"]
    {
        contents.file(format!("contents/{path}"), "x");
    }
    let path = |name: &str| pair.top_path().join(name).display().to_string();
    let (image, mounted) = (path("image"), path("mounted"));
    contents.dir("mounted");
    let options = ["-q", "-O", "^filetype,^metadata_csum,^has_journal", "-d", &path("contents"), &image, "16M"];
    support::needs::run_ok(std::process::Command::new("mkfs.ext4").args(options));
    let script = format!("mount -o loop '{image}' '{mounted}' && exec \"$@\"");
    let rm = Pmirror::new().rm(format!("{mounted}/source"), format!("{mounted}/target"));
    let rm = rm.state_dir(pair.state_path()).wrapped_by(&["unshare", "--mount", "sh", "-c", &script, "sh"]);
    let run = rm.args(&["--exclude=scratch/"]).run_unchecked().exits(0);
    run.assert_books_balance();
    assert_eq!(run.removals("removed"), 2, "extra and the file in it");
}

#[test]
fn what_is_mounted_on_the_target_stays() {
    let pair = equal();
    pair.target().dir("extra/mount");
    pair.target().file("extra/file", "x");
    pair.beside().file("other/precious", "x");
    let (other, point) = (pair.beside().path("other"), pair.target_path().join("extra/mount"));
    let script = format!("mount --bind '{}' '{}' && exec \"$@\"", other.display(), point.display());
    let rm = pair.rm().wrapped_by(&["unshare", "--mount", "sh", "-c", &script, "sh"]);
    let run = rm.run_unchecked().exits(25);
    assert_eq!(std::fs::read(other.join("precious")).unwrap(), b"x");
    assert_eq!((run.removals("removed"), run.kept("mount_point")), (1, 2));
    assert!(pair.target_now().has("extra/mount") && !pair.target_now().has("extra/file"));
}

#[test]
fn a_rank_that_misses_a_mount_in_the_source_removes_nothing_there() {
    let pair = equal();
    pair.source().dir("mount");
    for n in 0..200 {
        pair.beside().file(format!("other/{n}/file"), "x");
        pair.target().file(format!("mount/{n}/file"), "x");
    }
    let (other, point) = (pair.beside().path("other"), pair.source_path().join("mount"));
    let (other, point) = (other.display(), point.display());
    let rank = format!("[ $OMPI_COMM_WORLD_RANK = 0 ] || umount '{point}'; exec \"$@\"");
    let script = format!("mount --bind '{other}' '{point}' && exec \"$@\"");
    let rm = pair.rm().ranks(Ranks::Mpirun(3));
    let rm = rm.launched_by(&["unshare", "--mount", "sh", "-c", &script, "sh"]);
    let run = rm.wrapped_by(&["unshare", "--mount", "sh", "-c", &rank, "sh"]).run_unchecked();
    run.refuses(3, &["rank 1 on ", "in SRC at mount"]);
    assert!((0..200).all(|n| pair.target_path().join(format!("mount/{n}/file")).exists()));
}

#[test]
fn a_run_that_was_killed_is_completed_by_the_next() {
    let pair = equal();
    for n in 0..60 {
        pair.target().file(format!("extra/{}/{n}", n % 4), "x");
    }
    let kill = "inject=unlinkat:signal=SIGKILL:when=8";
    let killed = pair.rm().wrapped_by(&["strace", "-f", "-o", "/dev/null", "-e", "trace=unlinkat", "-e", kill]);
    killed.run_unchecked().exits(137);
    assert!(pair.target_now().has("extra"));
    pair.rm().run().exits(0);
    assert_same_names(&pair);
}

#[test]
fn an_ordinary_user_removes_from_directories_that_are_closed_to_him() {
    let pair = equal();
    pair.target().file("extra/closed/file", "x");
    pair.give_to(NOBODY);
    for path in ["extra/closed/file", "extra/closed", "extra"] {
        pair.target().entry(path).owner(NOBODY.0, NOBODY.1);
    }
    pair.target().entry("extra/closed").mode(0o000);
    pair.target().entry("extra").mode(0o500);
    pair.rm().as_user(NOBODY).run().exits(0);
    assert_same_names(&pair);
}

#[test]
fn rm_wants_to_know_what_to_remove() {
    let forms = ["pmirror rm --target-only SRC DST", "pmirror rm --tree PATH"];
    Pmirror::new().arg("rm").run().refuses(1, &forms);
    Pmirror::new().args(&["rm", "a", "b"]).run().refuses(1, &forms);
    Pmirror::new().args(&["rm", "--target-only", "a"]).run().refuses(1, &forms);
    Pmirror::new().args(&["rm", "--tree", "a", "b"]).run().refuses(1, &forms);
    Pmirror::new().args(&["rm", "--tree", "a", "--max-delete", "0"]).run().refuses(1, &["--target-only"]);
    Pmirror::new().args(&["sync", "a", "b", "--max-delete", "0"]).run().refuses(1, &["--delete"]);
}

#[test]
fn guards_do_not_come_from_the_environment() {
    let pair = with_many(1_001, 1_100);
    let rm = pair.rm().env("PMIRROR_MAX_DELETE", "100%").env("PMIRROR_HOLD_THRESHOLD", "100%");
    rm.run().exits(3);
}

#[test]
fn a_chain_of_a_thousand_directories_goes() {
    let pair = equal();
    pair.target().chain("deep", 1_000).file("leaf", "x");
    pair.target().chain(&"long name ".repeat(20), 40).file("leaf beyond PATH_MAX", "x");
    let run = pair.rm().args(&["--max-delete", "100%", "--hold-threshold", "100%"]).run().exits(0);
    assert_eq!(run.removals("removed"), 1_001 + 41);
    assert_same_names(&pair);
}
