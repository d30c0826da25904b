//! `pmirror status`: how far a run is, told from its records, while it goes, when it died, and when it has ended.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use nix::errno::Errno;
use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use support::told::{told, told_json, until};
use support::*;

/// A run that is held up at one file until the rule is lifted.
struct Held {
    pair: Pair,
    source: FaultFs,
}

const RUN_ID: &str = "held";

impl Held {
    fn new() -> Held {
        let pair = Pair::new();
        pair.source().file("d/stuck", "hangs");
        pair.source().file("b/broken", "can not be read");
        pair.source().file("e/other", "does not hang");
        let source = FaultFs::mount(pair.source_path());
        Held { pair, source }
    }

    /// Looks at the run while it is held up, and then lets it come to its end.
    fn meanwhile(&self, look: impl FnOnce()) -> Outcome {
        self.source.rule(Rule::on("read").named("broken").error(Errno::ENXIO));
        let rule = self.source.rule(Rule::on("read").named("stuck").hang());
        let sync = Pmirror::new().sync(self.source.path(), self.pair.target_path()).state_dir(self.pair.state_path());
        let sync = sync.run_id(RUN_ID).args(&["--progress=1", "--threads=2"]);
        std::thread::scope(|scope| {
            let run = scope.spawn(|| sync.run_unchecked());
            let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                until("the run tells of its fault", || self.status()["faults"] == 1);
                look();
            }));
            self.source.lift(rule);
            let run = run.join().unwrap();
            looked.unwrap_or_else(|failure| std::panic::resume_unwind(failure));
            run
        })
    }

    /// Nothing before the run has begun.
    fn status(&self) -> Value {
        let told = told(&["status", RUN_ID, "--json"], self.pair.state_path());
        serde_json::from_str(&told.text).unwrap_or_default()
    }
}

#[test]
fn a_run_that_goes_tells_what_it_does_and_one_that_has_ended_how_it_ended() {
    let held = Held::new();
    let state = held.pair.state_path();
    let run = held.meanwhile(|| {
        until("the oldest operation is the one that hangs", || {
            held.status()["progress"]["oldest"][0]["what"].as_str().is_some_and(|what| what.contains("stuck"))
        });
        let status = held.status();
        assert_eq!((status["state"].as_str(), &status["progress"]["ranks"]), (Some("running"), &1.into()), "{status}");
        assert!(status["age_seconds"].as_u64().unwrap() < 90, "{status}");
        assert_eq!(status["last_faults"][0]["path"], "b/broken");
        assert_eq!(status["progress"]["run_id"], RUN_ID);
        told(&["status"], &state).says(&[
            "run held (sync, the newest): running",
            "by 1 rank",
            "0 of 1 idle",
            "d/stuck",
            "rank 0 (",
            "pmirror explain ",
            "failed ENXIO source b/broken",
        ]);
        told(&["explain", RUN_ID], &state).says(&[
            "it still runs",
            "1 fault of 1 cause",
            "ENXIO",
            "when the run has ended\n",
        ]);
    });
    run.exits(23);
    told(&["status", RUN_ID], &state).says(&[
        "run held (sync): ended",
        "with exit code 23: some entries failed",
        "1 failed",
        "pmirror explain ",
    ]);
    let status = told_json(&["status", RUN_ID], &state);
    assert_eq!((status["state"].as_str(), &status["summary"]["exit_code"]), (Some("ended"), &23.into()));
    assert!(status.get("progress").is_none() && !state.join(RUN_ID).join("progress.json").exists());
}

#[test]
fn a_view_without_a_terminal_prints_a_block_at_each_change_until_the_run_ends() {
    let held = Held::new();
    let output = tempfile::NamedTempFile::new().unwrap();
    let mut watch = None;
    held.meanwhile(|| {
        let mut command = told::command(&["status", RUN_ID, "--watch"], held.pair.state_path());
        command.stdin(Stdio::null()).stdout(output.reopen().unwrap());
        watch = Some(command.spawn().unwrap());
        let blocks = || std::fs::read_to_string(output.path()).unwrap().matches("run held (sync): running").count();
        until("two blocks", || blocks() >= 2);
    });
    assert!(watch.unwrap().wait().unwrap().success());
    let text = std::fs::read_to_string(output.path()).unwrap();
    assert!(text.contains("run held (sync): ended") && !text.contains('\x1b'), "{text}");
}

/// The view on a terminal of so many columns; what it shows can be read until it ends.
struct Terminal(Child);

impl Terminal {
    fn open(held: &Held, columns: u32, variables: &[(&str, &str)]) -> Terminal {
        needs::program("script");
        let line = format!("stty cols {columns} rows 12; exec \"$PROGRAM\" status {RUN_ID} --watch");
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).current_dir("/").env_clear();
        script.env("PATH", std::env::var_os("PATH").unwrap()).env("SHELL", "/bin/sh").env("TERM", "xterm");
        script.env("PROGRAM", needs::pmirror()).env("PMIRROR_STATE_DIR", held.pair.state_path());
        script.envs(variables.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped());
        Terminal(script.spawn().unwrap())
    }

    /// What is shown until these words are.
    fn shows(&mut self, words: &str) -> String {
        let (mut shown, mut bytes) = (String::new(), [0; 4096]);
        while !shown.contains(words) {
            let got = self.0.stdout.as_mut().unwrap().read(&mut bytes).unwrap();
            assert!(got > 0, "it ended without {words:?}: {shown:?}");
            shown.push_str(&String::from_utf8_lossy(&bytes[..got]));
        }
        shown
    }

    /// Presses a key, and tells the rest and the exit code.
    fn press(mut self, key: &[u8]) -> (String, i32) {
        self.0.stdin.as_mut().unwrap().write_all(key).unwrap();
        let mut rest = Vec::new();
        self.0.stdout.take().unwrap().read_to_end(&mut rest).unwrap();
        (String::from_utf8_lossy(&rest).into_owned(), self.0.wait().unwrap().code().unwrap())
    }
}

/// The lines between two control sequences.
fn lines(shown: &str) -> Vec<String> {
    let mut text = String::new();
    let mut rest = shown;
    while let Some((before, after)) = rest.split_once('\x1b') {
        text.push_str(before);
        let end = after.find(|c: char| c.is_ascii_alphabetic()).map_or(after.len(), |end| end + 1);
        text.push('\n');
        rest = &after[end..];
    }
    text.push_str(rest);
    text.split(['\r', '\n']).map(str::to_owned).collect()
}

#[test]
fn a_key_leaves_the_view_and_the_run_goes_on() {
    let held = Held::new();
    let run = held.meanwhile(|| {
        for (columns, key) in [(80, b"q"), (20, b"\x03")] {
            let mut terminal = Terminal::open(&held, columns, &[]);
            let shown = terminal.shows("ranks") + &terminal.shows("q leaves");
            assert!(lines(&shown).iter().all(|line| line.chars().count() <= columns as usize), "{shown:?}");
            let (rest, code) = terminal.press(key);
            assert_eq!(code, 0, "{rest:?}");
            assert!(rest.ends_with("\x1b[?25h\x1b[?1049l"), "the terminal is given back: {rest:?}");
            assert_eq!(held.status()["state"], "running");
        }
    });
    run.exits(23);
}

#[test]
fn the_view_ends_with_the_run_and_tells_how_that_ended() {
    let held = Held::new();
    let mut terminals = Vec::new();
    held.meanwhile(|| {
        for variables in [&[][..], &[("NO_COLOR", "1")], &[("TERM", "dumb")]] {
            let mut terminal = Terminal::open(&held, 80, variables);
            let shown = terminal.shows("b/broken");
            terminals.push((terminal, shown));
        }
    });
    for (number, (mut terminal, before)) in terminals.into_iter().enumerate() {
        let shown = before + &terminal.shows("with exit code 23");
        let (rest, code) = terminal.press(b"");
        assert_eq!(code, 0, "{rest:?}");
        assert_eq!(shown.contains("\x1b[31m"), number == 0, "colours only where they are wanted: {shown:?}");
        assert_eq!(shown.contains('\x1b'), number < 2, "a dumb terminal gets plain text");
    }
}

#[test]
fn a_run_that_was_killed_is_told_to_be_dead_with_how_to_go_on() {
    let pair = Pair::new();
    for n in 0..400 {
        pair.source().file(format!("d/{n}"), "content");
    }
    pair.source().file("broken", "x");
    let target = FaultFs::mount(pair.target_path());
    target.rule(Rule::on("create").named("broken").error(Errno::ENXIO));
    target.rule(Rule::on("create").latency(std::time::Duration::from_millis(100)));
    let state = pair.state_path();
    let sync = Pmirror::new().sync(pair.source_path(), target.path()).state_dir(&state).run_id("killed");
    let sync = sync.args(&["--threads=1", "--checkpoint-interval=1s", "--progress=1"]);
    let status = || -> Value {
        let told = told(&["status", "killed", "--json"], &state);
        serde_json::from_str(&told.text).unwrap_or_default()
    };
    sync.run_watched(Stdio::null(), |mut child| {
        until("a checkpoint and a fault", || {
            let status = status();
            status["progress"]["checkpoint_at"].is_string() && status["faults"] == 1
        });
        child.kill().unwrap();
        child.wait().unwrap();
        Some(137)
    });
    assert_eq!(status()["state"], "died");
    told(&["status", "killed"], &state).says(&[
        "died",
        "last heard of at",
        "a checkpoint is in force",
        "pmirror resume",
    ]);
    let explained = told_json(&["explain", "killed"], &state);
    let run = explained["causes"][0]["run"].as_str().unwrap();
    assert!(run.starts_with("pmirror resume "), "a dead run can not be retried: {run}");
    let explained = told(&["explain", "killed"], &state);
    explained.says(&["it died", "1 fault of 1 cause", "ENXIO", "broken", "To go on with the run: pmirror resume"]);
}

#[test]
fn no_such_run_is_the_only_failure() {
    let pair = Pair::new();
    for words in [&["status"][..], &["status", "none"], &["status", "--watch"], &["status", "--json", "none"]] {
        let told = told(words, pair.state_path());
        assert_eq!(told.code, 1, "{words:?}: {}", told.text);
        assert!(told.stderr.contains("no run") && told.stderr.contains("--state-dir"), "{}", told.stderr);
    }
    std::fs::create_dir(pair.state_path().join("other")).unwrap();
    assert_eq!(told(&["status", "other"], pair.state_path()).code, 1);
}

/// A job of two tasks, of which the second does not know its source, and a line that is none.
fn job(pair: &Pair) -> Pmirror {
    pair.source().file("a", "content");
    let (source, target) = (pair.source_path(), pair.target_path());
    let missing = pair.top_path().join("missing");
    let lines = [
        format!("{} {}\n", source.display(), target.display()),
        format!("{} {}\n", missing.display(), pair.top_path().join("other").display()),
        "one-word-only\n".to_owned(),
    ];
    pair.beside().file("list-of-tasks", lines.concat());
    let run = Pmirror::new().words(&["run", "--tasks"]).arg(pair.top_path().join("list-of-tasks"));
    run.state_dir(pair.state_path()).run_id("job")
}

#[test]
fn a_job_of_tasks_tells_what_became_of_them_and_why() {
    let pair = Pair::new();
    job(&pair).run().exits(23);
    let state = pair.state_path();
    // It is the newest, too.
    for words in [&["status"][..], &["status", "job"]] {
        told(words, &state).says(&[
            "(run",
            "exit code 23",
            "3 tasks: 1 done, 1 failed, 1 bad line",
            "pmirror explain ",
        ]);
    }
    let status = told_json(&["status"], &state);
    assert_eq!((&status["summary"]["tasks"]["good"], &status["state"]), (&1.into(), &"ended".into()));
    told(&["explain"], &state).says(&["3 tasks: 1 done", "1. task-", "(line 2)", "missing", "2. ", "(line 3)"]);
    told(&["explain", "--top", "1"], &state).says(&["(line 2)", "and 1 other task: --top 2"]);
    let explained = told_json(&["explain"], &state);
    assert_eq!(explained["tasks"]["undone"][1]["line"], 3, "{explained}");
}

#[test]
fn a_preflight_that_walked_has_ended_with_its_verdict_and_is_not_the_newest_run() {
    let pair = Pair::new();
    pair.source().file("a", "content");
    pair.sync().run_id("first").run().exits(0);
    let preflight = Pmirror::new().words(&["preflight", "--walk"]).arg(pair.source_path()).arg(pair.target_path());
    preflight.state_dir(pair.state_path()).run_id("looked").run_unchecked();
    let state = pair.state_path();
    // Watching it would else never end.
    for words in [&["status", "looked"][..], &["status", "--watch", "looked"]] {
        told(words, &state).says(&["run looked (preflight): ended", "preflight, verdict ", "looked/preflight.json"]);
    }
    told(&["explain", "looked"], &state).says(&["run looked (preflight): ended with exit code", "no faults"]);
    told(&["status"], &state).says(&["run first (sync, the newest): ended"]);
    told(&["explain"], &state).says(&["run first (sync), the newest"]);
}

#[test]
fn a_job_that_died_is_gone_on_with_by_resume() {
    let pair = Pair::new();
    job(&pair).run().exits(23);
    let state = pair.state_path();
    // What a process that was killed leaves: this number is another's by now.
    let [boot, namespace] = ["sys/kernel/random/boot_id", "self/ns/pid"].map(|name| format!("/proc/{name}"));
    let process = serde_json::json!({
        "pid": std::process::id(), "pid_started": "1", "boot": std::fs::read_to_string(boot).unwrap().trim(),
        "pid_namespace": std::fs::read_link(namespace).unwrap().to_str().unwrap(),
    });
    let told_last = r#"{"pass":"tasks","elapsed_seconds":6,"entries":7,"bytes":9,"changed":0,"command":"run","host":"n0",
        "at":"2026-05-01T10:00:00Z","process":PROCESS,"comment":""}"#;
    let told_last = told_last.replace("PROCESS", &process.to_string());
    let progress = state.join("job/progress.json");
    std::fs::write(&progress, &told_last).unwrap();
    told(&["status", "job"], &state).says(&["run job (run): ended"]);
    // It was gone on with after it had ended; then the summary is gone, too.
    std::fs::write(&progress, told_last.replace("2026-", "2999-")).unwrap();
    told(&["status", "job"], &state).says(&["run job (run): died", "pmirror resume "]);
    std::fs::remove_file(state.join("job/summary.json")).unwrap();
    let status = told(&["status", "job"], &state);
    status.says(&["run job (run): died", "pmirror resume "]);
    assert!(!status.text.contains("queue") && !status.text.contains("same command"), "{}", status.text);
    told(&["explain", "job"], &state).says(&["2 tasks not done", "(line 2)", "To go on with the run: pmirror resume "]);
}

#[test]
fn whoever_may_not_read_a_run_hears_whose_it_is() {
    needs::root();
    let pair = Pair::new();
    pair.source().file("a", "content");
    pair.sync().run_id("first").run().exits(0);
    let program = pair.top_path().join("pmirror");
    needs::run_ok(Command::new("install").args(["-m", "755"]).arg(needs::pmirror()).arg(&program));
    std::fs::set_permissions(pair.state_path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    for command in ["status", "explain"] {
        let mut asked = Command::new("setpriv");
        asked.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
        asked.arg(command).arg(pair.state_path().join("first")).current_dir("/");
        let output = asked.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(11), "{said}");
        assert!(said.contains("belongs to another user") && said.contains("ask as that user"), "{said}");
    }
}
