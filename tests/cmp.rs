//! What `cmp` finds: each difference alone, at its level and not below it; what it prints; and that it
//! writes nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use support::difference::{assert_found, found, look};
use support::*;

const LEVELS: [&str; 4] = ["names", "quick", "meta", "hash"];
const ACL: &str = "u::rw-,u:1000:r--,g::r--,m::r--,o::r--";

/// The same small tree on both sides, with an entry of each type in `d`.
fn twins() -> Pair {
    let pair = Pair::new();
    for tree in [pair.source(), pair.target()] {
        tree.file("d/file", "content").xattr("user.note", "x").mode(0o644).mtime(1_000, 1).atime(2_000, 2);
        tree.symlink("d/link", "there").mtime(1_000, 2);
        tree.char_device("d/device", 1, 3).mtime(1_000, 3);
        tree.fifo("d/fifo").mtime(1_000, 4);
        tree.file("d/other", "other").mtime(1_000, 5);
        tree.dir("d/sub").mtime(1_000, 6);
        still(&tree);
    }
    pair
}

/// The times of the directories, which move when a name in them does.
fn still(tree: &Tree) {
    tree.entry("d").mtime(1_000, 7);
    tree.root().mtime(1_000, 8);
}

/// Changes the target of twins in one thing, and fails unless it is found at `level` and above, and not
/// below.
fn assert_found_from(level: &str, path: &str, word: &str, change: impl Fn(&Tree)) {
    let pair = twins();
    change(&pair.target());
    still(&pair.target());
    let first = LEVELS.iter().position(|known| *known == level).unwrap();
    for (index, level) in LEVELS.iter().enumerate() {
        let expected = if index >= first { &[(path, word)][..] } else { &[] };
        assert_found(&pair, &["--level", level], expected);
    }
}

#[test]
fn equal_trees_say_nothing_at_any_level() {
    let pair = Pair::new();
    RandomTree::new(501, 150).linked().build(&pair.source());
    pair.sync().run().exits(0);
    for level in LEVELS {
        let run = look(&pair, &pair.cmp().args(&["--level", level])).exits(0);
        assert_eq!(String::from_utf8_lossy(&run.stdout), "");
        assert_eq!(run.totals().into_keys().collect::<Vec<_>>(), ["same"]);
    }
}

#[test]
fn names_are_compared_at_every_level() {
    assert_found_from("names", "d/file", "source_only", |tree| tree.entry("d/file").unlink());
    assert_found_from("names", "d/new", "target_only", |tree| drop(tree.file("d/new", "")));
}

#[test]
fn types_are_compared_at_every_level() {
    assert_found_from("names", "d/fifo", "type", |tree| {
        tree.entry("d/fifo").unlink();
        tree.socket("d/fifo").mtime(1_000, 4);
    });
}

#[test]
fn sizes_and_times_are_compared_from_quick_on() {
    assert_found_from("quick", "d/file", "size", |tree| {
        tree.entry("d/file").content("longer content").mtime(1_000, 1);
    });
    assert_found_from("quick", "d/file", "mtime", |tree| _ = tree.entry("d/file").mtime(1_000, 2));
    assert_found_from("quick", "d/link", "mtime", |tree| _ = tree.entry("d/link").mtime(1_001, 2));
    assert_found_from("quick", "d/sub", "mtime", |tree| _ = tree.entry("d/sub").mtime(999, 6));
}

#[test]
fn owners_and_permissions_are_compared_from_quick_on() {
    assert_found_from("quick", "d/file", "mode", |tree| _ = tree.entry("d/file").mode(0o640));
    assert_found_from("quick", "d/file", "mode", |tree| _ = tree.entry("d/file").mode(0o4644));
    assert_found_from("quick", "d/sub", "mode", |tree| _ = tree.entry("d/sub").mode(0o1777));
    assert_found_from("quick", "d/fifo", "owner", |tree| _ = tree.entry("d/fifo").owner(7, 0));
    assert_found_from("quick", "d/link", "group", |tree| _ = tree.entry("d/link").owner(0, 7));
}

#[test]
fn link_texts_and_device_numbers_are_compared_from_quick_on() {
    assert_found_from("quick", "d/link", "text", |tree| {
        tree.entry("d/link").unlink();
        tree.symlink("d/link", "where").mtime(1_000, 2);
    });
    assert_found_from("quick", "d/device", "device", |tree| {
        tree.entry("d/device").unlink();
        tree.char_device("d/device", 1, 5).mtime(1_000, 3);
    });
}

#[test]
fn attributes_and_acls_are_compared_from_meta_on() {
    assert_found_from("meta", "d/file", "xattr", |tree| _ = tree.entry("d/file").xattr("user.note", "y"));
    assert_found_from("meta", "d/file", "xattr", |tree| _ = tree.entry("d/file").remove_xattr("user.note"));
    assert_found_from("meta", "d/device", "xattr", |tree| _ = tree.entry("d/device").xattr("trusted.a", ""));
    assert_found_from("meta", "d/other", "xattr", |tree| _ = tree.entry("d/other").capability());
    assert_found_from("meta", "d/file", "acl", |tree| _ = tree.entry("d/file").acl(ACL));
    assert_found_from("meta", "d/sub", "acl", |tree| {
        tree.entry("d/sub").default_acl("u::rwx,g::r-x,o::r-x");
    });
}

#[test]
fn contents_are_compared_at_hash_only() {
    assert_found_from("hash", "d/file", "content", |tree| {
        tree.entry("d/file").content("conTent").mtime(1_000, 1);
    });
}

#[test]
fn the_last_byte_of_a_large_file_with_holes_is_compared() {
    let pair = Pair::new();
    let size = 9 << 20;
    pair.source().sparse("file", size, &[(5 << 20, b"data")]).mtime(1_000, 1);
    pair.target().sparse("file", size, &[(5 << 20, b"data"), (size - 1, b"x")]).mtime(1_000, 1);
    for tree in [pair.source(), pair.target()] {
        tree.root().mtime(1_000, 8);
    }
    assert_found(&pair, &["--level", "meta"], &[]);
    assert_found(&pair, &["--level", "hash"], &[("file", "content")]);
    pair.target().sparse("file", size, &[(5 << 20, b"data"), (0, &[0; 4096])]).mtime(1_000, 1);
    assert_found(&pair, &["--level", "hash"], &[]);
}

#[test]
fn access_times_are_compared_when_asked_for() {
    let pair = twins();
    pair.target().entry("d/file").atime(2_001, 2);
    assert_found(&pair, &["--level", "hash"], &[]);
    let run = look(&pair, &pair.cmp().args(&["-U", "--jsonl"])).exits(26);
    assert_eq!(found(&run)[&b"d/file"[..]], ["atime"]);
}

#[test]
fn one_entry_may_differ_in_many_things() {
    let pair = twins();
    pair.target().entry("d/file").content("x").owner(1, 2).mode(0o600).xattr("user.note", "y");
    still(&pair.target());
    assert_found(&pair, &["--level", "hash"], &[("d/file", "size mtime mode owner group xattr")]);
}

#[test]
fn what_is_not_kept_is_not_compared() {
    type Change = fn(&Tree);
    let changes: [(&str, Change); 5] = [
        ("--no-owner", |tree| _ = tree.entry("d/file").owner(1, 2)),
        ("--no-perms", |tree| _ = tree.entry("d/file").mode(0o600)),
        ("--no-times", |tree| _ = tree.entry("d/file").mtime(1, 2)),
        ("--no-xattrs", |tree| _ = tree.entry("d/file").xattr("user.note", "y")),
        ("--no-acls", |tree| _ = tree.entry("d/file").acl(ACL)),
    ];
    for (option, change) in changes {
        let pair = twins();
        change(&pair.target());
        look(&pair, &pair.cmp().args(&["--level", "meta"])).exits(26);
        assert_found(&pair, &["--level", "meta", option], &[]);
    }
}

#[test]
fn special_files_are_skipped_when_told() {
    let pair = twins();
    pair.target().entry("d/fifo").unlink();
    still(&pair.target());
    let run = assert_found(&pair, &["--no-specials"], &[]);
    assert_eq!(run.total("skipped"), 2);
}

#[test]
fn all_that_only_the_source_has_is_told_and_of_the_target_the_topmost_names() {
    let pair = twins();
    pair.source().file("only/a/b", "");
    pair.target().file("extra/a/b", "");
    for tree in [pair.source(), pair.target()] {
        still(&tree);
    }
    let only = [("only", "source_only"), ("only/a", "source_only"), ("only/a/b", "source_only")];
    let run = assert_found(&pair, &[], &[&only[..], &[("extra", "target_only")]].concat());
    assert_eq!((run.number("/differences/source_only"), run.number("/differences/target_only")), (3, 1));
}

#[test]
fn below_a_directory_that_is_something_else_on_the_target_all_is_missing() {
    let pair = twins();
    pair.source().file("d/sub/a", "");
    pair.source().entry("d/sub").mtime(1_000, 6);
    std::fs::remove_dir(pair.target().path("d/sub")).unwrap();
    pair.target().file("d/sub", "");
    still(&pair.target());
    assert_found(&pair, &[], &[("d/sub", "type"), ("d/sub/a", "source_only")]);
}

#[test]
fn a_directory_in_place_of_a_file_is_one_difference() {
    let pair = twins();
    pair.target().entry("d/file").unlink();
    pair.target().file("d/file/below", "");
    still(&pair.target());
    assert_found(&pair, &[], &[("d/file", "type")]);
}

/// Two trees with a difference of each manner, and names that need care.
fn different() -> Pair {
    let pair = twins();
    pair.target().entry("d/file").content("longer content").mtime(1_000, 1);
    pair.source().file(b"d/new\nline\xff", "");
    pair.target().dir("d/old");
    for tree in [pair.source(), pair.target()] {
        still(&tree);
    }
    pair
}

#[test]
fn text_is_for_people() {
    let pair = different();
    let run = look(&pair, &pair.cmp()).exits(26);
    run.assert_output_is_escaped();
    let expected = "\
size             d/file
only in SRC      d/new\\nline\\xff
only in DST      d/old/
";
    assert_eq!(String::from_utf8_lossy(&run.stdout), expected);
}

#[test]
fn itemized_changes_are_rsyncs() {
    let pair = different();
    let run = look(&pair, &pair.cmp().arg("-i")).exits(26);
    let expected = "\
>f.s....... d/file
>f+++++++++ d/new\\nline\\xff
*deleting   d/old/
";
    assert_eq!(String::from_utf8_lossy(&run.stdout), expected);
}

#[test]
fn a_nul_list_has_raw_paths() {
    let pair = different();
    let run = look(&pair, &pair.cmp().arg("--print0")).exits(26);
    assert_eq!(run.stdout, b"d/file\0d/new\nline\xff\0d/old\0");
}

#[test]
fn json_lines_tell_both_sides_and_are_kept_in_the_record() {
    let pair = different();
    let run = look(&pair, &pair.cmp().arg("--jsonl")).exits(26);
    let lines = difference::lines(&run);
    assert_eq!((&lines[0]["source"]["size"], &lines[0]["target"]["size"]), (&7.into(), &14.into()));
    assert_eq!(lines[1]["path_b64"], "ZC9uZXcKbGluZf8=");
    let kept = std::fs::read(run.run_dir.as_ref().unwrap().join("differences.jsonl")).unwrap();
    assert_eq!(kept, run.stdout);
}

#[test]
fn the_summary_goes_to_stdout_in_place_of_the_list_when_asked_for_as_json() {
    let pair = different();
    let run = look(&pair, &pair.cmp().arg("--json")).exits(26);
    let printed: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(&printed, run.summary());
    assert_eq!(printed["command"], "cmp");
    assert_eq!(printed["differences"]["size"], 1);
    assert_eq!(run.count("file", "different"), 2);
}

#[test]
fn a_list_is_cut_where_told_and_all_is_counted() {
    let pair = Pair::new();
    for index in 0..50 {
        pair.source().file(format!("{index:02}"), "");
    }
    pair.source().root().mtime(1_000, 8);
    pair.target().root().mtime(1_000, 8);
    let run = look(&pair, &pair.cmp().args(&["--max-differences", "3"])).exits(26);
    assert_eq!(run.stdout.iter().filter(|byte| **byte == b'\n').count(), 3);
    assert_eq!(run.number("/differences/source_only"), 50);
    assert!(String::from_utf8_lossy(&run.stderr).contains("3 of 50 differences"));
}

#[test]
fn two_manners_at_once_are_refused() {
    let pair = twins();
    for options in [["-i", "--print0"], ["-i", "--jsonl"], ["--jsonl", "--print0"]] {
        pair.cmp().args(&options).run_unchecked().exits(1);
    }
}
