//! What pmirror refuses: before anything is written, with the reason, and with the right exit code.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use support::compare::assert_unwritten;
use support::*;

/// Runs what must be refused, and checks that nothing was written to either tree.
fn assert_refused(pair: &Pair, sync: &Pmirror, code: i32, words: &[&str]) {
    let (source, target) = (pair.source_now(), pair.target_now());
    let run = sync.run_unchecked().refuses(code, words);
    assert_eq!(String::from_utf8_lossy(&run.stdout), "", "stdout holds results only");
    assert_unwritten(&source, &pair.source_now(), "the source was written to");
    assert_unwritten(&target, &pair.target_now(), "the target was written to");
    pair.assert_canary();
}

fn filled() -> Pair {
    let pair = Pair::new();
    pair.source().file("directory/file", "content");
    pair.target().file("other/file", "content");
    pair
}

fn text(path: impl AsRef<std::path::Path>) -> String {
    path.as_ref().display().to_string()
}

#[test]
fn the_same_directory_twice_is_refused() {
    let pair = filled();
    let source = pair.source_path();
    for other in [source.clone(), source.join("directory/.."), source.join(".")] {
        let sync = pair.sync().sync(&source, other);
        assert_refused(&pair, &sync, 3, &[&text(&source), "same"]);
    }
}

#[test]
fn the_same_directory_by_way_of_a_link_is_refused() {
    let pair = filled();
    pair.beside().symlink("link", "source");
    let sync = pair.sync().sync(pair.source_path(), pair.beside().path("link"));
    assert_refused(&pair, &sync, 3, &[&text(pair.source_path()), "same"]);
}

#[test]
fn the_same_directory_by_way_of_a_bind_mount_is_refused() {
    let pair = filled();
    let (source, target) = (text(pair.source_path()), text(pair.target_path()));
    let script = format!("mount --bind '{source}' '{target}' && exec \"$@\"");
    let bound = pair.sync().wrapped_by(&["unshare", "--mount", "sh", "-c", &script, "sh"]);
    assert_refused(&pair, &bound, 3, &["same"]);
}

#[test]
fn a_target_inside_the_source_is_refused() {
    let pair = filled();
    let inside = pair.source_path().join("directory");
    let sync = pair.sync().sync(pair.source_path(), &inside);
    assert_refused(&pair, &sync, 3, &[&text(&inside), &text(pair.source_path())]);
}

#[test]
fn a_target_deep_inside_the_source_that_does_not_exist_yet_is_refused() {
    let pair = filled();
    let inside = pair.source_path().join("directory/new");
    let sync = pair.sync().sync(pair.source_path(), &inside);
    assert_refused(&pair, &sync, 3, &[&text(&inside), &text(pair.source_path())]);
}

#[test]
fn a_source_inside_the_target_is_refused() {
    let pair = filled();
    let inside = pair.target_path().join("other");
    let sync = pair.sync().sync(&inside, pair.target_path());
    assert_refused(&pair, &sync, 3, &[&text(&inside), &text(pair.target_path())]);
}

#[test]
fn a_target_inside_the_source_by_way_of_a_bind_mount_is_refused() {
    let pair = filled();
    pair.beside().dir("bound");
    let (inside, bound) = (text(pair.source_path().join("directory")), pair.beside().path("bound"));
    let script = format!("mount --bind '{inside}' '{}' && exec \"$@\"", text(&bound));
    let sync = pair.sync().sync(pair.source_path(), &bound);
    let sync = sync.wrapped_by(&["unshare", "--mount", "sh", "-c", &script, "sh"]);
    assert_refused(&pair, &sync, 3, &[&text(&bound), &text(pair.source_path())]);
}

#[test]
fn a_target_inside_the_source_is_refused_though_the_source_is_named_by_a_bind_mount() {
    let pair = filled();
    pair.beside().dir("bound");
    let (bound, inside) = (pair.beside().path("bound"), pair.source_path().join("directory"));
    let script = format!("mount --bind '{}' '{}' && exec \"$@\"", text(pair.source_path()), text(&bound));
    let sync = pair.sync().sync(&bound, &inside);
    let sync = sync.wrapped_by(&["unshare", "--mount", "sh", "-c", &script, "sh"]);
    assert_refused(&pair, &sync, 3, &[&text(&bound), &text(&inside)]);
}

#[test]
fn a_name_that_only_begins_alike_is_not_inside() {
    let pair = Pair::new();
    pair.source().file("file", "content");
    let sibling = pair.beside().path("source-copy");
    pair.sync().sync(pair.source_path(), &sibling).run().exits(0);
    assert_same(pair.source_path(), sibling);
}

#[test]
fn a_missing_source_is_refused() {
    let pair = filled();
    let missing = pair.beside().path("missing");
    let sync = pair.sync().sync(&missing, pair.target_path());
    assert_refused(&pair, &sync, 3, &[&text(&missing)]);
}

#[test]
fn a_missing_source_does_not_make_the_target() {
    let pair = Pair::without_target();
    let missing = pair.beside().path("missing");
    pair.sync().sync(missing, pair.target_path()).run_unchecked().exits(3);
    assert!(!pair.target_path().exists());
}

#[test]
fn anything_but_a_directory_as_a_root_is_refused() {
    let pair = filled();
    pair.beside().file("file", "content");
    pair.beside().fifo("fifo");
    pair.beside().symlink("dangling", "nowhere");
    for name in ["file", "fifo", "dangling"] {
        let path = pair.beside().path(name);
        let as_source = pair.sync().sync(&path, pair.target_path());
        let as_target = pair.sync().sync(pair.source_path(), &path);
        assert_refused(&pair, &as_source, 3, &[&text(&path)]);
        assert_refused(&pair, &as_target, 3, &[&text(&path)]);
    }
    assert!(!pair.beside().path("nowhere").exists());
}

#[test]
fn a_missing_target_is_made_when_its_parent_exists() {
    let pair = Pair::without_target();
    pair.source().file("directory/file", "content");
    pair.source().root().mode(0o2751).owner(5, 6);
    pair.sync().run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn a_target_without_a_parent_is_refused() {
    let pair = filled();
    let target = pair.beside().path("no/such/parent");
    let sync = pair.sync().sync(pair.source_path(), &target);
    assert_refused(&pair, &sync, 3, &[&text(&target)]);
    assert!(!pair.beside().path("no").exists());
}

#[test]
fn missing_operands_and_unknown_options_are_usage_errors() {
    let pair = filled();
    let (source, target) = (text(pair.source_path()), text(pair.target_path()));
    let lines: &[&[&str]] = &[
        &[],
        &["sync"],
        &["sync", &source],
        &["sync", &source, &target, "third"],
        &["sync", &source, &target, "--no-such-option"],
        &["sync", &source, &target, "--threads=none"],
        &["no-such-command", &source, &target],
    ];
    for line in lines {
        assert_refused(&pair, &Pmirror::new().args(line), 1, &[]);
    }
}

#[test]
fn a_usage_error_says_what_is_wrong() {
    let pair = filled();
    let run = Pmirror::new().args(&["sync", "--no-such-option"]).run_unchecked();
    run.refuses(1, &["--no-such-option"]);
    let run = Pmirror::new().args(&["sync", &text(pair.source_path())]).run_unchecked();
    run.refuses(1, &["DST"]);
}

#[test]
fn a_source_with_a_directory_of_ours_at_its_root_is_refused() {
    let pair = filled();
    pair.source().file(".pmirror/lock", "");
    assert_refused(&pair, &pair.sync(), 3, &[".pmirror"]);
}

#[test]
fn a_state_directory_in_one_of_the_trees_is_refused() {
    let pair = filled();
    for state in [pair.source_path().join("directory"), pair.target_path().join("other")] {
        let sync = pair.sync().state_dir(&state);
        assert_refused(&pair, &sync, 3, &[&text(&state)]);
    }
}

#[test]
fn a_state_directory_that_cannot_be_made_is_refused() {
    let pair = filled();
    let state = pair.beside().path("canary/file");
    let (source, target) = (pair.source_now(), pair.target_now());
    let run = pair.sync().state_dir(&state).run_unchecked();
    assert!([1, 3, 11].contains(&run.code), "exit code {}", run.code);
    assert!(String::from_utf8_lossy(&run.stderr).contains(&text(&state)));
    assert_unwritten(&source, &pair.source_now(), "the source was written to");
    assert_unwritten(&target, &pair.target_now(), "the target was written to");
}

#[test]
fn a_target_that_is_read_only_from_the_start_is_refused() {
    let pair = filled();
    let target = text(pair.target_path());
    let script = format!("mount --bind '{target}' '{target}' && mount -o remount,bind,ro '{target}' && exec \"$@\"");
    let sync = pair.sync().wrapped_by(&["unshare", "--mount", "sh", "-c", &script, "sh"]);
    let run = sync.run_unchecked();
    assert!([3, 11].contains(&run.code), "exit code {}", run.code);
    assert!(String::from_utf8_lossy(&run.stderr).to_lowercase().contains("read-only"));
}

#[test]
fn what_a_dead_run_left_at_the_root_of_the_target_does_not_hinder() {
    let pair = filled();
    pair.target().entry("other/file").unlink();
    std::fs::remove_dir(pair.target_path().join("other")).unwrap();
    pair.target().dir(".pmirror").mode(0o700);
    pair.sync().run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn an_empty_source_is_copied() {
    let pair = Pair::new();
    pair.sync().run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn a_trailing_slash_has_no_meaning() {
    let pair = Pair::without_target();
    pair.source().file("directory/file", "content");
    let slash = |path: std::path::PathBuf| format!("{}/", path.display());
    pair.sync().sync(slash(pair.source_path()), slash(pair.target_path())).run().exits(0);
    pair.assert_mirrored();
    pair.sync().run().exits(0).counts("file", &[("same", 1)]);
}

#[test]
fn the_root_of_all_is_refused() {
    let pair = filled();
    for (source, target) in [("/".into(), pair.target_path()), (pair.source_path(), "/".into())] {
        for command in [pair.sync().sync(&source, &target), pair.rm().rm(&source, &target)] {
            assert_refused(&pair, &command, 3, &["/"]);
        }
    }
}

#[test]
fn a_state_directory_of_another_is_refused_by_its_name() {
    let pair = filled();
    pair.target().root().owner(NOBODY.0, NOBODY.1);
    pair.beside().entry("state").mode(0o700);
    let (target, state) = (pair.target_now(), pair.state_path());
    let run = pair.sync().as_user(NOBODY).run_unchecked();
    assert!([3, 11].contains(&run.code), "exit code {}", run.code);
    run.says(&text(&state));
    assert_unwritten(&target, &pair.target_now(), "the target was written to");
}
