//! Every type of entry is copied, and every two types that meet under one name are sorted out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use support::compare::assert_unwritten;
use support::outcome::{KINDS, second_run_changes_nothing};
use support::*;

/// Makes an entry of each kind of the summary, all with times of long ago.
fn make(tree: &Tree, kind: &str, path: &str) {
    let entry = match kind {
        "directory" => tree.dir(path),
        "file" => tree.file(path, "some content"),
        "symlink" => tree.symlink(path, "nowhere"),
        "fifo" => tree.fifo(path),
        "socket" => tree.socket(path),
        "character_device" => tree.char_device(path, 1, 3),
        "block_device" => tree.block_device(path, 7, 200),
        _ => panic!("no kind {kind}"),
    };
    entry.owner(3, 4).mtime(1_500_000_000, 123_456_789);
}

#[test]
fn each_type_is_copied_and_counted_as_its_kind() {
    let pair = Pair::new();
    KINDS.iter().for_each(|kind| make(&pair.source(), kind, kind));
    let run = pair.sync().run().exits(0);
    for kind in &KINDS[1..] {
        run.counts(kind, &[("created", 1)]);
    }
    pair.assert_mirrored();
    second_run_changes_nothing(&pair, &pair.sync(), 0);
}

#[test]
fn rsync_agrees_that_each_type_was_copied() {
    let pair = Pair::new();
    KINDS.iter().for_each(|kind| make(&pair.source(), kind, kind));
    pair.sync().run().exits(0);
    rsync_finds_no_difference(pair.source_path(), pair.target_path());
}

#[test]
fn every_type_replaces_every_other_type() {
    let pair = Pair::new();
    for source in KINDS {
        for target in KINDS {
            let name = format!("{source} over {target}");
            make(&pair.source(), source, &name);
            make(&pair.target(), target, &name);
        }
    }
    let run = pair.sync().run().exits(0);
    assert_eq!(run.total("failed"), 0);
    pair.assert_mirrored();
    second_run_changes_nothing(&pair, &pair.sync(), 0);
}

#[test]
fn a_directory_with_content_replaces_every_other_type() {
    let pair = Pair::new();
    for target in &KINDS[1..] {
        pair.source().file(format!("over {target}/below/file"), target);
        make(&pair.target(), target, &format!("over {target}"));
    }
    pair.sync().run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn a_directory_that_is_not_empty_is_never_replaced() {
    let pair = Pair::new();
    for source in &KINDS[1..] {
        make(&pair.source(), source, source);
        pair.target().file(format!("{source}/kept/file"), "of the target");
    }
    let before = pair.target_now();
    let run = pair.sync().run().exits(23);
    for source in &KINDS[1..] {
        run.counts(source, &[("failed", 1)]);
        assert_eq!(run.faults_of(source).len(), 1, "faults of {source}");
        let (before, after) = (before.below(source), pair.target_now().below(source));
        assert_unwritten(&before, &after, "the target's directory was changed");
    }
}

#[test]
fn a_conflict_does_not_stop_its_neighbours() {
    let pair = Pair::new();
    pair.source().file("conflict", "");
    pair.target().file("conflict/kept", "");
    RandomTree::new(11, 50).build(&pair.source());
    pair.sync().run().exits(23);
    let but = |snapshot: &mut Snapshot| snapshot.entries.retain(|path, _| !path.starts_with(b"conflict"));
    let (mut source, mut target) = (pair.source_now(), pair.target_now());
    [&mut source, &mut target].into_iter().for_each(but);
    compare::assert_same_but(&source.without_root(), &target.without_root(), &[]);
}

#[test]
fn a_conflict_fails_again_and_nothing_else_is_done() {
    let pair = Pair::new();
    pair.source().file("directory/conflict", "content");
    pair.source().file("other", "content");
    pair.target().file("directory/conflict/kept", "");
    pair.sync().run().exits(23);
    second_run_changes_nothing(&pair, &pair.sync(), 23);
}

#[test]
fn target_names_that_the_source_lacks_stay() {
    let pair = Pair::new();
    pair.source().file("file", "");
    pair.target().file("extra/below", "kept").mtime(5, 5);
    let before = pair.target_now().below("extra");
    pair.sync().run().exits(0);
    assert_unwritten(&before, &pair.target_now().below("extra"), "an extra name was changed");
}

#[test]
fn a_target_link_is_replaced_and_not_written_through() {
    let pair = Pair::new();
    let canary = pair.beside().path("canary/file");
    pair.source().file("to a file", "replaced");
    pair.source().file("to a directory/below", "replaced");
    pair.target().symlink("to a file", canary.as_os_str().as_encoded_bytes());
    pair.target().symlink("to a directory", "../canary/directory");
    pair.sync().run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn links_are_copied_as_they_are_and_never_followed() {
    let pair = Pair::new();
    let (source, longest) = (pair.source(), vec![b'x'; 4095]);
    let targets: [(&str, &[u8]); 8] = [
        ("dangling", b"nothing/here"),
        ("itself", b"itself"),
        ("loop a", b"loop b"),
        ("loop b", b"loop a"),
        ("absolute", b"/etc/passwd"),
        ("upwards", b"../../canary/file"),
        ("longest", &longest),
        ("not utf-8", b"\xff\xfe\n"),
    ];
    targets.iter().for_each(|(name, target)| drop(source.symlink(name, target)));
    pair.sync().run().exits(0).counts("symlink", &[("created", 8)]);
    pair.assert_mirrored();
}

#[test]
fn files_of_every_awkward_size_are_copied() {
    let pair = Pair::new();
    let edges = [1, 512, 4096, 65_536, 131_072, 1 << 20, 4 << 20];
    for size in edges.into_iter().flat_map(|edge| [edge - 1, edge, edge + 1]) {
        pair.source().file(format!("{size}"), random::Dice::new(size as u64).bytes(size));
    }
    let run = pair.sync().run().exits(0);
    pair.assert_mirrored();
    let size: u64 = pair.source_now().entries.values().map(|seen| seen.content_bytes()).sum();
    assert_eq!(run.number("/bytes/logical"), size);
}

#[test]
fn holes_stay_holes() {
    let pair = Pair::new();
    let (block, source) = ([7u8; 4096], pair.source());
    let pieces: Vec<(u64, &[u8])> = (0..64).map(|n| (n * 8192, &block[..])).collect();
    source.sparse("only a hole", 3 << 20, &[]);
    source.sparse("at the start", 2 << 20, &[((2 << 20) - 4096, &block)]);
    source.sparse("at the end", 2 << 20, &[(0, &block)]);
    source.sparse("in the middle", 2 << 20, &[(0, &block), ((2 << 20) - 5, b"end")]);
    source.sparse("every other block", 64 * 8192 + 1, &pieces);
    pair.sync().run().exits(0);
    pair.assert_mirrored();
    let (source, target) = (pair.source_now(), pair.target_now());
    for (path, seen) in source.entries.iter().filter(|(path, _)| !path.is_empty()) {
        let allocated = target.at(path).allocated();
        assert!(allocated <= seen.allocated() + 65_536, "{}: {allocated}", escaped(path));
    }
}

#[test]
fn zeros_that_are_written_are_not_lost() {
    let pair = Pair::new();
    pair.source().file("zeros", vec![0; 300_000]);
    pair.sync().run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn new_content_replaces_the_old() {
    let pair = Pair::new();
    pair.source().file("same size", "old").mtime(1_000, 0);
    pair.source().file("shrinks", "longer than later").mtime(1_000, 0);
    pair.source().file("grows", "").mtime(1_000, 0);
    pair.sync().run().exits(0);
    pair.source().entry("same size").content("new").mtime(1_000, 1);
    pair.source().entry("shrinks").content("short").mtime(1_000, 0);
    pair.source().entry("grows").content("not empty").mtime(1_000, 0);
    pair.sync().run().exits(0).counts("file", &[("updated", 3)]);
    pair.assert_mirrored();
}

#[test]
fn a_newer_target_is_overwritten_all_the_same() {
    let pair = Pair::new();
    pair.source().file("file", "of the source").mtime(1_000, 0);
    pair.target().file("file", "of the target");
    pair.sync().run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn a_reader_of_the_old_version_keeps_it() {
    let pair = Pair::new();
    pair.source().file("file", "new content");
    pair.target().file("file", "old content").mtime(1_000, 0);
    let reader = std::fs::File::open(pair.target().path("file")).unwrap();
    pair.sync().run().exits(0);
    assert_eq!(std::io::read_to_string(reader).unwrap(), "old content");
}

#[test]
fn what_is_no_file_is_named_and_never_opened() {
    let pair = Pair::new();
    KINDS[2..].iter().for_each(|kind| make(&pair.source(), kind, kind));
    let listener = std::os::unix::net::UnixListener::bind(pair.source().path("live socket")).unwrap();
    listener.set_nonblocking(true).unwrap();
    let trace = pair.beside().path("trace");
    let strace = ["strace", "-f", "-qq", "-e", "trace=openat,connect", "-o", trace.to_str().unwrap()];
    for command in [pair.sync(), pair.sync().arg("-c"), pair.cmp().args(&["--level", "hash"])] {
        command.wrapped_by(&strace).run().exits(0);
        let calls = std::fs::read_to_string(&trace).unwrap();
        let is_special = |line: &&str| ["fifo\"", "socket\"", "device\""].iter().any(|name| line.contains(name));
        let opened: Vec<&str> = calls
            .lines()
            .filter(is_special)
            .filter(|line| line.contains("openat(") && !line.contains("O_PATH"))
            .collect();
        assert!(opened.is_empty() && calls.contains("O_PATH"), "{opened:#?}");
    }
    assert!(listener.accept().is_err(), "somebody connected");
    pair.assert_mirrored();
}

#[test]
fn a_program_that_runs_is_read_and_is_replaced() {
    let pair = Pair::new();
    let sleep = std::fs::read("/bin/sleep").unwrap();
    pair.source().file("running here", &sleep).mode(0o755);
    pair.source().file("running there", "new content");
    pair.target().file("running there", &sleep).mode(0o755);
    let start = |path: std::path::PathBuf| std::process::Command::new(path).arg("60").spawn().unwrap();
    let programs = [start(pair.source().path("running here")), start(pair.target().path("running there"))];
    let run = pair.sync().run_unchecked();
    for mut program in programs {
        assert_eq!(program.try_wait().unwrap(), None, "it runs on");
        program.kill().and_then(|()| program.wait()).unwrap();
    }
    run.exits(0).counts("file", &[("created", 1), ("updated", 1)]);
    pair.assert_mirrored();
}

#[test]
fn a_whiteout_of_an_overlay_is_a_device_like_any_other() {
    let pair = Pair::new();
    pair.source().char_device("gone", 0, 0).mtime(1_000, 1);
    pair.target().file("gone", "content");
    pair.sync().run().exits(0);
    pair.assert_mirrored();
    second_run_changes_nothing(&pair, &pair.sync(), 0);
}

/// With fs.protected_regular the kernel refuses to open what others have there with O_CREAT.
#[test]
fn files_of_others_in_a_directory_that_is_open_to_all_are_replaced() {
    let pair = Pair::new();
    for (tree, content) in [(pair.source(), "new content"), (pair.target(), "old")] {
        tree.dir("shared").owner(65_534, 65_534).mode(0o1777);
        tree.file("shared/file", content).owner(1000, 1000).mode(0o666);
    }
    pair.source().file("shared/new", "").owner(1001, 1001);
    pair.sync().run().exits(0);
    pair.assert_mirrored();
}

/// XFS holds link texts of 1,023 bytes, ext4 of 4,095.
#[test]
fn a_link_text_too_long_for_the_target_fails_alone() {
    let (image, pair) = (Image::xfs(), Pair::new());
    pair.source().symlink("long", vec![b'x'; 4_000]);
    pair.source().symlink("short", vec![b'x'; 1_000]);
    let target = image.directory("target");
    let run = Pmirror::new().sync(pair.source_path(), &target).state_dir(pair.state_path()).run().exits(23);
    run.counts("symlink", &[("created", 1), ("failed", 1)]);
    run.has_fault("long", "target", nix::errno::Errno::ENAMETOOLONG);
    assert_eq!(std::fs::read_link(target.join("short")).unwrap().as_os_str().len(), 1_000);
}
