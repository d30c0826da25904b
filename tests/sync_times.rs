//! Times: nanoseconds, links and directories, the ends of what a file system can hold, access times.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use support::compare::differences;
use support::outcome::second_run_changes_nothing;
use support::snapshot::{ATIME, MIRRORED};
use support::*;

const SOME_TIMES: &[(i64, u32)] = &[
    (0, 0),
    (0, 1),
    (-1, 999_999_999),
    (-1_000_000_000, 5),
    (-0x8000_0000, 0),
    (-0x7fff_ffff, 1),
    (0x7fff_ffff, 999_999_999),
    (0x8000_0000, 1),
    (0xffff_ffff, 7),
    (0x1_0000_0000, 9),
    (15_032_385_534, 999_999_999),
];

#[test]
fn times_of_every_type_are_copied_to_the_nanosecond() {
    let pair = Pair::new();
    let tree = pair.source();
    for (index, (seconds, nanoseconds)) in SOME_TIMES.iter().copied().enumerate() {
        tree.file(format!("file {index}"), "x").mtime(seconds, nanoseconds);
        tree.symlink(format!("link {index}"), "x").mtime(seconds, nanoseconds);
        tree.fifo(format!("fifo {index}")).mtime(seconds, nanoseconds);
        tree.dir(format!("directory {index}")).mtime(seconds, nanoseconds);
    }
    pair.sync().run().exits(0);
    pair.assert_mirrored();
    second_run_changes_nothing(&pair, &pair.sync(), 0);
}

#[test]
fn directory_times_are_right_though_their_content_was_made_later() {
    let pair = Pair::new();
    let tree = pair.source();
    tree.file("a/b/c/file", "");
    for (index, path) in ["a/b/c", "a/b", "a"].into_iter().enumerate() {
        tree.entry(path).mtime(1_000_000 + index as i64, 1);
    }
    tree.root().mtime(999_999, 999_999_999);
    pair.sync().run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn a_directory_that_gets_one_more_file_has_its_times_repaired() {
    let pair = Pair::new();
    pair.source().file("a/b/file", "");
    pair.sync().run().exits(0);
    pair.source().file("a/b/more", "");
    pair.source().entry("a/b").mtime(1_000, 1);
    pair.sync().run().exits(0).counts("file", &[("same", 1), ("created", 1)]);
    pair.assert_mirrored();
}

#[test]
fn only_a_time_that_changed_is_set_again() {
    let pair = Pair::new();
    pair.source().dir("directory").mtime(1_000, 1);
    pair.source().symlink("link", "x").mtime(1_000, 1);
    pair.sync().run().exits(0);
    pair.target().entry("directory").mtime(1_000, 2);
    pair.target().entry("link").mtime(1_000, 2);
    pair.sync().run().exits(0).counts("symlink", &[("metadata_only", 1)]);
    pair.assert_mirrored();
}

#[test]
fn a_file_of_another_time_is_copied_again_even_at_the_last_nanosecond() {
    let pair = Pair::new();
    pair.source().file("file", "content").mtime(1_000, 1);
    pair.target().file("file", "CONTENT").mtime(1_000, 2);
    pair.sync().run().exits(0).counts("file", &[("updated", 1)]);
    pair.assert_mirrored();
}

#[test]
fn equal_size_and_mtime_is_same() {
    let pair = Pair::new();
    pair.source().file("file", "content").mtime(1_000, 1);
    pair.target().file("file", "CONTENT").mtime(1_000, 1);
    pair.sync().run().exits(0).counts("file", &[("same", 1)]);
}

/// tmpfs holds any time, ext4 those of 1901 to 2446.
#[test]
fn times_beyond_what_the_target_holds_are_clamped_and_the_second_run_is_quiet() {
    let pair = Pair::new();
    let memory = tempfile::tempdir_in("/dev/shm").expect("a tmpfs at /dev/shm");
    let tree = Tree::at(memory.path());
    for seconds in [i64::from(i32::MIN) - 1, -62_135_596_800, 15_032_385_536, 253_402_300_799] {
        tree.file(format!("file {seconds}"), "x").mtime(seconds, 5);
        tree.symlink(format!("link {seconds}"), "x").mtime(seconds, 5);
        tree.dir(format!("directory {seconds}")).mtime(seconds, 5);
    }
    let sync = pair.sync().sync(memory.path(), pair.target_path());
    sync.run().exits(0);
    let (source, target) = (Snapshot::take(memory.path()), pair.target_now());
    for (path, seen) in &source.entries {
        let expected = Clamp::ext4(seen.mtime());
        assert_eq!(target.at(path).mtime(), expected, "{}", escaped(path));
    }
    second_run_changes_nothing(&pair, &sync, 0);
}

#[test]
fn a_time_in_the_future_is_a_time_like_any_other() {
    let pair = Pair::new();
    pair.source().file("file", "").mtime(4_102_444_800, 1);
    pair.source().dir("directory").mtime(4_102_444_800, 1);
    pair.sync().run().exits(0);
    pair.assert_mirrored();
    second_run_changes_nothing(&pair, &pair.sync(), 0);
}

#[test]
fn access_times_are_copied_with_the_modification_times() {
    let pair = Pair::new();
    pair.source().file("file", "content").mtime(2_000, 2).atime(1_000, 1);
    pair.source().fifo("fifo").mtime(2_000, 2).atime(1_000, 1);
    pair.sync().run().exits(0);
    let lines = differences(&pair.source_now(), &pair.target_now(), &[ATIME]);
    let files: Vec<&String> = lines.iter().filter(|line| line.contains("fi")).collect();
    assert!(files.is_empty(), "{files:?}");
}

#[test]
fn access_times_are_compared_only_when_asked_for() {
    let pair = Pair::new();
    pair.source().file("file", "content").mtime(2_000, 2).atime(1_000, 1);
    pair.sync().run().exits(0);
    pair.source().entry("file").atime(1_500, 5);
    pair.sync().run().exits(0).counts("file", &[("same", 1)]);
    pair.sync().arg("-U").run().exits(0).counts("file", &[("metadata_only", 1)]);
    let lines = differences(&pair.source_now(), &pair.target_now(), &[ATIME]);
    assert!(!lines.iter().any(|line| line.contains("file")), "{lines:?}");
}

#[test]
fn a_second_run_that_compares_access_times_is_quiet_too() {
    let pair = Pair::new();
    RandomTree::new(31, 80).build(&pair.source());
    pair.sync().arg("-U").run().exits(0);
    pair.assert_mirrored();
    second_run_changes_nothing(&pair, &pair.sync().arg("--atimes"), 0);
}

/// `run` checks it after every run of every test; here the access times are old, so that
/// reading without O_NOATIME would show.
#[test]
fn access_times_of_the_source_stay() {
    let pair = Pair::new();
    pair.source().file("directory/file", "content").atime(1_000, 1);
    pair.source().entry("directory").atime(1_000, 1);
    pair.source().root().atime(1_000, 1);
    pair.sync().run().exits(0);
    pair.sync().arg("-U").run().exits(0);
    assert_eq!(pair.source_now().at("directory/file").stat.stx_atime.tv_sec, 1_000);
}

#[test]
fn without_times_the_copy_has_its_own() {
    let pair = Pair::new();
    pair.source().file("file", "content").mode(0o640).mtime(1_000, 1);
    pair.sync().arg("--no-times").run().exits(0);
    let (source, target) = (pair.source_now().without_root(), pair.target_now().without_root());
    compare::assert_same_but(&source, &target, &["mtime"]);
    assert!(target.at("file").mtime() > (1_000_000_000, 0));
    assert!(!differences(&source, &target, MIRRORED).is_empty());
}
