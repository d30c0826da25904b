//! What fails alone: counted, listed, survived. Much of it only an ordinary user meets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use nix::errno::Errno;
use support::compare::{assert_same_but, assert_untouched, assert_unwritten, differences};
use support::outcome::second_run_changes_nothing;
use support::snapshot::MIRRORED;
use support::*;

/// A pair whose target and state belong to nobody, and `sync` run by nobody.
fn of_nobody(make: impl Fn(&Tree)) -> (Pair, Pmirror) {
    let pair = Pair::new();
    make(&pair.source());
    pair.give_to(NOBODY);
    let sync = pair.sync().as_user(NOBODY);
    (pair, sync)
}

/// Gives entries to nobody, so that all of them can be kept by him.
fn give(tree: &Tree, paths: &[&str]) {
    tree.root().owner(NOBODY.0, NOBODY.1);
    for path in paths {
        tree.entry(path).owner(NOBODY.0, NOBODY.1);
    }
}

#[test]
fn an_ordinary_user_mirrors_what_is_his() {
    let (pair, sync) = of_nobody(|tree| {
        tree.file("directory/file", "content").mtime(1_000, 1).xattr("user.a", "1");
        tree.file("read only", "content").mtime(1_000, 2);
        tree.file("closed directory/file", "content");
        tree.symlink("link", "file").mtime(1_000, 3);
        tree.fifo("fifo").mtime(1_000, 4);
        tree.socket("socket").mtime(1_000, 5);
        let all = ["directory", "directory/file", "read only", "link", "fifo", "socket"];
        give(tree, &all);
        give(tree, &["closed directory", "closed directory/file"]);
        tree.entry("read only").mode(0o400);
        tree.entry("directory/file").mode(0o4755);
        tree.entry("directory").acl("u::rwx,u:1000:r-x,g::r-x,m::r-x,o::---");
        tree.entry("closed directory").mode(0o555).mtime(1_000, 6);
    });
    let before = pair.source_now();
    sync.run().exits(0);
    assert_untouched(&before, &pair.source_now(), "the owner's access times moved");
    pair.assert_mirrored();
    second_run_changes_nothing(&pair, &sync, 0);
}

#[test]
fn an_ordinary_user_fills_a_directory_that_he_will_not_be_able_to_write_to() {
    let (pair, sync) = of_nobody(|tree| {
        tree.file("a/b/c/file", "content");
        give(tree, &["a", "a/b", "a/b/c", "a/b/c/file"]);
        for path in ["a/b/c", "a/b", "a"] {
            tree.entry(path).mode(0o555).mtime(1_000, 1);
        }
    });
    sync.run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn an_unreadable_file_is_failed_and_listed_while_the_rest_is_copied() {
    let (pair, sync) = of_nobody(|tree| {
        tree.file("directory/secret", "of root").mode(0o600);
        tree.file("directory/open", "for all");
        tree.file("other", "for all");
    });
    let run = sync.run().exits(23);
    run.counts("file", &[("created", 2), ("failed", 1)]);
    run.has_fault("directory/secret", "source", Errno::EACCES);
    assert!(!pair.target_now().has("directory/secret"));
    assert!(pair.target_now().has("directory/open") && pair.target_now().has("other"));
}

#[test]
fn an_unreadable_directory_is_failed_and_listed_while_the_rest_is_copied() {
    let (pair, sync) = of_nobody(|tree| {
        tree.file("closed/unseen", "of root");
        tree.file("open/file", "for all");
        tree.entry("closed").mode(0o700);
    });
    let run = sync.run().exits(23);
    run.has_fault("closed", "source", Errno::EACCES);
    assert_eq!(run.count("directory", "failed"), 1);
    assert!(!pair.target_now().has("closed/unseen"));
    assert!(pair.target_now().has("open/file"));
}

#[test]
fn an_unreadable_directory_leaves_what_the_target_has() {
    let (pair, sync) = of_nobody(|tree| {
        tree.file("closed/file", "of root");
        tree.entry("closed").mode(0o700);
    });
    pair.target().file("closed/file", "kept");
    pair.target().entry("closed").owner(NOBODY.0, NOBODY.1);
    let before = pair.target_now().below("closed/file");
    sync.run().exits(23);
    assert_unwritten(&before, &pair.target_now().below("closed/file"), "the target was changed");
}

#[test]
fn a_directory_that_can_be_listed_but_not_entered_fails_name_by_name() {
    let (pair, sync) = of_nobody(|tree| {
        tree.file("list only/file", "of root");
        tree.file("other", "for all");
        tree.entry("list only").mode(0o744);
    });
    let run = sync.run().exits(23);
    assert!(run.total("failed") >= 1);
    assert!(pair.target_now().has("other"));
}

#[test]
fn the_summary_counts_the_faults_by_operation_errno_and_side() {
    let (_pair, sync) = of_nobody(|tree| {
        for name in ["a", "b", "c"] {
            tree.file(name, "of root").mode(0);
        }
    });
    let run = sync.run().exits(23);
    let counts = run.summary()["faults"].as_array().expect("a list of faults").clone();
    let total: u64 = counts.iter().filter_map(|fault| fault["count"].as_u64()).sum();
    assert_eq!((total, run.faults.len()), (3, 3));
    assert_eq!(counts[0]["side"], "source");
    assert!(counts[0]["operation"].is_string());
}

#[test]
fn an_owner_that_cannot_be_set_is_told_once_and_is_no_failure() {
    let (pair, sync) = of_nobody(|tree| {
        for name in ["a", "b", "c"] {
            tree.file(name, "of another").owner(1000, 1000);
        }
        tree.symlink("link", "x").owner(1000, 1000);
    });
    let run = sync.run().exits(0);
    assert!(run.number("/unset/owner") >= 4, "{}", run.summary()["unset"]);
    assert_eq!(run.faults.len(), 0);
    let lines = String::from_utf8_lossy(&run.stderr).into_owned();
    let told = lines.lines().filter(|line| line.contains("owner")).count();
    assert!(told <= 2, "told more than once: {lines}");
    pair.assert_mirrored_but(&["owner", "group"]);
}

#[test]
fn an_owner_that_cannot_be_set_does_not_make_the_second_run_busy() {
    let (pair, sync) = of_nobody(|tree| {
        tree.file("directory/file", "of another").owner(1000, 1000).mode(0o6755);
        tree.entry("directory").owner(1001, 1001);
        tree.symlink("link", "x").owner(1000, 1000);
    });
    sync.run().exits(0);
    second_run_changes_nothing(&pair, &sync, 0);
}

#[test]
fn a_copy_whose_owner_could_not_be_set_has_no_setuid_or_setgid_bit() {
    let (pair, sync) = of_nobody(|tree| {
        tree.file("setuid", "#!").owner(1000, 1000).mode(0o4755);
        tree.file("setgid", "#!").owner(1000, 1000).mode(0o2755);
        tree.file("both", "#!").owner(1000, 1000).mode(0o6755);
        tree.file("group only", "#!").owner(NOBODY.0, 1000).mode(0o6755);
    });
    sync.run().exits(0);
    for (path, seen) in &pair.target_now().without_root().entries {
        let name = escaped(path);
        let setgid_kept = seen.mode() & 0o2000 != 0;
        assert!(!setgid_kept, "{name} is setgid for another group: {:04o}", seen.mode());
        let setuid_kept = seen.mode() & 0o4000 != 0;
        assert!(!setuid_kept || name == "group only", "{name}: {:04o}", seen.mode());
    }
}

#[test]
fn a_device_that_a_user_may_not_make_is_failed() {
    let (pair, sync) = of_nobody(|tree| {
        tree.char_device("device", 1, 3);
        tree.block_device("disk", 7, 0);
        tree.file("file", "content");
    });
    let run = sync.run().exits(23);
    run.counts("character_device", &[("failed", 1)]).counts("block_device", &[("failed", 1)]);
    run.has_fault("device", "target", Errno::EPERM);
    assert!(pair.target_now().has("file"));
}

#[test]
fn without_special_files_a_device_is_skipped_and_all_is_well() {
    let (pair, sync) = of_nobody(|tree| {
        tree.char_device("device", 1, 3);
        tree.fifo("fifo");
        tree.socket("socket");
        tree.file("file", "content");
    });
    let run = sync.arg("--no-specials").run().exits(0);
    for kind in ["character_device", "fifo", "socket"] {
        run.counts(kind, &[("skipped", 1)]);
    }
    assert_eq!(pair.target_now().count("file"), 1);
    assert_eq!(pair.target_now().entries.len(), 2, "the root and the file");
}

#[test]
fn attributes_that_only_root_may_set_are_counted() {
    let (pair, sync) = of_nobody(|tree| {
        tree.file("program", "#!").owner(NOBODY.0, NOBODY.1).mode(0o755).capability();
        give(tree, &[]);
    });
    let run = sync.run().exits(0);
    let unset = run.summary()["unset"].as_object().cloned().unwrap_or_default();
    assert!(!unset.is_empty(), "nothing tells that the capability is gone");
    let lines = differences(&pair.source_now(), &pair.target_now(), MIRRORED);
    assert!(lines.iter().all(|line| line.contains("xattrs")), "{lines:?}");
    second_run_changes_nothing(&pair, &sync, 0);
}

#[test]
fn a_target_directory_that_may_not_be_written_fails_alone() {
    let (pair, sync) = of_nobody(|tree| {
        tree.file("closed/file", "content");
        tree.file("open/file", "content");
    });
    pair.target().dir("closed");
    pair.target().dir("open").owner(NOBODY.0, NOBODY.1);
    let run = sync.run().exits(23);
    run.has_fault("closed/file", "target", Errno::EACCES);
    assert!(pair.target_now().has("open/file"));
}

#[test]
fn an_immutable_target_file_fails_and_the_rest_goes_on() {
    let pair = Pair::new();
    for name in ["before", "file", "later"] {
        pair.source().file(name, "new content");
        pair.target().file(name, "old").mtime(1_000, 1);
    }
    let guard = pair.target().entry("file").immutable();
    let before = pair.target_now().below("file");
    let run = pair.sync().run().exits(23);
    run.counts("file", &[("updated", 2), ("failed", 1)]);
    run.has_fault("file", "target", Errno::EPERM);
    assert_unwritten(&before, &pair.target_now().below("file"), "the old version was changed");
    drop(guard);
    pair.sync().run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn an_immutable_target_directory_fails_and_the_rest_goes_on() {
    let pair = Pair::new();
    pair.source().file("directory/file", "content");
    pair.source().file("other/file", "content");
    let guard = pair.target().dir("directory").immutable();
    let run = pair.sync().run().exits(23);
    run.has_fault("directory/file", "target", Errno::EPERM);
    assert!(pair.target_now().has("other/file"));
    drop(guard);
    pair.sync().run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn an_immutable_or_append_only_source_is_copied() {
    let pair = Pair::new();
    let _guard = pair.source().file("file", "content").immutable();
    pair.sync().run().exits(0);
    assert_same_but(&pair.source_now(), &pair.target_now(), &[]);
}

#[test]
fn a_busy_mount_point_on_the_target_fails_alone() {
    let pair = Pair::new();
    pair.source().file("mounted", "a file here");
    pair.source().file("other", "content");
    pair.target().dir("mounted");
    let mounted = pair.target().path("mounted");
    let script = format!("mount -t tmpfs none '{}' && exec \"$@\"", mounted.display());
    let sync = pair.sync().wrapped_by(&["unshare", "--mount", "sh", "-c", &script, "sh"]);
    let run = sync.run().exits(23);
    run.counts("file", &[("created", 1), ("failed", 1)]);
    pair.sync().run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn an_attribute_too_large_for_the_target_fails_its_file_alone() {
    let pair = Pair::new();
    let memory = tempfile::tempdir_in("/dev/shm").expect("a tmpfs at /dev/shm");
    let tree = Tree::at(memory.path());
    tree.file("large", "content").xattr("trusted.large", vec![7; 20_000]);
    tree.file("small", "content").xattr("trusted.small", "7");
    let run = pair.sync().sync(memory.path(), pair.target_path()).run().exits(23);
    run.has_fault("large", "target", Errno::ENOSPC);
    let (source, target) = (Snapshot::take(memory.path()), pair.target_now());
    assert_same_but(&source.below("small"), &target.below("small"), &[]);
}

#[test]
fn a_full_target_does_not_end_as_done() {
    let pair = Pair::new();
    for name in 0..40 {
        pair.source().file(format!("{name}"), vec![1; 100_000]);
    }
    let target = pair.target_path();
    let script = format!("mount -t tmpfs -o size=2m none '{}' && exec \"$@\"", target.display());
    let sync = pair.sync().wrapped_by(&["unshare", "--mount", "sh", "-c", &script, "sh"]);
    let run = sync.run().exits(11);
    assert!(String::from_utf8_lossy(&run.stdout).contains("DST has no space left"));
    assert!(run.total("unfinished") > 0);
}

/// Files of the kernel have no size, or that of a page, whatever they hold.
#[test]
fn what_is_longer_or_shorter_than_its_size_is_never_taken_for_done() {
    for source in ["/proc/sys/kernel/random", "/sys/devices/system/cpu/cpu0/topology"] {
        let pair = Pair::new();
        let sync = Pmirror::new().sync(source, pair.target_path()).state_dir(pair.state_path());
        let run = sync.args(&["--exclude", "uuid"]).run_unchecked();
        run.assert_books_balance();
        let run = run.exits(24);
        let changed = run.count("file", "changed");
        assert!(
            changed > 0 && changed + run.count("file", "skipped") == run.count("file", "seen"),
            "{:?}",
            run.totals()
        );
    }
}

#[test]
fn owners_that_a_user_namespace_does_not_know_are_counted_and_get_no_set_id_bits() {
    let pair = Pair::new();
    pair.source().file("of another", "#!").owner(1000, 1000).mode(0o6755);
    pair.source().file("of root", "#!").mode(0o4755);
    let sync = pair.sync().wrapped_by(&["unshare", "--user", "--map-root-user"]);
    let run = sync.run_unchecked().exits(0);
    run.counts("file", &[("created", 2)]);
    assert_eq!((run.number("/unset/owner"), run.number("/unset/group")), (1, 1));
    assert_eq!(pair.target_now().at("of another").mode() & 0o6000, 0);
    assert_eq!(pair.target_now().at("of root").mode(), 0o4755);
    pair.sync().run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn thousands_of_faults_are_summed_up_and_listed_in_a_file() {
    let (_pair, sync) = of_nobody(|tree| {
        for index in 0..3_000 {
            tree.file(format!("{}/{index}", index % 10), "of root").mode(0);
        }
    });
    let run = sync.run().exits(23);
    assert_eq!((run.faults.len(), run.number("/faults/0/count")), (3_000, 3_000));
    let lines = [&run.stdout, &run.stderr].map(|text| text.iter().filter(|byte| **byte == b'\n').count());
    assert!(lines[0] + lines[1] < 40, "{lines:?}");
}

#[test]
fn threads_that_can_not_be_started_end_the_run_in_order() {
    for thread in 1..=5 {
        let pair = Pair::new();
        pair.source().file("file", "content");
        let inject = format!("inject=clone,clone3:error=EAGAIN:when={thread}");
        let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject];
        let run = pair.sync().wrapped_by(&strace).run_unchecked();
        run.assert_books_balance();
        run.context(|| assert!([0, 11].contains(&run.code), "thread {thread}: exit code {}", run.code));
        // Progress can do without a thread of its own.
        if run.code == 11 {
            run.says("can not be started").says("ulimit -u");
        }
        pair.sync().run_unchecked().exits(0);
        pair.assert_mirrored();
    }
}

/// listxattr(2) gives 64 KiB of names at most, tmpfs holds more; a value may have 64 KiB.
#[test]
fn more_names_of_attributes_than_the_kernel_tells_fail_their_file_alone() {
    let memory = tempfile::tempdir_in("/dev/shm").expect("a tmpfs at /dev/shm");
    let (pair, tree) = (Pair::below(memory.path()), Tree::at(memory.path()));
    let many = tree.file("many", "content");
    for index in 0..300 {
        many.xattr(format!("trusted.{index:0>240}"), "v");
    }
    tree.file("large", "content").xattr("trusted.large", vec![7; 65_536]);
    for name in ["many", "large"] {
        std::fs::rename(memory.path().join(name), pair.source_path().join(name)).unwrap();
    }
    let run = pair.sync().run_unchecked().exits(23);
    run.assert_books_balance();
    run.counts("file", &[("created", 1), ("failed", 1)]);
    run.has_fault("many", "source", Errno::E2BIG);
    let mut copy = vec![0; 70_000];
    let path = pair.target_path().join("large");
    assert_eq!(rustix::fs::getxattr(path, "trusted.large", &mut copy[..]), Ok(65_536));
}
