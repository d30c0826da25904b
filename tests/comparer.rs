//! The comparer itself: it sees every kind of difference, and none where there is none.
//!
//! Without this the other tests would not mean much. pmirror has no part in it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::process::Command;
use support::compare::{assert_untouched, differences};
use support::snapshot::MIRRORED;
use support::*;

/// A tree of one file `f`, link `l`, directory `d` and device `c`, with times set.
fn small_tree(tree: &Tree) {
    tree.file("f", "content").xattr("user.a", "1").mode(0o640).mtime(1_000, 1);
    tree.symlink("l", "f").mtime(2_000, 2);
    tree.char_device("c", 1, 3).mtime(3_000, 3);
    tree.dir("d").mtime(4_000, 4);
    tree.root().mtime(5_000, 5);
}

/// The lines that tell how a small tree differs from another after `change`.
fn seen_after(change: fn(&Tree)) -> Vec<String> {
    let pair = Pair::new();
    small_tree(&pair.source());
    small_tree(&pair.target());
    change(&pair.target());
    differences(&pair.source_now(), &pair.target_now(), MIRRORED)
}

#[test]
fn equal_trees_do_not_differ() {
    assert_eq!(seen_after(|_| ()), Vec::<String>::new());
}

#[test]
fn each_changed_attribute_is_named() {
    type Change = (&'static str, fn(&Tree));
    let changes: &[Change] = &[
        ("\"f\": content", |tree| {
            tree.entry("f").content("CONTENT").mtime(1_000, 1);
        }),
        ("\"f\": size", |tree| {
            tree.entry("f").content("more content").mtime(1_000, 1);
        }),
        ("\"f\": mode 0640 -> 4640", |tree| {
            tree.entry("f").mode(0o4640);
        }),
        ("\"f\": owner 0 -> 7", |tree| {
            tree.entry("f").owner(7, 0);
        }),
        ("\"f\": group 0 -> 7", |tree| {
            tree.entry("f").owner(0, 7);
        }),
        ("\"f\": mtime", |tree| {
            tree.entry("f").mtime(1_000, 2);
        }),
        ("\"f\": xattrs", |tree| {
            tree.entry("f").xattr("user.a", "2");
        }),
        ("\"f\": xattrs", |tree| {
            tree.entry("f").xattr("trusted.b", "2");
        }),
        ("\"f\": xattrs", |tree| {
            tree.entry("f").capability();
        }),
        ("\"d\": xattrs", |tree| {
            tree.entry("d").default_acl("u::rwx,g::r-x,o::---");
        }),
        ("\"l\": mtime", |tree| {
            tree.entry("l").mtime(2_000, 3);
        }),
        ("\"l\": owner 0 -> 9", |tree| {
            tree.entry("l").owner(9, 0);
        }),
        ("\"l\": xattrs", |tree| {
            tree.entry("l").xattr("trusted.b", "2");
        }),
        ("\"c\": mtime", |tree| {
            tree.entry("c").mtime(3_000, 4);
        }),
        ("\"d\": mtime", |tree| {
            tree.entry("d").mtime(4_000, 5);
        }),
        ("\"\": mtime", |tree| {
            tree.root().mtime(5_000, 6);
        }),
    ];
    for (expected, change) in changes {
        let lines = seen_after(*change);
        assert!(lines.iter().any(|line| line.contains(expected)), "{expected}: {lines:?}");
    }
}

#[test]
fn a_name_too_many_or_too_few_and_another_type_are_named() {
    let more = seen_after(|tree| {
        tree.file("extra\n", "");
    });
    let fewer = seen_after(|tree| tree.entry("f").unlink());
    let other = seen_after(|tree| {
        tree.entry("l").unlink();
        tree.fifo("l");
    });
    assert!(more.contains(&"+ file \"extra\\x0a\"".to_string()), "{more:?}");
    assert!(fewer.contains(&"- file \"f\"".to_string()), "{fewer:?}");
    assert!(other.contains(&"~ \"l\": type symlink -> fifo".to_string()), "{other:?}");
}

#[test]
fn another_device_or_link_target_is_named() {
    let lines = seen_after(|tree| {
        tree.entry("l").unlink();
        tree.symlink("l", "F");
        tree.entry("c").unlink();
        tree.char_device("c", 1, 4);
    });
    let has = |text: &str| lines.iter().any(|line| line.contains(text));
    assert!(has("\"l\": link f -> F") && has("\"c\": device 1:3 -> 1:4"));
}

#[test]
fn random_trees_copied_by_rsync_are_equal_and_the_snapshot_leaves_no_trace() {
    let pair = Pair::new();
    let random = RandomTree::new(3, 300).linked();
    random.build(&pair.source());
    let before = pair.source_now();
    assert_untouched(&before, &pair.source_now(), "the snapshot left a trace");
    let from = format!("{}/", pair.source_path().display());
    needs::run_ok(Command::new("rsync").args(["-aHAX", &from]).arg(pair.target_path()));
    pair.assert_mirrored();
    assert_same_links(pair.source_path(), pair.target_path());
    rsync_finds_no_difference(pair.source_path(), pair.target_path());
}

#[test]
fn the_same_seed_makes_the_same_tree() {
    let pair = Pair::new();
    RandomTree::new(7, 200).build(&pair.source());
    RandomTree::new(7, 200).build(&pair.target());
    pair.assert_mirrored();
}

#[test]
fn a_path_longer_than_path_max_is_seen() {
    let pair = Pair::new();
    let bottom = pair.source().chain(&"d".repeat(200), 60);
    bottom.file("leaf", "deep");
    let deepest = pair.source_now().entries.into_keys().map(|path| path.len()).max();
    assert_eq!(deepest, Some(60 * 201 + "leaf".len()));
}
