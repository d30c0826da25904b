//! `--detect-renames`: a directory that was renamed on the source is renamed on the target; in doubt it is copied.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use nix::errno::Errno;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use support::inject::{self, Blow, Sort, Step};
use support::*;

/// A source with directories, and its mirror, of which there is a record.
fn mirrored() -> Pair {
    let pair = Pair::new();
    let source = pair.source();
    for name in ["old/file", "old/deep/er/file", "other/file", "stays/file"] {
        source.file(name, format!("content of {name}"));
    }
    source.dir("old/empty").mode(0o2750);
    pair.detect().run().exits(0);
    pair
}

trait Detects {
    fn detect(&self) -> Pmirror;
    fn rename(&self, old: &str, new: &str);
    fn inode(&self, name: &str) -> u64;
    fn records(&self) -> Vec<PathBuf>;
}

impl Detects for Pair {
    fn detect(&self) -> Pmirror {
        self.sync().arg("--detect-renames")
    }

    fn rename(&self, old: &str, new: &str) {
        std::fs::rename(self.source_path().join(old), self.source_path().join(new)).unwrap();
    }

    /// On the target.
    fn inode(&self, name: &str) -> u64 {
        std::fs::metadata(self.target_path().join(name)).unwrap().ino()
    }

    fn records(&self) -> Vec<PathBuf> {
        let all = std::fs::read_dir(self.state_path().join("roots")).into_iter().flatten();
        let all = all.map(|entry| entry.unwrap().path());
        all.filter(|path| path.extension().is_some_and(|ending| ending == "directories")).collect()
    }
}

/// What the summary says was renamed, and how many bytes were written.
fn renamed(outcome: &Outcome) -> (u64, u64) {
    let summary = outcome.summary();
    (summary["renamed"].as_u64().unwrap(), summary["bytes"]["written"].as_u64().unwrap())
}

/// The next run renames so many directories, copies nothing, and both trees are alike.
fn assert_renamed(pair: &Pair, directories: u64) {
    let run = pair.detect().run().exits(0);
    assert_eq!(renamed(&run), (directories, 0));
    pair.assert_mirrored();
}

/// The next run renames nothing, and both trees are alike where the source has something.
fn assert_copied(pair: &Pair) -> Outcome {
    assert_renamed_and_copied(pair, 0)
}

/// The next run renames so many directories and copies something, and both trees are alike where the source has
/// something.
fn assert_renamed_and_copied(pair: &Pair, expected: u64) -> Outcome {
    let run = pair.detect().run().exits(0);
    let (directories, bytes) = renamed(&run);
    assert!(directories == expected && bytes > 0, "{directories} renamed, {bytes} bytes written");
    pair.rm().args(&["--max-delete", "100%", "--hold-threshold", "100%"]).run().exits(0);
    pair.mtimes().run().exits(0);
    pair.assert_mirrored();
    run
}

#[test]
fn a_directory_with_another_name_is_renamed_and_nothing_is_copied() {
    let pair = mirrored();
    let (old, file) = (pair.inode("old"), pair.inode("old/deep/er/file"));
    pair.rename("old", "new");
    assert_renamed(&pair, 1);
    assert_eq!((pair.inode("new"), pair.inode("new/deep/er/file")), (old, file));
    assert_renamed(&pair, 0);
}

#[test]
fn without_the_option_it_is_copied_and_no_record_is_kept() {
    let pair = mirrored();
    std::fs::remove_file(&pair.records()[0]).unwrap();
    pair.rename("old", "new");
    let run = pair.sync().run().exits(0);
    let summary = run.summary();
    assert!(summary["bytes"]["written"].as_u64().unwrap() > 0 && summary.get("renamed").is_none());
    assert_eq!(pair.records(), Vec::<PathBuf>::new());
}

#[test]
fn it_is_renamed_into_another_directory_at_another_depth() {
    let pair = mirrored();
    pair.rename("old/deep", "stays/deeper");
    pair.rename("other", "old/other");
    assert_renamed(&pair, 2);
}

#[test]
fn it_is_renamed_into_a_directory_that_is_new() {
    let pair = mirrored();
    pair.source().dir("made/for it");
    pair.rename("old", "made/for it/new");
    assert_renamed(&pair, 1);
}

#[test]
fn what_changed_in_it_is_copied_and_what_is_new_in_it_too() {
    let pair = mirrored();
    pair.rename("old", "new");
    pair.source().file("new/file", "other content");
    pair.source().file("new/deep/added", "new content");
    pair.source().entry("new/empty").mode(0o700);
    let run = pair.detect().run().exits(0);
    assert_eq!(renamed(&run), (1, 24));
    pair.assert_mirrored();
}

#[test]
fn what_was_removed_in_it_is_left_to_rm_as_ever() {
    let pair = mirrored();
    pair.rename("old", "new");
    pair.source().entry("new/file").unlink();
    pair.detect().run().exits(0);
    assert!(pair.target_path().join("new/file").exists());
    pair.rm().run().exits(0);
    pair.mtimes().run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn a_directory_and_one_in_it_are_both_renamed() {
    let pair = mirrored();
    pair.rename("old/deep", "old/shallow");
    pair.rename("old", "new");
    assert_renamed(&pair, 2);
}

#[test]
fn directories_of_which_several_in_a_row_are_renamed_are() {
    let pair = mirrored();
    pair.rename("old/deep/er", "old/deep/est");
    pair.rename("old/deep", "old/shallow");
    pair.rename("old", "new");
    assert_renamed(&pair, 3);
}

#[test]
fn a_name_that_is_in_use_again_belongs_to_who_has_it_now() {
    let pair = mirrored();
    pair.rename("old", "new");
    pair.source().file("old/quite/another", "content");
    // What was in it has no name on the source that is in use: `deep` and `empty`.
    assert_renamed_and_copied(&pair, 2);
}

#[test]
fn two_directories_that_changed_their_names_get_each_others_content() {
    let pair = mirrored();
    pair.rename("old", "aside");
    pair.rename("other", "old");
    pair.rename("aside", "other");
    assert_renamed_and_copied(&pair, 2);
}

#[test]
fn a_copy_of_a_directory_is_another_directory() {
    let pair = mirrored();
    let source = pair.source_path();
    needs::run_ok(std::process::Command::new("cp").arg("-a").arg(source.join("old")).arg(source.join("copy")));
    assert_copied(&pair);
    std::fs::remove_dir_all(pair.source_path().join("old")).unwrap();
    pair.rm().args(&["--max-delete", "100%", "--hold-threshold", "100%"]).run().exits(0);
    assert_renamed(&pair, 0);
}

#[test]
fn a_record_that_is_damaged_costs_a_copy_and_is_written_anew() {
    let pair = mirrored();
    let record = pair.records().pop().unwrap();
    for damage in [&b""[..], b"no record of ours", &[0xff; 4096]] {
        std::fs::write(&record, damage).unwrap();
        pair.rename("old", "new");
        let run = assert_copied(&pair);
        assert!(String::from_utf8_lossy(&run.stderr).contains("what was renamed is copied"));
        pair.rename("new", "old");
        assert_renamed(&pair, 1);
    }
}

#[test]
fn each_part_of_a_record_that_is_damaged_costs_a_copy_at_most() {
    let pair = mirrored();
    let record = pair.records().pop().unwrap();
    let whole = std::fs::read(&record).unwrap();
    let broken: Vec<u8> =
        whole.iter().enumerate().map(|(at, byte)| if at >= 256 && at % 64 == 0 { !byte } else { *byte }).collect();
    std::fs::write(&record, broken).unwrap();
    pair.rename("old", "new");
    assert_copied(&pair);
}

#[test]
fn a_record_of_other_trees_with_the_same_names_is_not_used() {
    let pair = mirrored();
    std::fs::rename(pair.target_path(), pair.top_path().join("aside")).unwrap();
    std::fs::create_dir(pair.target_path()).unwrap();
    pair.rename("old", "new");
    assert_copied(&pair);
}

#[test]
fn a_record_that_is_older_than_the_trees_does_no_harm() {
    let pair = mirrored();
    let record = pair.records().pop().unwrap();
    let kept = std::fs::read(&record).unwrap();
    pair.rename("old", "new");
    pair.rename("other", "old");
    pair.sync().args(&["--delete", "--max-delete", "100%", "--hold-threshold", "100%"]).run().exits(0);
    std::fs::write(&record, kept).unwrap();
    pair.rename("old", "third");
    // The record has it as `other`, which the target no longer has.
    assert_copied(&pair);
}

#[test]
fn a_target_directory_that_somebody_replaced_is_not_taken() {
    let pair = mirrored();
    let target = pair.target_path();
    std::fs::rename(target.join("old"), target.join("hidden")).unwrap();
    pair.target().file("old/planted", "not ours");
    pair.rename("old", "new");
    assert_copied(&pair);
}

#[test]
fn what_somebody_changed_in_it_on_the_target_is_mended() {
    let pair = mirrored();
    pair.target().file("old/file", "changed by hand");
    pair.target().entry("old/deep/er/file").unlink();
    pair.rename("old", "new");
    let run = pair.detect().run().exits(0);
    assert_eq!(renamed(&run).0, 1);
    pair.assert_mirrored();
}

#[test]
fn what_patterns_leave_out_is_not_taken_away() {
    let pair = mirrored();
    pair.rename("old/deep", "stays/deep");
    let run = pair.detect().args(&["--exclude", "/old"]).run().exits(0);
    assert_eq!(renamed(&run).0, 0);
    assert!(pair.target_path().join("old/deep/er/file").exists());
    assert!(pair.target_path().join("stays/deep/er/file").exists());
}

#[test]
fn what_patterns_protect_by_its_path_is_protected_wherever_its_directory_went() {
    let pair = mirrored();
    pair.source().file("scratch/db", "the source's");
    pair.target().file("scratch/db", "local");
    let sync = || pair.detect().args(&["--exclude", "/scratch/*"]);
    sync().run().exits(0);
    pair.rename("scratch", "work");
    let run = sync().run().exits(0);
    assert_eq!(renamed(&run).0, 0);
    assert_eq!(std::fs::read(pair.target_path().join("scratch/db")).unwrap(), b"local");
    assert_eq!(std::fs::read(pair.target_path().join("work/db")).unwrap(), b"the source's");
}

#[test]
fn each_one_that_is_renamed_is_listed_with_its_old_name() {
    let pair = mirrored();
    pair.rename("old", "new\n");
    let run = pair.detect().arg("-i").run().exits(0);
    let shown = String::from_utf8_lossy(&run.stdout);
    assert!(shown.contains("cd......... new\\n/ <= old/\n"), "{shown}");
    let changes = std::fs::read_to_string(run.run_dir.unwrap().join("changes.jsonl")).unwrap();
    assert!(changes.contains("\"renamed_from\":\"old\""), "{changes}");
}

#[test]
fn a_dry_run_renames_nothing_and_leaves_the_record_as_it_was() {
    let pair = mirrored();
    let (before, record) = (pair.target_now(), std::fs::read(&pair.records()[0]).unwrap());
    pair.rename("old", "new");
    pair.detect().arg("-n").run().exits(0);
    compare::assert_untouched(&before, &pair.target_now(), "the target was touched");
    assert_eq!(std::fs::read(&pair.records()[0]).unwrap(), record);
    assert_renamed(&pair, 1);
}

#[test]
fn ranks_share_one_record() {
    let pair = mirrored();
    for number in 0..40 {
        pair.source().file(format!("old/{number}/file"), "content");
    }
    pair.detect().ranks(Ranks::Mpirun(3)).run().exits(0);
    (0..40).for_each(|number| pair.rename(&format!("old/{number}"), &format!("stays/new {number}")));
    pair.rename("other", "new");
    let run = pair.detect().ranks(Ranks::Mpirun(3)).run().exits(0);
    assert_eq!(renamed(&run), (41, 0));
    pair.assert_mirrored();
}

#[test]
fn an_ordinary_user_renames_what_is_his() {
    let pair = Pair::new();
    pair.give_to(NOBODY);
    pair.source().file("old/file", "content");
    let detect = || pair.detect().as_user(NOBODY).args(&["--no-owner"]);
    detect().run().exits(0);
    pair.rename("old", "new");
    let run = detect().run().exits(0);
    assert_eq!(renamed(&run), (1, 0));
    pair.assert_mirrored_but(&["owner", "group"]);
}

#[test]
fn lists_and_renames_are_not_asked_for_together() {
    let pair = mirrored();
    let run = pair.detect().args(&["--files-from", "/dev/null"]).run_unchecked().exits(1);
    assert!(String::from_utf8_lossy(&run.stderr).contains("--files-from"));
}

#[test]
fn with_delete_only_what_the_source_lacks_is_removed_and_nothing_else_is_planned() {
    let pair = mirrored();
    pair.rename("old/deep/er", "stays/er");
    std::fs::remove_dir_all(pair.source_path().join("other")).unwrap();
    pair.source().entry("old/file").unlink();
    let run = pair.detect().args(&["--delete", "--max-delete", "3", "-i"]).run().exits(0);
    assert_eq!(renamed(&run), (1, 0));
    // `other`, `other/file`, `old/file`.
    assert_eq!((run.number("/removals/planned"), run.removals("removed")), (3, 3));
    pair.assert_mirrored();
    // The root, `old`, `old/empty`, `old/deep`, `stays`, `stays/er`: each once.
    assert_eq!(run.count("directory", "seen"), 6);
    assert_eq!(renamed(&pair.detect().arg("--delete").run().exits(0)), (0, 0));
}

#[test]
fn with_delete_the_guards_count_no_entry_of_a_directory_that_is_renamed() {
    let pair = mirrored();
    for number in 0..50 {
        pair.source().file(format!("old/{number}"), "content");
    }
    pair.detect().run().exits(0);
    pair.rename("old", "stays/old");
    let run = pair.detect().args(&["--delete", "--max-delete", "0"]).run().exits(0);
    assert_eq!((renamed(&run), run.number("/removals/planned")), ((1, 0), 0));
    pair.assert_mirrored();
}

#[test]
fn with_delete_a_directory_that_gives_way_to_a_file_is_removed_first() {
    let pair = mirrored();
    pair.rename("old", "new");
    pair.source().file("old", "a file now");
    let run = pair.detect().args(&["--delete", "--max-delete", "100%", "--hold-threshold", "100%"]).run().exits(0);
    // The name is in use, so what had it is copied.
    assert_eq!(renamed(&run).0, 0);
    pair.assert_mirrored();
}

#[test]
fn three_ranks_plan_after_they_have_renamed() {
    let pair = mirrored();
    (0..30).for_each(|number| drop(pair.source().file(format!("old/{number}/file"), "content")));
    pair.detect().run().exits(0);
    (0..30).for_each(|number| pair.rename(&format!("old/{number}"), &format!("other/{number}")));
    pair.source().entry("stays/file").unlink();
    let run = pair.detect().args(&["--delete", "--max-delete", "1"]).ranks(Ranks::Mpirun(3)).run().exits(0);
    assert_eq!((renamed(&run), run.removals("removed")), ((30, 0), 1));
    pair.assert_mirrored();
}

/// All files of the target by their contents, wherever they are.
fn contents(pair: &Pair) -> Vec<String> {
    let now = pair.target_now();
    let files = now.entries.iter().filter(|(path, seen)| seen.kind() == "file" && !path.starts_with(b".pmirror"));
    let mut all: Vec<String> = files.map(|(_, seen)| format!("{:?}", seen.digest)).collect();
    all.sort();
    all
}

/// A directory that is renamed into another one: the times of three directories are at stake.
fn to_be_renamed() -> Pair {
    let pair = mirrored();
    pair.rename("old/deep", "stays/deep");
    pair
}

#[test]
fn killed_at_any_change_from_the_renaming_on_no_file_is_gone_and_the_same_command_converges() {
    let detect = |pair: &Pair| pair.detect().args(&["--threads", "1", "--delete"]);
    let steps = inject::run(&detect(&to_be_renamed()), Sort::Changes, None).steps;
    let is_on_target = |step: &Step| step.path.contains("/target/") || step.path.ends_with("/target");
    let first =
        steps.iter().position(|step| step.call == "rename" && step.path.ends_with("/target/stays/deep")).unwrap();
    for index in (first..steps.len()).filter(|&index| is_on_target(&steps[index])) {
        let pair = to_be_renamed();
        let before = contents(&pair);
        let struck = inject::run(&detect(&pair), Sort::Changes, Some((index, Blow::Kill))).outcome;
        // A run may come to its end with a call fewer than the one that was watched: nothing struck it then.
        struck.context(|| assert!(matches!(struck.code, 137 | 0), "neither killed nor done"));
        assert_eq!(contents(&pair), before, "killed at {index}, {:?}", steps[index]);
        detect(&pair).run().exits(0);
        pair.assert_mirrored();
    }
}

#[test]
fn where_a_directory_can_not_be_renamed_it_is_copied() {
    for errno in [Errno::EXDEV, Errno::EACCES, Errno::EPERM, Errno::EIO, Errno::EBUSY] {
        let pair = mirrored();
        pair.rename("old", "new");
        let is_it = |step: &Step| step.call == "rename" && step.path.ends_with("/target/new");
        let aimed = inject::run_aimed(&pair.detect(), Sort::Changes, is_it, Blow::Fail(errno));
        assert!(aimed.steps.iter().any(is_it), "{errno}");
        let run = aimed.outcome.exits(0);
        // The two directories in it are: of them nothing was refused.
        assert_eq!(renamed(&run).0, 2, "{errno}");
        pair.rm().args(&["--max-delete", "100%", "--hold-threshold", "100%"]).run().exits(0);
        pair.mtimes().run().exits(0);
        pair.assert_mirrored();
    }
}

#[test]
fn a_file_system_without_flags_of_rename_is_no_obstacle() {
    let pair = mirrored();
    pair.rename("old", "new");
    let is_it = |step: &Step| step.call == "rename" && step.path.ends_with("/target/new");
    let aimed = inject::run_aimed(&pair.detect(), Sort::Changes, is_it, Blow::Fail(Errno::EINVAL));
    assert_eq!(aimed.steps.iter().filter(|step| is_it(step)).count(), 2);
    assert_eq!(renamed(&aimed.outcome.exits(0)), (1, 0));
    pair.assert_mirrored();
}

#[test]
fn a_run_that_was_stopped_leaves_its_part_to_the_one_that_goes_on() {
    let pair = Pair::new();
    (0..200).for_each(|number| drop(pair.source().file(format!("old/{number}/file"), "content")));
    let slow = || pair.detect().args(&["--ops-limit", "150/s", "--threads", "2"]).run_id("stopped");
    slow().stopped_after("1").run_unchecked().exits(75);
    assert!(pair.records().is_empty(), "nothing was walked to its end");
    slow().resumed("stopped").arg("--ops-limit=1M/s").run().exits(0);
    (0..200).for_each(|number| pair.rename(&format!("old/{number}"), &format!("old/new {number}")));
    assert_renamed(&pair, 200);
}

#[test]
fn in_the_sandbox_directories_are_renamed_too() {
    let pair = mirrored();
    pair.rename("old/deep", "stays/deep");
    pair.rename("other", "new");
    let run = pair.detect().arg("--sandbox").run().exits(0);
    assert_eq!(renamed(&run), (2, 0));
    pair.assert_mirrored();
}

/// The most memory that this process ever had, in MiB.
fn most_mebibytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[test]
#[ignore = "some minutes, and 4 GB of disk; alone, as it measures its own process"]
fn ten_million_directories_are_recorded_and_found_in_64_mib() {
    use pmirror::fs::met::{Record, build, framed};
    use pmirror::fs::operator::RunDirectory;
    use pmirror::tree::met::Origin;
    use pmirror::tree::{Identity, Met, Time, TreePath};
    use std::io::Write;
    const DIRECTORIES: u64 = 10_000_000;
    let pair = Pair::new();
    let (run, roots) = (RunDirectory::new(&pair.state_path(), "run"), RunDirectory::new(&pair.state_path(), "roots"));
    run.make().unwrap();
    roots.make().unwrap();
    let met = |number: u64| {
        let born = Time { seconds: 1_700_000_000 + i64::try_from(number / 1000).unwrap(), nanoseconds: 5 };
        let path = format!("user_{}/project_{}/run_{}/results/{number}", number % 97, number % 1009, number / 50);
        let origin = Origin { mount: 0, inode: number, born };
        Met { origin, path: TreePath::from(path.as_bytes()), inode: number + 7, born }
    };
    let mut part = std::io::BufWriter::new(run.create("part").unwrap());
    (0..DIRECTORIES).for_each(|number| part.write_all(&framed(&met(number))).unwrap());
    part.flush().unwrap();
    let begun = std::time::Instant::now();
    let identity = Identity { inode: 2, birth: None };
    build((&run, &["part".to_owned()]), (&roots, "record"), [(identity, 1), (identity, 1)]).unwrap();
    let built = begun.elapsed();
    let record = Record::open(&roots, "record").unwrap();
    assert_eq!(record.directories(), DIRECTORIES);
    let (begun, looks) = (std::time::Instant::now(), 10_000);
    for number in (0..DIRECTORIES).step_by((DIRECTORIES / looks) as usize) {
        assert_eq!(record.find(&met(number).origin), Some(met(number)));
    }
    let look = begun.elapsed() / u32::try_from(looks).unwrap();
    let bytes = std::fs::metadata(pair.state_path().join("roots/record")).unwrap().len();
    let most = most_mebibytes();
    println!("{DIRECTORIES} directories: built in {built:.1?}, {bytes} bytes, {look:?} a look, {most} MiB at most");
    assert!(most < 64, "{most} MiB");
}
