//! The options of `sync`: those that leave something out, rsync's letters, and what a run tells.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use support::compare::assert_unwritten;
use support::outcome::{KINDS, second_run_changes_nothing};
use support::*;

fn random_pair(seed: u64) -> Pair {
    let pair = Pair::new();
    RandomTree::new(seed, 80).build(&pair.source());
    pair
}

#[test]
fn the_letters_of_rsync_change_nothing() {
    let pair = random_pair(41);
    pair.sync().args(&["-arlptgoDHAXS", "--numeric-ids"]).run().exits(0);
    pair.assert_mirrored();
    second_run_changes_nothing(&pair, &pair.sync(), 0);
}

#[test]
fn each_letter_of_rsync_is_accepted_alone() {
    let pair = random_pair(42);
    for letter in ["-a", "-r", "-l", "-p", "-t", "-g", "-o", "-D", "-H", "-A", "-X", "-S"] {
        pair.sync().arg(letter).run().exits(0);
    }
    pair.assert_mirrored();
}

#[test]
fn options_may_stand_before_the_roots() {
    let pair = random_pair(43);
    let sync = Pmirror::new().args(&["sync", "-a", "--threads", "2"]);
    let sync = sync.arg(pair.source_path()).arg(pair.target_path());
    sync.state_dir(pair.state_path()).run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn any_number_of_threads_gives_the_same_tree() {
    for threads in ["1", "2", "7"] {
        let pair = random_pair(44);
        pair.sync().args(&["--threads", threads]).run().exits(0);
        pair.assert_mirrored();
    }
}

#[test]
fn an_option_can_come_from_the_environment_and_the_command_line_wins() {
    let pair = random_pair(45);
    pair.sync().env("PMIRROR_THREADS", "1").run().exits(0);
    pair.sync().env("PMIRROR_THREADS", "none").run_unchecked().refuses(1, &["none"]);
    pair.sync().env("PMIRROR_THREADS", "none").args(&["--threads", "2"]).run().exits(0);
}

#[test]
fn without_owner_the_copy_belongs_to_who_ran_it() {
    let pair = Pair::new();
    pair.source().file("file", "x").owner(1000, 1000);
    pair.sync().arg("--no-owner").run().exits(0);
    assert_eq!(pair.target_now().at("file").stat.stx_uid, 0);
    second_run_changes_nothing(&pair, &pair.sync().arg("--no-owner"), 0);
}

#[test]
fn without_owner_a_setuid_bit_is_not_given_to_another_owner() {
    let pair = Pair::new();
    pair.source().file("file", "x").owner(1000, 1000).mode(0o6755);
    pair.sync().arg("--no-owner").run().exits(0);
    assert_eq!(pair.target_now().at("file").mode() & 0o6000, 0);
}

#[test]
fn without_perms_a_mode_that_is_there_stays() {
    let pair = Pair::new();
    pair.source().file("file", "x").mode(0o600);
    pair.sync().run().exits(0);
    pair.source().entry("file").mode(0o755);
    pair.sync().arg("--no-perms").run().exits(0).counts("file", &[("same", 1)]);
    assert_eq!(pair.target_now().at("file").mode(), 0o600);
}

#[test]
fn without_perms_a_new_copy_is_not_wider_than_its_source() {
    let pair = Pair::new();
    pair.source().file("directory/file", "x").mode(0o600);
    pair.source().entry("directory").mode(0o700);
    pair.sync().arg("--no-perms").run().exits(0);
    for name in ["directory", "directory/file"] {
        let (source, target) = (pair.source_now(), pair.target_now());
        let wider = target.at(name).mode() & !source.at(name).mode();
        assert_eq!(wider, 0, "{name} is {:04o}", target.at(name).mode());
    }
}

#[test]
fn without_xattrs_they_are_left_alone_on_both_sides() {
    let pair = Pair::new();
    pair.source().file("new", "x").xattr("user.a", "1");
    pair.source().file("old", "x").xattr("user.a", "1").mtime(1_000, 1);
    pair.target().file("old", "x").xattr("user.b", "2").mtime(1_000, 1);
    pair.sync().arg("--no-xattrs").run().exits(0);
    assert!(pair.target_now().at("new").xattrs.is_empty());
    assert!(pair.target_now().at("old").xattrs.contains_key(&b"user.b"[..]));
}

#[test]
fn without_acls_they_are_not_copied() {
    let pair = Pair::new();
    let acl = "u::rw-,u:1000:rw-,g::r--,m::rw-,o::---";
    pair.source().file("file", "x").acl(acl).xattr("user.a", "1");
    pair.source().dir("directory").default_acl("u::rwx,u:7:rwx,g::r-x,m::rwx,o::---");
    pair.sync().arg("--no-acls").run().exits(0);
    let target = pair.target_now();
    let names: Vec<String> = target.at("file").xattrs.keys().map(escaped).collect();
    assert_eq!(names, ["user.a"]);
    assert!(target.at("directory").xattrs.is_empty());
}

#[test]
fn without_times_data_and_mode_are_right_and_times_are_not_looked_at() {
    let pair = Pair::new();
    pair.source().dir("directory").mtime(1_000, 1);
    pair.source().symlink("link", "x").mtime(1_000, 1);
    pair.sync().arg("--no-times").run().exits(0);
    pair.assert_mirrored_but(&["mtime"]);
    second_run_changes_nothing(&pair, &pair.sync().arg("--no-times"), 0);
}

#[test]
fn without_special_files_those_on_the_target_stay() {
    let pair = Pair::new();
    pair.source().fifo("fifo");
    pair.target().file("fifo", "a file of the target").mtime(5, 5);
    let before = pair.target_now().below("fifo");
    pair.sync().arg("--no-specials").run().exits(0).counts("fifo", &[("skipped", 1)]);
    assert_unwritten(&before, &pair.target_now().below("fifo"), "a skipped name was changed");
}

/// Runs `sync` in its own mount namespace, with a tmpfs over `directory/mounted` of the source
/// that holds one file.
fn with_a_mount(pair: &Pair) -> Pmirror {
    pair.source().dir("directory/mounted");
    let mounted = pair.source().path("directory/mounted");
    let mounted = mounted.display();
    let script = format!("mount -t tmpfs none '{mounted}' && echo content > '{mounted}/file' && exec \"$@\"");
    pair.sync().wrapped_by(&["unshare", "--mount", "sh", "-c", &script, "sh"])
}

#[test]
fn mount_points_are_crossed() {
    let pair = Pair::new();
    with_a_mount(&pair).run().exits(0).counts("file", &[("created", 1)]);
    assert!(pair.target_now().has("directory/mounted/file"));
}

#[test]
fn with_x_mount_points_are_not_crossed() {
    let pair = Pair::new();
    let run = with_a_mount(&pair).arg("-x").run().exits(0);
    assert_eq!(run.count("file", "seen"), 0);
    assert_eq!(run.count("directory", "skipped"), 1);
    assert!(!pair.target_now().has("directory/mounted/file"));
}

#[test]
fn with_json_stdout_is_the_summary_and_nothing_else() {
    let pair = random_pair(46);
    let run = pair.sync().arg("--json").run().exits(0);
    let printed: Value = serde_json::from_slice(&run.stdout).expect("stdout is JSON");
    assert_eq!(&printed, run.summary());
}

#[test]
fn the_summary_tells_what_was_run_and_where() {
    let pair = random_pair(47);
    let run = pair.sync().run_id("monday").run().exits(0);
    let summary = run.summary();
    assert_eq!(summary["run_id"], "monday");
    assert_eq!(summary["source"]["path"], pair.source_path().display().to_string());
    assert_eq!(summary["target"]["path"], pair.target_path().display().to_string());
    assert_eq!(summary["version"], env!("CARGO_PKG_VERSION"));
    assert!(summary["arguments"].as_array().is_some_and(|words| !words.is_empty()));
    assert!(summary["slurm"].is_null());
    for name in ["total", "start", "mirror", "link", "settle", "flush"] {
        assert!(summary["seconds"][name].is_number(), "seconds of {name}");
    }
    for (name, side) in [("ext", "source"), ("ext", "target")] {
        let fs_type = summary[side]["fs_type"].as_str().unwrap_or_default();
        let known = ["ext4", "xfs", "btrfs", name];
        assert!(known.iter().any(|known| fs_type.starts_with(known)), "{side}: {fs_type:?}");
    }
}

#[test]
fn the_summary_counts_every_entry_of_the_source_once() {
    let pair = random_pair(48);
    let run = pair.sync().run().exits(0);
    let source = pair.source_now();
    for kind in &KINDS[1..] {
        assert_eq!(run.count(kind, "seen"), source.count(kind), "{kind}");
    }
    // The root is a directory like any other.
    assert_eq!(run.count("directory", "seen"), source.count("directory") + 1);
    let ranks = run.summary()["ranks"].as_array().expect("a list of ranks").clone();
    assert_eq!((ranks.len(), ranks[0]["rank"].as_u64()), (1, Some(0)));
}

#[test]
fn the_summary_for_people_names_what_was_done() {
    let pair = random_pair(49);
    let run = pair.sync().run().exits(0);
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    for word in ["director", "file", "created"] {
        assert!(text.contains(word), "no {word:?} in:\n{text}");
    }
}

#[test]
fn the_run_directory_is_for_its_owner_only() {
    let pair = random_pair(50);
    let run = pair.sync().run().exits(0);
    let mode = std::fs::metadata(run.run_dir.unwrap()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn without_a_state_directory_the_run_is_kept_below_the_current_one() {
    let pair = random_pair(51);
    let sync = Pmirror::new().sync(pair.source_path(), pair.target_path());
    sync.working_dir(pair.state_path()).run_unchecked().exits(0);
    let runs = std::fs::read_dir(pair.state_path().join("pmirror-runs")).unwrap();
    let summaries = runs.filter(|run| run.as_ref().unwrap().path().join("summary.json").is_file());
    assert_eq!(summaries.count(), 1);
}

#[test]
fn progress_in_a_log_is_plain_lines_on_stderr() {
    let pair = random_pair(52);
    let run = pair.sync().arg("--progress=1").run().exits(0);
    run.assert_output_is_escaped();
}

/// The same with one of the trees mounted once more over itself, with these options.
fn with_remounted(pair: &Pair, tree: &std::path::Path, options: &str) -> Pmirror {
    let tree = tree.display();
    let script = format!("mount --bind '{tree}' '{tree}' && mount -o remount,bind,{options} '{tree}' && exec \"$@\"");
    pair.sync().launched_by(&["unshare", "--mount", "sh", "-c", &script, "sh"])
}

#[test]
fn a_source_that_can_only_be_read_is_mirrored() {
    for ranks in [Ranks::One, Ranks::Mpirun(2)] {
        let pair = Pair::new();
        RandomTree::new(53, 150).linked().build(&pair.source());
        pair.source().file("large", vec![1; 500_000]);
        let sync = with_remounted(&pair, &pair.source_path(), "ro").args(&["--chunk-size=64K", "--delete", "--verify"]);
        sync.ranks(ranks).run().exits(0);
        pair.assert_mirrored();
        assert_same_links(pair.source_path(), pair.target_path());
    }
}

#[test]
fn a_target_on_which_nothing_may_be_executed_takes_everything() {
    let pair = random_pair(54);
    pair.source().file("program", "#!").owner(1000, 1000).mode(0o6755).capability();
    pair.source().char_device("device", 1, 3);
    with_remounted(&pair, &pair.target_path(), "nosuid,nodev,noexec").run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn without_newer_system_calls_older_ones_do() {
    // What strace does not know, it passes over; what it does not watch, costs nothing.
    let newer = "openat2,faccessat2,copy_file_range,renameat2,?fchmodat2,?setxattrat,?getxattrat";
    let (watch, inject) = (format!("trace={newer}"), format!("inject={newer}:error=ENOSYS"));
    let strace = ["strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", &watch, "-e", &inject];
    let pair = Pair::new();
    RandomTree::new(55, 150).linked().build(&pair.source());
    RandomTree::new(56, 50).build_among(6, &pair.target());
    let guards = ["--delete", "--max-delete", "100%", "--hold-threshold", "100%"];
    let sync = pair.sync().args(&guards).wrapped_by(&strace);
    sync.run().exits(0);
    pair.assert_mirrored();
    second_run_changes_nothing(&pair, &sync, 0);
}

#[test]
fn a_limit_of_open_files_is_kept_to() {
    let pair = random_pair(57);
    for index in 0..200 {
        pair.source().file(format!("wide/{index}/deep/{index}/file"), "content");
    }
    let limited = ["sh", "-c", "ulimit -n 48; exec \"$@\"", "sh"];
    pair.sync().wrapped_by(&limited).run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn a_limit_of_file_sizes_fails_the_files_beyond_it() {
    let pair = Pair::new();
    pair.source().file("large", vec![1; 3 << 20]);
    pair.source().file("small", vec![1; 1 << 10]);
    // In units of 1 KiB, and for the state directory, too.
    let limited = ["bash", "-c", "ulimit -f 1024; exec \"$@\"", "bash"];
    let run = pair.sync().wrapped_by(&limited).run().exits(23);
    run.counts("file", &[("created", 1), ("failed", 1)]);
    run.has_fault("large", "target", nix::errno::Errno::EFBIG);
    assert!(!pair.target_now().has("large"));
    pair.sync().run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn neither_time_zone_nor_language_of_the_job_matter() {
    let pair = random_pair(58);
    let plain = pair.sync().arg("-n").run().exits(0);
    let abroad = pair.sync().arg("-n").env("TZ", "Pacific/Chatham").env("LC_ALL", "tr_TR.UTF-8").run().exits(0);
    assert_eq!(abroad.stdout, plain.stdout);
    assert_eq!(abroad.totals(), plain.totals());
    for time in ["started", "ended"] {
        assert!(abroad.summary()[time].as_str().is_some_and(|time| time.ends_with('Z')), "{time} is not UTC");
    }
}
