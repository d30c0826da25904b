//! Every system call that takes a name in one of the trees is one that no link can lead elsewhere.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::path::PathBuf;
use support::calls::{STRACE, Trees};
use support::*;

/// All types and all that may become of them: new, to be replaced, repaired, linked, removed, and in the way.
fn build(pair: &Pair) {
    let (source, target) = (pair.source(), pair.target());
    source.file("a/b/new", "content").owner(7, 7).mode(0o4755).xattr("user.note", "value").capability();
    source.file("a/b/acl", "content").acl("u::rw-,u:1000:r--,g::r--,m::r--,o::---");
    source.file("a/large", vec![b'l'; 300_000]);
    source.sparse("a/sparse", 1 << 20, &[(0, b"data")]);
    source.hard_link("a/b/new", "a/linked");
    for (name, make) in [("symlink", 0), ("fifo", 1), ("socket", 2), ("device", 3)] {
        let at = format!("a/{name}");
        let entry = match make {
            0 => source.symlink(&at, "nowhere"),
            1 => source.fifo(&at),
            2 => source.socket(&at),
            _ => source.char_device(&at, 1, 3),
        };
        entry.owner(7, 7).mtime(1_000, 1);
    }
    source.dir("a/c").default_acl("u::rwx,u:5:rwx,g::r-x,m::rwx,o::---").xattr("user.note", "of a directory");
    source.file("a/c/replaced", "new").mtime(2_000, 1);
    target.file("a/c/replaced", "old").mtime(1_000, 1);
    source.file("a/c/repaired", "content").mode(0o600).mtime(2_000, 1);
    target.file("a/c/repaired", "content").mode(0o644).xattr("user.note", "wrong").mtime(2_000, 1);
    source.file("a/c/over a directory", "content");
    target.dir("a/c/over a directory");
    source.dir("a/c/over a file");
    target.file("a/c/over a file", "content");
    target.file("a/only here/below/file", "to go");
    target.symlink("a/only here too", "to go");
    target.fifo("a/c/repaired fifo").mode(0o600);
    source.fifo("a/c/repaired fifo").mode(0o644);
}

/// Runs it under strace, and fails for each call that is not safe.
fn assert_safe(pair: &Pair, command: &Pmirror, calls_min: usize) {
    let log = pair.top_path().join("strace");
    let strace = [&STRACE[..], &["-o", log.to_str().unwrap()]].concat();
    let run = command.clone().wrapped_by(&strace).run_unchecked();
    let log = String::from_utf8_lossy(&std::fs::read(log).unwrap()).into_owned();
    let (calls, complaints) = Trees::new(&[pair.source_path(), pair.target_path()]).read(&log);
    run.context(|| {
        assert!([0, 23, 25, 26].contains(&run.code), "it ran to its end");
        assert!(calls >= calls_min, "only {calls} calls were seen in the trees");
        compare::assert_none(&complaints, "calls that a link could lead elsewhere");
    });
}

const ALL_MAY_GO: [&str; 4] = ["--max-delete", "100%", "--hold-threshold", "100%"];

#[test]
fn sync_makes_no_call_that_a_link_could_lead_elsewhere() {
    let words: [&[&str]; 4] = [
        &["--chunk-size", "64K"],
        &["--size-only", "--verify", "--threads", "2"],
        &["-c", "--delete", "--max-delete", "100%", "--hold-threshold", "100%"],
        &["-n", "-i"],
    ];
    for words in words {
        let pair = Pair::new();
        build(&pair);
        assert_safe(&pair, &pair.sync().args(words), 60);
        // And once more, when all is there.
        assert_safe(&pair, &pair.sync().args(words), 30);
    }
}

#[test]
fn a_list_of_files_is_mirrored_by_safe_calls() {
    let pair = Pair::new();
    build(&pair);
    let list = pair.beside().path("list");
    std::fs::write(&list, "a/b/new\na/c\na/symlink\nmissing/name\n").unwrap();
    assert_safe(&pair, &pair.sync().arg("--files-from").arg(list), 10);
}

#[test]
fn rm_makes_no_call_that_a_link_could_lead_elsewhere() {
    let pair = Pair::new();
    build(&pair);
    let plan = pair.beside().path("plan");
    assert_safe(&pair, &pair.rm().args(&ALL_MAY_GO).arg("--plan").arg(&plan), 10);
    assert_safe(&pair, &pair.rm().args(&ALL_MAY_GO).arg("--apply").arg(&plan), 10);
    let pair = Pair::new();
    build(&pair);
    assert_safe(&pair, &pair.rm().args(&ALL_MAY_GO), 10);
}

#[test]
fn mtimes_and_cmp_make_no_call_that_a_link_could_lead_elsewhere() {
    let pair = Pair::new();
    build(&pair);
    assert_safe(&pair, &pair.cmp().args(&["--level", "hash"]), 10);
    pair.sync().run_unchecked();
    pair.source().entry("a/c").mode(0o700).mtime(9, 9);
    assert_safe(&pair, &pair.mtimes(), 10);
    assert_safe(&pair, &pair.cmp().args(&["--level", "hash"]), 30);
}

#[test]
fn rm_of_a_whole_tree_makes_no_call_that_a_link_could_lead_elsewhere() {
    let pair = Pair::new();
    build(&pair);
    // The tree is opened by its name in its parent, and goes there in the end: it is what lies below that counts.
    let tree = pair.target_path().join("a");
    let log = pair.top_path().join("strace");
    let strace = [&STRACE[..], &["-o", log.to_str().unwrap()]].concat();
    Pmirror::new().rm_tree(&tree).state_dir(pair.state_path()).wrapped_by(&strace).run_unchecked().exits(0);
    let (calls, complaints) = Trees::new(&[tree]).read(&std::fs::read_to_string(log).unwrap());
    assert!(calls >= 10, "only {calls} calls were seen in the tree");
    compare::assert_none(&complaints, "calls that a link could lead elsewhere");
}

fn complaints(log: &str) -> Vec<String> {
    Trees::new(&[PathBuf::from("/top/source"), PathBuf::from("/top/target")]).read(log).1
}

#[test]
fn the_lint_lets_safe_calls_pass() {
    let beneath = "resolve=RESOLVE_NO_MAGICLINKS|RESOLVE_NO_SYMLINKS|RESOLVE_BENEATH}, 24) = 9</top/source/a/b>";
    for line in [
        r#"7 openat(AT_FDCWD</>, "/top/source", O_RDONLY|O_CLOEXEC|O_DIRECTORY) = 3</top/source>"#,
        r#"7 openat(3</top/source>, "..", O_RDONLY|O_DIRECTORY) = 4</top>"#,
        r#"7 openat(3</top/source>, "a, b", O_RDONLY|O_NOFOLLOW) = 4</top/source/a, b>"#,
        &format!(r#"7 openat2(3</top/source>, "a/b", {{flags=O_RDONLY|O_NOFOLLOW|O_DIRECTORY, {beneath}"#),
        r#"7 statx(3</top/source>, "a", AT_STATX_SYNC_AS_STAT|AT_SYMLINK_NOFOLLOW, STATX_ALL, {stx_mask=1}) = 0"#,
        r#"7 statx(3</top/source>, "", AT_STATX_SYNC_AS_STAT|AT_EMPTY_PATH, STATX_ALL, <unfinished ...>"#,
        r#"7 utimensat(3</top/source>, NULL, [UTIME_NOW, UTIME_NOW], 0) = 0"#,
        r#"7 openat(AT_FDCWD</>, "/proc/self/fd/3", O_RDONLY) = 5</top/source/a>"#,
        r#"7 openat(AT_FDCWD</>, "/top/state", O_PATH) = 5</top/state>
           7 unlink("/proc/self/fd/5/record") = 0"#,
        r#"7 unlinkat(4</top/target/a>, "b", AT_REMOVEDIR) = 0"#,
        r#"7 linkat(4</top/target/a>, "", 5</top/target>, "b", AT_EMPTY_PATH) = 0"#,
        r#"7 openat(8</top>, "state", O_RDONLY) = 9</top/state>"#,
    ] {
        assert_eq!(complaints(line), Vec::<String>::new());
    }
}

#[test]
fn the_lint_sees_calls_that_a_link_could_lead_elsewhere() {
    for line in [
        r#"7 openat(3</top/source>, "a", O_RDONLY|O_CLOEXEC) = 4</top/source/a>"#,
        r#"7 openat(3</top/source>, "a", O_RDONLY|O_CLOEXEC <unfinished ...>"#,
        r#"7 openat(3</top/source/a>, "..", O_RDONLY|O_NOFOLLOW) = 4</top/source>"#,
        r#"7 openat(3</top/source>, "a/b", O_RDONLY|O_NOFOLLOW) = 4</top/source/a/b>"#,
        r#"7 openat2(3</top/source>, "a/b", {flags=O_NOFOLLOW, resolve=RESOLVE_BENEATH}, 24) = 4</top/source/a/b>"#,
        r#"7 statx(3</top/source>, "a", AT_STATX_SYNC_AS_STAT, STATX_ALL, {stx_mask=1}) = 0"#,
        r#"7 newfstatat(3</top/source>, "a", {st_mode=S_IFREG|0644}, 0) = 0"#,
        r#"7 fchownat(3</top/target>, "a", 0, 0, 0) = 0"#,
        r#"7 utimensat(3</top/target>, "a", [UTIME_NOW, UTIME_NOW], 0) = 0"#,
        r#"7 fchmodat(3</top/target>, "a", 0644) = 0"#,
        r#"7 unlinkat(3</top/target>, "a/b", 0) = 0"#,
        r#"7 renameat(9</top>, "x", 3</top/target>, "a/b") = 0"#,
        r#"7 linkat(3</top/target>, "a", 3</top/target>, "b", AT_SYMLINK_FOLLOW) = 0"#,
        r#"7 lsetxattr("/top/target/a", "user.note", "value", 5, 0) = 0"#,
        r#"7 lstat("top/source/a", {st_mode=S_IFREG|0644}) = 0"#,
        r#"7 stat("/top/source", {st_mode=S_IFDIR|0755}) = 0"#,
        r#"7 openat(3</top/target>, "a", O_PATH|O_NOFOLLOW) = 5</top/target/a>
           7 unlink("/proc/self/fd/5/b") = 0"#,
        r#"7 lgetxattr("/proc/self/fd/6/b", "user.note", 0x7, 0) = -1 ENODATA (No data available)"#,
        r#"7 mount("a", "b", NULL, 0, NULL) = 0"#,
    ] {
        assert_eq!(complaints(line).len(), 1, "{line}");
    }
}
