//! What a run finds around it: a stdout that takes nothing, a narrow terminal or none, a state directory that is full
//! or goes away, ranks that were not started alike. It mirrors what it can, says what was wrong, and never ends as if
//! nothing had been.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use nix::errno::Errno;
use nix::sys::statvfs::statvfs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use support::*;

fn filled() -> Pair {
    let pair = Pair::new();
    for index in 0..40 {
        pair.source().file(format!("d{}/{index}", index % 4), format!("content {index}"));
    }
    pair
}

/// Run by a shell, which redirects it.
fn redirected_run(command: Pmirror, how: &str) -> Outcome {
    let line = format!("set -o pipefail; \"$@\" {how}");
    command.wrapped_by(&["bash", "-c", &line, "bash"]).run_unchecked()
}

#[test]
fn a_summary_that_stdout_does_not_take_is_no_success_but_the_mirror_is_there() {
    for option in ["--json", "-i", "--no-acls"] {
        let pair = filled();
        let run = redirected_run(pair.sync().arg(option), ">/dev/full").exits(11);
        run.says("can not be written to stdout: No space left on device").says("the record of the run has it");
        pair.assert_mirrored();
    }
}

#[test]
fn a_list_that_stdout_does_not_take_is_no_comparison_without_differences() {
    let pair = filled();
    let run = redirected_run(pair.cmp(), ">/dev/full").exits(26).says("can not be written to stdout");
    assert_eq!(run.summary()["exit_code"], 26);
    pair.sync().run().exits(0);
    redirected_run(pair.cmp().arg("--json"), ">/dev/full").exits(11).says("can not be written to stdout");
    redirected_run(pair.cmp(), ">/dev/full").exits(0);
}

#[test]
fn pages_that_stdout_does_not_take_are_no_success() {
    for words in [&["generate", "man"][..], &["--help"], &["--version"]] {
        let run = redirected_run(Pmirror::new().words(words), ">/dev/full").exits(11);
        run.says("can not be written to stdout");
    }
}

#[test]
fn neither_stdout_nor_stderr_takes_anything_and_the_mirror_is_there() {
    let pair = filled();
    redirected_run(pair.sync().args(&["-v", "--progress=1"]), ">/dev/full 2>/dev/full").exits(11);
    pair.assert_mirrored();
    redirected_run(pair.sync().arg("--quiet"), ">/dev/full 2>/dev/full").exits(0);
}

#[test]
fn closed_descriptors_are_never_files_of_the_trees() {
    for how in [">&-", "2>&-", "<&-", "<&- >&- 2>&-"] {
        let pair = filled();
        let sync = pair.sync().args(&["-i", "-v", "--progress=1"]);
        redirected_run(sync, how).exits(0);
        pair.assert_mirrored();
    }
}

#[test]
fn a_reader_that_has_gone_away_is_no_error() {
    let pair = filled();
    for n in 0..3000 {
        pair.source().file(format!("many/{n:0200}"), "");
    }
    let run = redirected_run(pair.cmp(), "| head -n 1").exits(26);
    assert_eq!(run.stdout.iter().filter(|&&byte| byte == b'\n').count(), 1);
    let run = redirected_run(pair.sync().arg("-i"), "| head -n 1").exits(0);
    assert_eq!(run.stdout.iter().filter(|&&byte| byte == b'\n').count(), 1);
    pair.assert_mirrored();
    redirected_run(pair.sync().arg("--json"), "| true").exits(0);
}

/// What is seen on a terminal of so many columns, and the exit code.
fn on_terminal(pair: &Pair, columns: u32, variables: &[(&str, &str)], words: &[&str]) -> (String, i32) {
    needs::program("script");
    let mut script = Command::new("script");
    let (source, target, state) = (pair.source_path(), pair.target_path(), pair.state_path());
    let line = format!("stty cols {columns} rows 5; exec \"$PROGRAM\" {} \"$SOURCE\" \"$TARGET\"", words.join(" "));
    script.args(["-qec", &line, "/dev/null"]).current_dir(pair.top_path()).env("SHELL", "/bin/sh").env("TERM", "xterm");
    script.env("PROGRAM", needs::pmirror()).env("SOURCE", source).env("TARGET", target);
    // Of CI, NO_COLOR and the others nothing comes from outside.
    script.env_remove("CI").env_remove("NO_COLOR").env_remove("CLICOLOR").env_remove("CLICOLOR_FORCE");
    script.env("PMIRROR_STATE_DIR", state).envs(variables.iter().copied());
    let output = script.output().unwrap();
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code().unwrap())
}

#[test]
fn a_terminal_of_20_columns_or_of_none_is_enough() {
    for columns in [20, 1, 0] {
        let pair = filled();
        let (said, code) = on_terminal(&pair, columns, &[], &["sync", "-v", "--progress=1"]);
        assert_eq!(code, 0, "{columns} columns: {said}");
        assert!(said.contains("entries") && !said.contains("this is a bug"), "{columns} columns: {said}");
        pair.assert_mirrored();
        let (help, code) = on_terminal(&pair, columns, &[], &["sync", "--help"]);
        assert!(code == 0 && help.contains("--delete"), "{columns} columns: {help}");
    }
}

#[test]
fn without_colours_no_message_has_any() {
    let pair = filled();
    for variables in [&[("NO_COLOR", "1")][..], &[("TERM", "dumb")]] {
        let (said, code) = on_terminal(&pair, 80, variables, &["sync", "--no-such-option"]);
        assert!(code == 1 && said.contains("--no-such-option"), "{said}");
        assert!(!said.contains('\x1b'), "{variables:?}: {said:?}");
    }
}

/// A file system for the state directory of so many bytes; it goes with the value.
struct Small(std::path::PathBuf);

impl Small {
    fn new(pair: &Pair, bytes: u64) -> Small {
        let path = pair.state_path();
        let size = format!("size={bytes},nr_inodes=200");
        needs::run_ok(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(&path));
        Small(path)
    }

    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        let chunk = vec![b'x'; 4096];
        while std::io::Write::write_all(&mut file, &chunk).is_ok() {}
        assert_eq!(statvfs(&self.0).unwrap().blocks_available(), 0);
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-q", "-l"]).arg(&self.0).status();
    }
}

#[test]
fn a_state_directory_that_is_full_from_the_start_is_refused_before_any_change() {
    let pair = filled();
    let state = Small::new(&pair, 64 << 10);
    state.fill();
    let before = pair.target_now();
    let run = pair.sync().run_unchecked().exits(11).says("No space left on device").says("run directory");
    compare::assert_unwritten(&before, &pair.target_now(), "the target was written to");
    assert!(!run.stderr.is_empty());
    drop(state);
    pair.sync().run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn a_list_that_fills_the_state_directory_ends_the_run_in_order() {
    let pair = filled();
    for n in 0..1500 {
        pair.source().file(format!("many/{n:0200}"), "");
    }
    let state = Small::new(&pair, 256 << 10);
    let run = pair.sync().arg("-i").run_unchecked().exits(11).says("No space left on device");
    run.context(|| assert!(!String::from_utf8_lossy(&run.stderr).contains("bug")));
    drop(state);
    pair.sync().run().exits(0);
    pair.assert_mirrored();
}

/// Runs a copy that waits at one file; does something to the state directory then, and lets it go on.
fn while_waiting(pair: &Pair, sync: impl Fn(&Path) -> Pmirror, meanwhile: impl FnOnce()) -> Outcome {
    let mount = FaultFs::mount(pair.source_path());
    mount.rule(Rule::on("read").named("held").hang());
    let sync = sync(mount.path());
    std::thread::scope(|scope| {
        let run = scope.spawn(|| sync.run_unchecked());
        let start = Instant::now();
        // Other files are there: the run is under way.
        while !pair.target_path().join("d3/39").exists()
            && !run.is_finished()
            && start.elapsed() < Duration::from_secs(50)
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        let was_finished = run.is_finished();
        // Whatever comes of it, the run goes on then.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(meanwhile));
        mount.clear();
        let run = run.join().unwrap();
        run.context(|| assert!(!was_finished, "the run was too quick"));
        done.unwrap_or_else(|failure| std::panic::resume_unwind(failure));
        run
    })
}

/// The state directory becomes unusable in the middle of a run.
fn state_is_lost(pair: &Pair, state: &Path, lose: impl FnOnce()) {
    pair.source().file("z/held", "held");
    let sync = |source: &Path| {
        pair.sync().sync(source, pair.target_path()).state_dir(state).args(&["--threads", "2", "--op-timeout", "none"])
    };
    let run = while_waiting(pair, sync, lose).exits(11);
    run.context(|| assert!(!String::from_utf8_lossy(&run.stderr).contains("this is a bug")));
    // What stdout has of it is the only record.
    let told = [&run.stdout[..], &run.stderr].concat();
    let told = String::from_utf8_lossy(&told).into_owned();
    run.context(|| assert!(told.contains("can not be written to the run directory"), "it does not say what"));
    run.context(|| assert!(told.contains("exit 11") && !told.contains("exit 0"), "it says something else"));
    // What was mirrored is there, and the same command goes on without it.
    run.context(|| assert!(pair.target_path().join("z/held").exists()));
    pair.sync().state_dir(pair.beside().path("state 2")).run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn a_state_directory_that_is_full_or_read_only_in_the_middle_costs_the_record_and_no_file() {
    for errno in [Errno::ENOSPC, Errno::EROFS] {
        let pair = filled();
        let state = FaultFs::mount(pair.state_path());
        state_is_lost(&pair, state.path(), || {
            state.rule(Rule::on_each(&["create", "write"]).error(errno));
        });
    }
}

#[test]
fn a_state_directory_that_is_removed_costs_the_record_and_no_file() {
    let pair = filled();
    state_is_lost(&pair, &pair.state_path(), || {
        for entry in std::fs::read_dir(pair.state_path()).unwrap() {
            std::fs::remove_dir_all(entry.unwrap().path()).unwrap();
        }
    });
}

/// Rank 1 is started by way of a shell line of its own.
fn rank_1(command: Pmirror, how: &str) -> Pmirror {
    let script = format!("if [ \"$OMPI_COMM_WORLD_RANK\" = 1 ]; then {how}; fi; exec \"$@\"");
    command.ranks(Ranks::Mpirun(3)).wrapped_by(&["sh", "-c", &script, "sh"])
}

#[test]
fn ranks_with_other_options_or_roots_are_named_and_nothing_is_done() {
    let pair = filled();
    pair.target().file("extra", "x");
    let before = pair.target_now();
    let elsewhere = pair.beside().path("canary").display().to_string();
    let others = [
        "exec \"$@\" --delete".to_owned(),
        "exec \"$@\" --size-only".to_owned(),
        "export PMIRROR_EXCLUDE='*'".to_owned(),
        format!("exec \"$1\" sync '{elsewhere}' \"$4\" \"$5\" \"$6\" \"$7\" \"$8\""),
    ];
    for other in others {
        let run = rank_1(pair.sync(), &other).run_unchecked();
        run.refuses(1, &["rank 1", "was not started with the same program and options", "start all ranks alike"]);
        compare::assert_unwritten(&before, &pair.target_now(), "the target was written to");
    }
    pair.assert_canary();
}

#[test]
fn a_rank_without_the_state_directory_is_named_and_nothing_is_done() {
    let pair = filled();
    let state = pair.state_path().display().to_string();
    let hide = format!("exec unshare --mount sh -c 'mount -t tmpfs none \"{state}\" && exec \"$@\"' sh \"$@\"");
    let run = rank_1(pair.sync(), &hide).run_unchecked();
    run.refuses(3, &["rank 1", "state directory"]);
    assert_eq!(std::fs::read_dir(pair.target_path()).unwrap().count(), 0);
}

#[test]
fn a_rank_whose_mount_below_the_source_is_missing_deletes_nothing() {
    let pair = filled();
    let below = pair.source().path("mounted").display().to_string();
    std::fs::create_dir_all(&below).unwrap();
    needs::run_ok(Command::new("mount").args(["-t", "tmpfs", "none", &below]));
    for n in 0..200 {
        pair.source().file(format!("mounted/{}/{n}", n % 9), "x");
    }
    pair.sync().run().exits(0);
    let hide = format!("exec unshare --mount sh -c 'umount \"{below}\" && exec \"$@\"' sh \"$@\"");
    let sync = pair.sync().args(&["--delete", "--max-delete", "100%", "--hold-threshold", "100%", "--threads", "1"]);
    let run = rank_1(sync, &hide).run_unchecked();
    let lost = (0..200).filter(|n| !pair.target_path().join(format!("mounted/{}/{n}", n % 9)).exists()).count();
    needs::run_ok(Command::new("umount").args(["-l", &below]));
    run.context(|| assert!(lost == 0, "{lost} files were deleted"));
}
