//! `pmirror run --tasks`: many syncs in one job. A task that fails, waits or is stopped is the only one that does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use support::*;

/// Trees `from/NAME` and a job that mirrors them to `to/NAME`.
struct Job {
    pair: Pair,
}

impl Job {
    /// A few files in each of these.
    fn of(names: &[&str]) -> Job {
        let pair = Pair::new();
        pair.beside().dir("to");
        for name in names {
            for index in 0..3 {
                pair.beside().file(format!("from/{name}/d/{index}"), format!("{name} {index}")).mtime(1_000, 7);
            }
        }
        Job { pair }
    }

    fn from(&self, name: &str) -> PathBuf {
        self.pair.top_path().join("from").join(name)
    }

    fn to(&self, name: &str) -> PathBuf {
        self.pair.top_path().join("to").join(name)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.pair.top_path().join(name)
    }

    /// A line of the task file.
    fn line(&self, name: &str) -> String {
        format!("'{}' '{}'\n", self.from(name).display(), self.to(name).display())
    }

    /// `pmirror run` of these lines.
    fn run(&self, lines: &str) -> Pmirror {
        let _ = std::fs::remove_file(self.file("list-of-tasks"));
        self.pair.beside().file("list-of-tasks", lines);
        let tasks = self.file("list-of-tasks");
        let run = Pmirror::new().words(&["run", "--threads", "2", "--tasks"]).arg(tasks);
        run.state_dir(self.pair.state_path()).run_id("job")
    }

    /// The rows so far, as they ended.
    fn rows(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.pair.state_path().join("job/tasks.jsonl")).unwrap_or_default();
        text.split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn row(&self, line: u64) -> Value {
        let rows = self.rows();
        rows.iter()
            .rev()
            .find(|row| row["line"] == line)
            .unwrap_or_else(|| panic!("no row of line {line}: {rows:?}"))
            .clone()
    }

    fn assert_mirrored(&self, names: &[&str]) {
        for name in names {
            assert_same(self.from(name), self.to(name));
        }
    }

    /// Starts it on its own, does something while it runs, and sees it end.
    fn while_running(&self, run: &Pmirror, meanwhile: impl FnOnce(&mut Child)) -> Outcome {
        run.run_watched(Stdio::null(), |mut child| {
            meanwhile(&mut child);
            let status = child.wait().unwrap();
            Some(status.code().unwrap_or(128))
        })
    }
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
}

fn text(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}

const NAMES: [&str; 7] = ["a", "b b", "c", "d", "e", "f", "g"];

#[test]
fn every_task_is_mirrored_by_all_ranks_and_has_its_row_in_each_form() {
    for ranks in [Ranks::One, Ranks::Mpirun(3)] {
        let job = Job::of(&NAMES);
        let lines: String = NAMES.iter().map(|name| job.line(name)).collect();
        let mut run = job.run(&format!("# all of them\n\n{lines}")).ranks(ranks).arg("--json");
        for ending in ["csv", "md", "html", "json"] {
            run = run.arg("--report").arg(job.file(&format!("rows.{ending}")));
        }
        let run = run.run().exits(0);
        job.assert_mirrored(&NAMES);
        let told: Value = serde_json::from_slice(&run.stdout).unwrap();
        assert_eq!((&told["tasks"]["good"], &told["written"], &told["exit_code"]), (&7.into(), &69.into(), &0.into()));
        let row = job.row(4);
        assert_eq!((&row["success"], &row["entries"], &row["faults"]), (&true.into(), &5.into(), &0.into()));
        assert_eq!(row["source"], job.from("b b").to_str().unwrap());
        let json: Vec<Value> = serde_json::from_str(&text(job.file("rows.json"))).unwrap();
        let lines: Vec<u64> = json.iter().map(|row| row["line"].as_u64().unwrap()).collect();
        assert_eq!(lines, [3, 4, 5, 6, 7, 8, 9], "in the order of the tasks");
        assert_eq!(
            ["csv", "md", "html"].map(|ending| text(job.file(&format!("rows.{ending}"))).matches("task-").count()),
            [14; 3]
        );
        let summary: Value =
            serde_json::from_str(&text(Path::new(row["log"].as_str().unwrap()).join("summary.json"))).unwrap();
        assert_eq!(summary["ranks"].as_array().unwrap().len() as u32, if ranks == Ranks::One { 1 } else { 3 });
    }
}

#[test]
fn the_same_job_again_changes_nothing() {
    let job = Job::of(&NAMES);
    let lines: String = NAMES.iter().map(|name| job.line(name)).collect();
    job.run(&lines).ranks(Ranks::Mpirun(2)).run().exits(0);
    let again = job.run(&lines).ranks(Ranks::Mpirun(2)).arg("--json").run().exits(0);
    assert_eq!(serde_json::from_slice::<Value>(&again.stdout).unwrap()["written"], 0);
    assert_eq!(job.rows().len(), 7, "the rows of the first job are kept apart");
}

#[test]
fn a_bad_line_fails_that_task_alone() {
    let job = Job::of(&["a", "b"]);
    let lines = format!("{}'/x y\n/only-one\n/a /b /c /d\nhost:/a /b\n{}", job.line("a"), job.line("b"));
    let run = job.run(&lines).run().exits(23);
    job.assert_mirrored(&["a", "b"]);
    for (line, why) in [(2, "quote"), (3, "DST is missing"), (4, "more than"), (5, "another host")] {
        let row = job.row(line);
        let message = row["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("line {line}: ")) && message.contains(why), "{row}");
        assert_eq!((&row["success"], &row["log"]), (&false.into(), &"".into()));
    }
    assert!(String::from_utf8_lossy(&run.stdout).contains("6 tasks: 2 done, 4 bad lines"));
}

#[test]
fn a_file_without_a_good_line_is_wrong_usage() {
    let job = Job::of(&[]);
    job.run("/a\n").run().exits(1);
    job.run("# nothing\n").run_unchecked().refuses(1, &["no task"]);
    job.run("/a /b\n").arg("--files-from=x").run_unchecked().refuses(1, &["third word"]);
    job.run("/a /b\n").arg("--report=x.txt").run_unchecked().refuses(1, &[".csv"]);
}

#[test]
fn a_report_that_can_not_be_written_is_told_before_anything_is_made() {
    let job = Job::of(&["a"]);
    let tasks = job.file("list.csv");
    for (report, why) in [(Path::new("/nonexistent/x.csv"), "can not be written"), (&tasks, "is the task file")] {
        job.pair.beside().file("lines", job.line("a"));
        std::fs::rename(job.file("lines"), &tasks).unwrap();
        let run = Pmirror::new().words(&["run", "--tasks"]).arg(&tasks).state_dir(job.pair.state_path()).run_id("job");
        run.arg("--report").arg(report).run_unchecked().refuses(1, &[why]);
        assert!(!job.pair.state_path().join("job").exists() && !job.to("a").exists());
        assert_eq!(text(&tasks), job.line("a"));
    }
}

#[test]
fn a_row_that_was_cut_off_does_not_swallow_the_next_one() {
    let job = Job::of(&["a", "b"]);
    let run = job.run(&format!("{}{}", job.line("a"), job.line("b")));
    run.run().exits(0);
    let rows = job.pair.state_path().join("job/tasks.jsonl");
    let whole = text(&rows);
    std::fs::write(&rows, &whole[..whole.len() - 20]).unwrap();
    run.clone().resumed("job").run().exits(0);
    run.resumed("job").args(&["--json"]).run().exits(0);
    let good = text(&rows).lines().filter(|row| serde_json::from_str::<Value>(row).is_ok()).count();
    assert_eq!((text(&rows).lines().count(), good), (3, 2), "{}", text(&rows));
}

#[test]
fn nul_bytes_end_fields_that_hold_anything() {
    let job = Job::of(&["a\nb", "c"]);
    job.pair.beside().file("some", "d/1\n");
    let [from, to] = [job.from("a\nb"), job.to("a\nb")].map(|path| path.to_str().unwrap().to_owned());
    let [other, copy] = [job.from("c"), job.to("c")].map(|path| path.to_str().unwrap().to_owned());
    let list = job.file("some").to_str().unwrap().to_owned();
    job.run(&format!("{from}\0{to}\0\0{other}\0{copy}\0{list}\0")).arg("--null").run().exits(0);
    job.assert_mirrored(&["a\nb"]);
    assert!(job.to("c").join("d/1").exists() && !job.to("c").join("d/2").exists(), "LIST has one of them");
}

#[test]
fn a_list_holds_paths_relative_to_its_source() {
    let job = Job::of(&["a", "b"]);
    job.pair.beside().file("from/a/other/x", "x");
    job.pair.beside().file("some", "d/1\nother\n");
    let line = |name: &str, list: &str| format!("{} '{}'\n", job.line(name).trim_end(), job.file(list).display());
    let run = job.run(&format!("{}{}", line("a", "some"), line("b", "missing"))).ranks(Ranks::Mpirun(2)).run();
    run.exits(23);
    assert!(job.to("a/d/1").exists() && job.to("a/other/x").exists() && !job.to("a/d/2").exists());
    assert!(job.row(2)["message"].as_str().unwrap().contains("missing"), "{}", job.row(2));
}

#[test]
fn files_that_are_read_for_each_task_are_regular() {
    let job = Job::of(&["a", "b"]);
    nix::unistd::mkfifo(&job.file("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let pipe = job.file("pipe").to_str().unwrap().to_owned();
    let lines = format!("{}{}", job.line("a"), job.line("b"));
    for file in ["-", &pipe, "/dev/null"] {
        let run = job.run(&lines).args(&["--delete", "--exclude-from", file]).run_unchecked();
        run.refuses(1, &["--exclude-from", "a regular file"]);
    }
    assert!(!job.to("a").exists());
    let line = |name: &str, list: &str| format!("{} '{list}'\n", job.line(name).trim_end());
    job.run(&format!("{}{}", line("a", "-"), line("b", &pipe))).run_unchecked().exits(1);
    for row in job.rows() {
        assert!(row["message"].as_str().unwrap().contains("no regular file"), "{row}");
    }
}

#[test]
fn relative_names_begin_where_the_job_was_begun_wherever_it_goes_on() {
    let job = Job::of(&["a"]);
    let elsewhere = Pair::new();
    elsewhere.beside().file("trees/wrong", "wrong");
    elsewhere.beside().file("to/a/kept", "stays");
    let mount = FaultFs::mount(job.from("a"));
    mount.rule(Rule::on("open").named("1").error(nix::errno::Errno::EIO));
    std::os::unix::fs::symlink(mount.path(), job.file("trees")).unwrap();
    let run = job.run("trees to/a\n").arg("--delete").working_dir(job.pair.top_path());
    run.clone().run_unchecked().exits(23);
    mount.clear();
    run.resumed("job").working_dir(elsewhere.top_path()).run_unchecked().exits(0);
    job.assert_mirrored(&["a"]);
    assert!(elsewhere.top_path().join("to/a/kept").exists() && !elsewhere.top_path().join("to/a/wrong").exists());
}

#[test]
fn guards_judge_each_task_for_itself() {
    let job = Job::of(&["a", "emptied"]);
    job.pair.beside().file("to/a/extra", "goes");
    job.pair.beside().file("to/emptied/kept", "stays");
    std::fs::remove_dir_all(job.from("emptied")).unwrap();
    job.pair.beside().dir("from/emptied");
    job.run(&format!("{}{}", job.line("a"), job.line("emptied"))).arg("--delete").run().exits(23);
    job.assert_mirrored(&["a"]);
    assert!(job.to("emptied/kept").exists());
    assert_eq!((job.row(1)["exit_code"].as_u64(), job.row(2)["exit_code"].as_u64()), (Some(0), Some(3)));
}

#[test]
fn the_trash_of_a_task_is_found_by_its_log_and_by_its_name() {
    let job = Job::of(&["a", "b"]);
    for name in ["a", "b"] {
        job.pair.beside().file(format!("to/{name}/extra"), "goes");
    }
    job.run(&format!("{}{}", job.line("a"), job.line("b"))).args(&["--delete", "--trash"]).run().exits(0);
    assert!(!job.to("a/extra").exists() && !job.to("b/extra").exists());
    let purge = Pmirror::new().words(&["purge-trash", "--all", "-n"]).arg(job.to("a"));
    let listed = purge.state_dir(job.pair.state_path()).run_id("purge").run_unchecked().exits(0);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("job/task-0001"));
    let undelete = Pmirror::new().words(&["undelete"]);
    undelete.clone().arg(job.row(1)["log"].as_str().unwrap()).run_unchecked().exits(0);
    undelete.arg("job/task-0002").arg("--target").arg(job.to("b")).run_unchecked().exits(0);
    assert!(job.to("a/extra").exists() && job.to("b/extra").exists());
}

#[test]
fn tasks_that_would_meet_name_each_other() {
    let job = Job::of(&["a", "b"]);
    let into = format!("'{}' '{}'\n", job.from("b").display(), job.to("a/d").display());
    job.run(&format!("{}{into}{}", job.line("a"), job.line("b"))).run().exits(23);
    job.assert_mirrored(&["a", "b"]);
    assert!(job.row(2)["message"].as_str().unwrap().contains("line 1"), "{}", job.row(2));
}

#[test]
fn tasks_that_would_meet_behind_a_link_name_each_other() {
    let job = Job::of(&["a", "b"]);
    for (target, name) in [("a/d", "link"), ("new", "dangling")] {
        std::os::unix::fs::symlink(target, job.to(name)).unwrap();
    }
    let line = |to: &str| format!("'{}' '{}'\n", job.from("b").display(), job.to(to).display());
    let lines = [job.line("a"), line("link"), line("b/../a/x"), line("new/x"), line("dangling")].concat();
    job.run(&lines).arg("--delete").run().exits(23);
    job.assert_mirrored(&["a"]);
    for (refused, by) in [(2, "line 1"), (3, "line 1"), (5, "line 4")] {
        assert!(job.row(refused)["message"].as_str().unwrap().contains(by), "{}", job.row(refused));
    }
}

#[test]
fn a_fault_is_told_in_the_row_and_other_tasks_are_done() {
    let job = Job::of(&["a", "b"]);
    let mount = FaultFs::mount(job.from("a"));
    mount.rule(Rule::on("open").named("1").error(nix::errno::Errno::EIO));
    let lines = format!("'{}' '{}'\n{}", mount.path().display(), job.to("a").display(), job.line("b"));
    let csv = job.file("rows.csv");
    job.run(&lines).arg("--report").arg(&csv).ranks(Ranks::Mpirun(3)).run().exits(23);
    job.assert_mirrored(&["b"]);
    let row = job.row(1);
    assert_eq!(row["faults"], 1);
    assert!(row["message"].as_str().unwrap().starts_with("d/1: open"), "{row}");
    assert!(text(csv).contains("d/1: open"));
}

/// A job of which the first task hangs until its rule is lifted.
fn with_one_that_hangs() -> (Job, FaultFs, u64, String) {
    let job = Job::of(&["hangs", "b b", "c", "d", "e", "f"]);
    let mount = FaultFs::mount(job.from("hangs"));
    let rule = mount.rule(Rule::on("read").named("1").hang());
    let first = format!("'{}' '{}'\n", mount.path().display(), job.to("hangs").display());
    let others: String = ["b b", "c", "d", "e", "f"].map(|name| job.line(name)).concat();
    (job, mount, rule, first + &others)
}

#[test]
fn a_task_that_hangs_holds_back_no_other_and_its_permits_are_not_all_there_are() {
    for ranks in [Ranks::One, Ranks::Mpirun(2)] {
        let (job, mount, rule, lines) = with_one_that_hangs();
        let run = job.run(&lines).args(&["--tasks-at-once", "2"]).ranks(ranks);
        let run = job.while_running(&run, |_| {
            until("the other five", || job.rows().len() == 5);
            mount.lift(rule);
        });
        run.exits(0);
        job.assert_mirrored(&["hangs", "b b", "f"]);
        assert_eq!(job.rows().last().unwrap()["line"], 1);
    }
}

#[test]
fn a_job_that_is_killed_keeps_its_rows_and_resume_does_the_rest() {
    let (job, mount, rule, lines) = with_one_that_hangs();
    let reports = ["csv", "json"].map(|ending| job.file(&format!("rows.{ending}")));
    let run = job.run(&lines).arg("--report").arg(&reports[0]).arg("--report").arg(&reports[1]);
    job.while_running(&run, |child| {
        // The last of the files to which a row goes.
        until("the other five", || {
            std::fs::read_to_string(&reports[1]).is_ok_and(|rows| rows.matches("\"id\"").count() == 5)
        });
        signal(child, Signal::SIGKILL);
        mount.lift(rule);
    });
    let rows: Vec<Value> = serde_json::from_str(&text(&reports[1])).unwrap();
    assert_eq!((rows.len(), text(&reports[0]).matches("task-").count()), (5, 10));
    run.clone().resumed("job").run().exits(0);
    job.assert_mirrored(&["hangs", "b b", "c", "d", "e", "f"]);
    assert_eq!(job.rows().len(), 6, "what was done is not done again");
    assert_eq!(text(&reports[0]).matches("task-").count(), 12);
}

#[test]
fn a_job_that_is_stopped_leaves_checkpoints_and_resume_goes_on_from_them() {
    for ranks in [Ranks::One, Ranks::Mpirun(2)] {
        let (job, mount, rule, lines) = with_one_that_hangs();
        let run = job.run(&lines).ranks(ranks).args(&["--tasks-at-once", "1"]);
        let said = job.file("said");
        let aside = ["sh", "-c", r#"said=$1; shift; exec "$@" 2>>"$said""#, "sh", said.to_str().unwrap()];
        let stopped = job.while_running(&run.clone().wrapped_by(&aside), |child| {
            until("a task that has begun", || job.to("hangs/d").exists());
            signal(child, Signal::SIGUSR1);
            until("rank 0 heard it", || std::fs::read_to_string(&said).is_ok_and(|said| said.contains("stopping")));
            // Its workers hear of it within a wave.
            std::thread::sleep(Duration::from_secs(1));
            mount.lift(rule);
        });
        stopped.exits(75);
        let row = job.row(1);
        let summary: Value = serde_json::from_str(&text(job.pair.state_path().join("job/summary.json"))).unwrap();
        assert_eq!((&summary["tasks"]["not_begun"], job.rows().len()), (&5.into(), 1), "{row}");
        // On a machine that is too busy for waves the task may have come to its end.
        let has_stopped = row["exit_code"] == 75;
        assert!(has_stopped || row["success"] == true, "{row}");
        run.clone().resumed("job").run().exits(0);
        job.assert_mirrored(&["b b", "c", "d", "e", "f"]);
        let attempt: Value =
            serde_json::from_str(&text(job.pair.state_path().join("job/task-0001/summary.json"))).unwrap();
        assert_eq!(attempt["attempt"], if has_stopped { 2 } else { 1 }, "it goes on from its checkpoint");
    }
}

#[test]
fn a_new_job_of_the_same_name_goes_on_with_nothing_of_the_earlier_one() {
    let job = Job::of(&["a", "b"]);
    for name in ["a", "b"] {
        let left = format!("state/job/task-000{}", if name == "a" { 1 } else { 2 });
        job.pair.beside().file(format!("{left}/checkpoint/manifest"), "of an earlier job");
        job.pair.beside().file(format!("{left}/command.json"), "of an earlier job");
    }
    // The second task waits behind the first, so it has not begun when the job is killed.
    let mount = FaultFs::mount(job.from("a"));
    let rule = mount.rule(Rule::on("read").named("1").hang());
    let first = format!("'{}' '{}'\n", mount.path().display(), job.to("a").display());
    let run = job.run(&format!("{first}{}", job.line("b"))).args(&["--tasks-at-once", "1"]);
    job.while_running(&run, |child| {
        until("a task that has begun", || job.to("a/d").exists());
        signal(child, Signal::SIGKILL);
        mount.lift(rule);
    });
    assert!(!job.pair.state_path().join("job/task-0002/command.json").exists());
    assert!(!job.pair.state_path().join("job/task-0002/checkpoint/manifest").exists());
    run.resumed("job").run().exits(0);
    job.assert_mirrored(&["b"]);
}

#[test]
fn one_task_is_resumed_and_retried_by_the_path_of_its_log() {
    let job = Job::of(&["a", "b"]);
    let mount = FaultFs::mount(job.from("a"));
    mount.rule(Rule::on("open").named("1").error(nix::errno::Errno::EIO));
    let lines = format!("'{}' '{}'\n{}", mount.path().display(), job.to("a").display(), job.line("b"));
    job.run(&lines).run().exits(23);
    mount.clear();
    let log = job.row(1)["log"].as_str().unwrap().to_owned();
    Pmirror::new().words(&["retry", "--run-id", "again", &log]).run().exits(0);
    assert_same(job.from("a/d"), job.to("a/d"));
    let said = Pmirror::new().words(&["retry", "job"]).state_dir(job.pair.state_path()).run_id("more").run_unchecked();
    said.refuses(1, &["many tasks"]);
}

#[test]
fn no_more_tasks_are_under_way_than_the_memory_allows() {
    let job = Job::of(&["a", "b", "c"]);
    let lines: String = ["a", "b", "c"].map(|name| job.line(name)).concat();
    let run = job.run(&lines).args(&["--max-memory", "256M", "--tasks-at-once", "64"]).run();
    run.exits(0).says("tasks at once, not for 64");
    job.assert_mirrored(&["a", "b", "c"]);
    let small = job.run(&lines).args(&["--max-memory", "16M"]).run_unchecked();
    small.refuses(1, &["too little"]);
}

#[test]
fn a_limit_is_for_the_whole_job_however_many_tasks_are_under_way() {
    let job = Job::of(&["a", "b", "c", "d"]);
    for name in ["a", "b", "c", "d"] {
        job.pair.beside().file(format!("from/{name}/large"), vec![7; 2 << 20]);
    }
    let lines: String = ["a", "b", "c", "d"].map(|name| job.line(name)).concat();
    let began = Instant::now();
    job.run(&lines).args(&["--bwlimit", "4M/s"]).ranks(Ranks::Mpirun(2)).run().exits(0);
    assert!(began.elapsed() > Duration::from_secs(1), "8 MiB went in {:?}", began.elapsed());
    job.assert_mirrored(&["a", "b", "c", "d"]);
}
