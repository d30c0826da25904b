//! Real file systems that are full, poor or odd: what is said, and that the next run goes on or changes nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use nix::errno::Errno;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use support::compare::{assert_same_but, assert_unwritten};
use support::outcome::fault_path;
use support::random::Dice;
use support::*;

fn sync_to(pair: &Pair, target: impl AsRef<Path>) -> Pmirror {
    Pmirror::new().sync(pair.source_path(), target).state_dir(pair.state_path())
}

fn assert_mirrored_in(pair: &Pair, target: &Path) {
    assert_same_but(&pair.source_now(), &Snapshot::take(target), &[]);
    assert_no_litter(&Snapshot::paths(pair.source_path()), target);
}

fn assert_says(run: &Outcome, word: &str) {
    let said = String::from_utf8_lossy(&run.stdout);
    run.context(|| assert!(said.contains(word), "the summary does not say {word:?}"));
}

/// A target with no more room for `what`: the run stops, says so, and goes on when there is.
fn is_full(pair: &Pair, target: &Path, word: &str, make_room: impl FnOnce()) {
    let sync = sync_to(pair, target).run_id("full");
    let run = sync.run_unchecked().exits(11);
    assert_says(&run, "resume");
    assert_says(&run, word);
    run.assert_books_balance();
    make_room();
    sync.resumed("full").run_unchecked().exits(0).assert_books_balance();
    assert_mirrored_in(pair, target);
    pair.assert_canary();
}

#[test]
fn a_full_disk_stops_the_run_which_goes_on_when_there_is_room() {
    let (pair, image) = (Pair::new(), Image::small_ext4(64, 2_000));
    for n in 0..40_u64 {
        pair.source().file(format!("{}/{n}", n % 5), Dice::new(n).bytes(500_000)).mtime(1_000, 1);
    }
    let filler = image.path().join("filler");
    std::fs::write(&filler, vec![7; 45 << 20]).unwrap();
    is_full(&pair, &image.directory("target"), "space", || std::fs::remove_file(filler).unwrap());
}

#[test]
fn a_full_inode_table_stops_the_run_which_goes_on_when_there_is_room() {
    let (pair, image) = (Pair::new(), Image::small_ext4(16, 400));
    for n in 0..200 {
        pair.source().file(format!("{}/{n}", n % 5), "content").mtime(1_000, 1);
    }
    let (target, filler) = (image.directory("target"), image.directory("filler"));
    for n in 0..280 {
        std::fs::write(filler.join(n.to_string()), "").unwrap();
    }
    is_full(&pair, &target, "inodes", || std::fs::remove_dir_all(filler).unwrap());
}

/// A call on the source waits while the target goes read-only, as ext4 does at an error of its disk.
#[test]
fn a_target_that_goes_read_only_stops_the_run_which_goes_on_when_it_is_repaired() {
    let (pair, image) = (Pair::new(), Image::small_ext4(64, 2_000));
    for n in 0..60 {
        pair.source().file(format!("{}/{n}", n % 5), "content").mtime(1_000, 1);
        pair.source().file(format!("late/{}/{n}", n % 5), "content").mtime(1_000, 1);
    }
    let target = image.directory("target");
    let source = FaultFs::mount(pair.source_path());
    source.start_log();
    let rule = source.rule(Rule::on("readdir").named("late").hang());
    let sync = Pmirror::new().sync(source.path(), &target).state_dir(pair.state_path()).run_id("read-only");
    let run = std::thread::scope(|scope| {
        let run = scope.spawn(|| sync.run_unchecked());
        let hangs = || source.take_log().iter().any(|call| call == "readdir late");
        while !run.is_finished() && !hangs() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let device = image.device();
        let trigger = Path::new("/sys/fs/ext4").join(device.trim_start_matches("/dev/")).join("trigger_fs_error");
        std::fs::write(trigger, "a test").unwrap();
        source.lift(rule);
        run.join().unwrap()
    });
    let run = run.exits(11);
    assert_says(&run, "read-only");
    run.assert_books_balance();
    image.mount_again();
    // Nothing could be flushed any more, so there is no checkpoint, and the run says so.
    assert_says(&run, "run the same command again");
    sync.run_id("afterwards").run_unchecked().exits(0).assert_books_balance();
    assert_mirrored_in(&pair, &target);
}

#[test]
fn a_quota_that_is_used_up_fails_files_and_the_next_run_goes_on_when_there_is_room() {
    let (pair, image) = (Pair::new(), Image::btrfs());
    for n in 0..16_u64 {
        pair.source().file(format!("{n}"), Dice::new(n).bytes(1_000_000)).mtime(1_000, 1);
    }
    let target = image.path().join("target");
    let btrfs = |words: &[&str], path: &Path| drop(needs::run_ok(Command::new("btrfs").args(words).arg(path)));
    btrfs(&["-q", "subvolume", "create"], &target);
    btrfs(&["quota", "enable"], &image.path());
    btrfs(&["qgroup", "limit", "6M"], &target);
    let run = sync_to(&pair, &target).run_unchecked().exits(23);
    run.assert_books_balance();
    run.context(|| {
        let is_quota = |fault: &serde_json::Value| fault["errno"] == "EDQUOT" && fault["side"] == "target";
        assert!(!run.faults.is_empty() && run.faults.iter().all(is_quota));
        assert_eq!(run.count("file", "failed") + run.count("file", "created"), 16);
    });
    btrfs(&["qgroup", "limit", "none"], &target);
    sync_to(&pair, &target).run().exits(0);
    assert_mirrored_in(&pair, &target);
}

fn rich(pair: &Pair) {
    let source = pair.source();
    source.file("plain", "content").mtime(1_000, 1);
    source.file("directory/rich", "content").xattr("user.note", "value").capability().mtime(1_000, 1);
    source.file("acl", "content").acl("u::rwx,u:1000:r--,g::r-x,m::r-x,o::---").mtime(1_000, 2);
    source.entry("directory").default_acl("u::rwx,u:5:rwx,g::r-x,m::rwx,o::---").mtime(1_000, 3);
    source.root().mtime(1_000, 4);
}

/// The second run finds all as it should be, and writes nothing.
fn is_quiet_the_second_time(sync: &Pmirror, shown: &Path) {
    let before = Snapshot::take(shown).without_root();
    let run = sync.run_unchecked().exits(0);
    run.assert_books_balance();
    run.context(|| {
        assert_unwritten(&before, &Snapshot::take(shown).without_root(), "the second run wrote to the target");
        assert_eq!(run.number("/bytes/written"), 0);
    });
}

/// Nothing is dropped unasked: what has attributes fails, until it is said that they may be left out.
#[test]
fn attributes_that_a_target_can_not_hold_are_left_out_only_when_that_is_asked() {
    let pair = Pair::new();
    rich(&pair);
    let (in_memory, by_fuse) = (Image::ramfs(), FaultFs::mount_with(pair.target_path(), &["--no-xattrs"]));
    for (target, shown) in [
        (in_memory.directory("target"), in_memory.path().join("target")),
        (by_fuse.path().to_path_buf(), pair.target_path()),
    ] {
        let run = sync_to(&pair, &target).run_unchecked().exits(23);
        run.assert_books_balance();
        for path in ["directory", "directory/rich", "acl"] {
            run.has_fault(path, "target", Errno::EOPNOTSUPP);
        }
        assert_same_but(&pair.source_now().below("plain"), &Snapshot::take(&shown).below("plain"), &[]);
        let without = sync_to(&pair, &target).args(&["--no-xattrs", "--no-acls"]);
        without.run_unchecked().exits(0).assert_books_balance();
        assert_same_but(&pair.source_now(), &Snapshot::take(&shown), &["xattrs"]);
        is_quiet_the_second_time(&without, &shown);
    }
}

#[test]
fn a_target_without_hard_links_gets_a_copy_for_each_name() {
    let pair = Pair::new();
    pair.source().file("a", "of both").mtime(1_000, 1);
    pair.source().hard_link("a", "b/other");
    let mount = FaultFs::mount_with(pair.target_path(), &["--no-links"]);
    let run = sync_to(&pair, mount.path()).run_unchecked().exits(0);
    run.assert_books_balance();
    run.context(|| assert!(run.number("/links/split") > 0, "{}", run.summary()["links"]));
    pair.assert_mirrored();
    is_quiet_the_second_time(&sync_to(&pair, mount.path()), &pair.target_path());
}

/// Names that fold together, of each kind, each with something of its own.
const FOLDING: [(&str, &str); 6] =
    [("File", "file"), ("LONG", "long"), ("Link", "link"), ("Fifo", "fifo"), ("Dir", "dir"), ("One", "one")];

fn folding(pair: &Pair) {
    let source = pair.source();
    for (turn, pick) in
        [(0, (|pair: &(&'static str, &'static str)| pair.0) as fn(&_) -> &'static str), (1, |pair| pair.1)]
    {
        let [file, long, link, fifo, directory, linked] = FOLDING.each_ref().map(pick);
        source.file(file, format!("of {turn}")).mtime(1_000 + turn, 1);
        source.file(long, Dice::new(turn as u64).bytes(200_000)).mtime(1_000 + turn, 2);
        source.symlink(link, format!("{turn}")).mtime(1_000 + turn, 3);
        source.fifo(fifo).owner(turn as u32, 0).mtime(1_000 + turn, 4);
        source.file(format!("{directory}/{turn}"), "in it").mtime(1_000 + turn, 5);
        source.file(linked, format!("of {turn}, too")).mtime(1_000 + turn, 6);
        source.hard_link(linked, format!("links/{turn}"));
    }
    source.file("other/file", "content").mtime(1_000, 1);
}

/// Of each two names one is there as it is in the source, and the other is a fault.
fn assert_one_of_each(pair: &Pair, run: &Outcome) -> Vec<String> {
    let (source, target) = (pair.source_now(), pair.target_now());
    let mut left_out = Vec::new();
    run.context(|| {
        for (one, other) in FOLDING {
            let there = [one, other].map(|name| target.has(name));
            assert!(there == [true, false] || there == [false, true], "{one}, {other}: {there:?}");
            let (made, missing) = if there[0] { (one, other) } else { (other, one) };
            assert_same_but(&source.below(made), &target.below(made), &[]);
            assert_eq!(run.faults_of(made).len(), 0, "{made} is there");
            run.has_fault(missing, "target", Errno::EEXIST);
            let says = run.faults_of(missing)[0]["note"].as_str().unwrap_or_default().contains("upper and lower case");
            assert!(says || missing.to_lowercase() == "one", "{:?}", run.faults_of(missing));
            left_out.push(missing.to_string());
        }
        assert_same_but(&source.below("other"), &target.below("other"), &[]);
    });
    left_out
}

#[test]
fn names_that_a_target_takes_for_one_replace_nothing_and_are_told() {
    for (options, ranks) in [(&[][..], Ranks::One), (&["--size-only"], Ranks::One), (&["--delete"], Ranks::Mpirun(3))] {
        let pair = Pair::new();
        folding(&pair);
        let mount = FaultFs::mount_with(pair.target_path(), &["--fold-case"]);
        let sync = sync_to(&pair, mount.path()).args(&["--chunk-size", "64K"]).args(options).ranks(ranks);
        let run = sync.run_unchecked().exits(23).says("upper and lower case");
        run.assert_books_balance();
        let left_out = assert_one_of_each(&pair, &run);
        let before = pair.target_now().without_root();
        let again = sync.run_unchecked().exits(23);
        again.assert_books_balance();
        again.context(|| {
            assert_unwritten(&before, &pair.target_now().without_root(), "the second run wrote to the target");
            assert_eq!(assert_one_of_each(&pair, &again), left_out, "it is the same names each time");
        });
    }
}

#[test]
fn a_name_that_changed_its_case_is_replaced_only_when_the_old_one_is_removed() {
    let pair = Pair::new();
    pair.source().file("name", "new").mtime(1_000, 1);
    pair.target().file("NAME", "old").mtime(1_000, 2);
    let mount = FaultFs::mount_with(pair.target_path(), &["--fold-case"]);
    let sync = sync_to(&pair, mount.path());
    let run = sync.run_unchecked().exits(23);
    run.has_fault("name", "target", Errno::EEXIST);
    assert_eq!(std::fs::read(pair.target_path().join("NAME")).unwrap(), b"old");
    let delete = sync.arg("--delete");
    delete.run_unchecked().exits(23);
    delete.run_unchecked().exits(0);
    pair.assert_mirrored();
}

/// Where a listing breaks off nobody can tell whose a name is.
#[test]
fn nothing_is_replaced_where_a_target_that_folds_names_can_not_be_listed() {
    let pair = Pair::new();
    pair.source().file("d/name", "of this").mtime(1_000, 1);
    pair.source().file("d/new", "of this").mtime(1_000, 1);
    pair.target().file("d/NAME", "of another").mtime(1_000, 2);
    let mount = FaultFs::mount_with(pair.target_path(), &["--fold-case"]);
    mount.rule(Rule::on("readdir").named("d").error(Errno::EACCES));
    let run = sync_to(&pair, mount.path()).run_unchecked().exits(23);
    run.assert_books_balance();
    let faults: Vec<Vec<u8>> = run.faults.iter().map(fault_path).collect();
    run.context(|| {
        assert!(faults.contains(&b"d/name".to_vec()), "{faults:?}");
        assert_eq!(std::fs::read(pair.target_path().join("d/NAME")).unwrap(), b"of another");
        assert!(pair.target_now().has("d/new"));
    });
}
