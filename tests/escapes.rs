//! Nothing that a terminal acts on reaches a terminal or a report, whatever is named, given, or read from files:
//! every command, refusal and list, with names that hold escapes of all kinds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::Command;
use support::*;

/// Clears the screen, writes the clipboard, rings, goes back, ends lines, changes colours by C1 in both encodings,
/// writes backwards.
const EVIL: &[u8] = b"e\x1b[2J\x1b]52;c;ZXZpbA==\x07\r\x08\x7f\xc2\x9b31m\x9b1m\xe2\x80\xae\xd8\x9c\xe2\x81\xa6\xff\n.";
/// The same as far as it is UTF-8: the library that reads the command line takes other ways with it.
const EVIL_TEXT: &str = "e\x1b[2J\x1b]52;c;ZXZpbA==\x07\r\x08\x7f\u{9b}31m\u{202e}\u{61c}\u{2066}.";

fn is_harmful(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() && c != '\n' || turns
}

fn assert_harmless(what: &str, bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).unwrap_or_else(|error| panic!("{what} is not UTF-8: {error}"));
    let found = text.lines().find(|line| line.contains(is_harmful));
    assert!(found.is_none(), "{what}: {found:?}");
}

fn assert_told_harmlessly(run: &Outcome) {
    run.context(|| {
        assert_harmless("stdout", &run.stdout);
        assert_harmless("stderr", &run.stderr);
        // A run with nothing to say would prove nothing.
        assert!(run.stderr.len() + run.stdout.len() > 10, "it says nothing");
    });
}

/// What the runs of a test have left for people and scripts; the paths for other programs are raw.
fn assert_reports_harmless(directory: &Path) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let is_report = path.extension().is_some_and(|ending| ending == "json" || ending == "jsonl");
        if path.is_dir() {
            assert_reports_harmless(&path);
        } else if is_report {
            assert_harmless(&format!("{path:?}"), &std::fs::read(&path).unwrap());
        }
    }
}

fn with_evil(front: &str) -> OsString {
    OsString::from_vec([front.as_bytes(), EVIL].concat())
}

/// Trees of which all differs: copied, replaced, failed, linked, only on the target, of another type.
fn evil_pair() -> Pair {
    let pair = Pair::new();
    let name = |text: &str| [EVIL, text.as_bytes()].concat();
    pair.source().file(name("new"), "x");
    pair.source().file(name("dir/file"), "x");
    pair.source().symlink(name("link"), EVIL);
    pair.source().file(name("other"), "longer");
    pair.target().file(name("other"), "x");
    pair.source().file(name("conflict"), "x");
    pair.target().file(name("conflict/kept"), "x");
    pair.target().file(name("extra/file"), "x");
    pair.source().file(name("one"), "x");
    std::fs::hard_link(pair.source().path(name("one")), pair.source().path(name("two"))).unwrap();
    pair
}

#[test]
fn all_commands_tell_evil_names_escaped() {
    let pair = evil_pair();
    let state = pair.beside().path(with_evil("state ").as_bytes());
    let tell = |command: Pmirror, codes: &[i32]| {
        let run = command.state_dir(&state).run_unchecked();
        assert_told_harmlessly(&run);
        run.context(|| assert!(codes.contains(&run.code), "exit {}", run.code));
    };
    tell(pair.sync().args(&["-n", "-i", "-v"]), &[0, 23]);
    tell(pair.cmp(), &[23, 26]);
    tell(pair.cmp().arg("-i"), &[23, 26]);
    tell(pair.cmp().arg("--jsonl"), &[23, 26]);
    tell(pair.rm().arg("--plan").arg(pair.beside().path(with_evil("plan").as_bytes())), &[0]);
    tell(pair.sync().args(&["-i", "-v", "--progress=1"]).run_id("synced"), &[23]);
    tell(pair.retry("synced").arg("-v"), &[23]);
    tell(pair.retry("synced").arg("--under").arg(OsStr::from_bytes(EVIL)), &[0, 1]);
    tell(pair.mtimes().arg("-v"), &[0, 23]);
    tell(pair.sync().arg("--json"), &[23]);
    tell(pair.rm().arg("--apply").arg(pair.beside().path(with_evil("plan").as_bytes())), &[0, 3, 24, 25]);
    tell(pair.rm().args(&["-i", "--max-delete", "100%", "--hold-threshold", "100%"]), &[0, 23, 25]);
    tell(Pmirror::new().rm_tree(pair.source().path(EVIL)).arg("-v"), &[1, 3, 11]);
    assert_reports_harmless(&state);
}

#[test]
fn what_is_refused_is_quoted_escaped() {
    let pair = evil_pair();
    let (source, target) = (pair.source_path(), pair.target_path());
    let evil = |front: &str| with_evil(front);
    pair.beside().file("patterns", [EVIL, b"a["].concat());
    pair.beside().file("list", [EVIL, b"/../x"].concat());
    let file = |name: &str| pair.beside().path(name).into_os_string();
    let missing = pair.beside().path(EVIL).into_os_string();
    let refused: Vec<Vec<OsString>> = vec![
        vec!["sync".into(), missing.clone(), target.clone().into()],
        vec!["sync".into(), source.clone().into(), pair.beside().path([EVIL, b"/deep/er"].concat()).into()],
        vec!["cmp".into(), source.clone().into(), missing.clone()],
        vec!["mtimes".into(), missing.clone(), target.clone().into()],
        vec!["rm".into(), "--tree".into(), missing.clone()],
        vec![
            "rm".into(),
            "--target-only".into(),
            "--apply".into(),
            missing.clone(),
            source.clone().into(),
            target.clone().into(),
        ],
        vec!["resume".into(), missing.clone()],
        vec!["retry".into(), evil("run")],
        vec![evil("command")],
        vec!["sync".into(), evil("--option")],
        vec!["sync".into(), evil("--threads=")],
        vec!["sync".into(), evil("--max-size=")],
        vec!["sync".into(), evil("--min-age=")],
        vec!["sync".into(), evil("--bwlimit=")],
        vec!["sync".into(), evil("--stop-at=")],
        vec!["sync".into(), evil("--run-id=")],
        vec!["sync".into(), evil("--verify=")],
        vec!["sync".into(), evil("--max-delete="), source.clone().into(), target.clone().into()],
        vec![
            "sync".into(),
            OsString::from_vec([b"--exclude=", EVIL, b"a["].concat()),
            source.clone().into(),
            target.clone().into(),
        ],
        vec!["sync".into(), evil("--exclude-from="), source.clone().into(), target.clone().into()],
        vec!["sync".into(), evil("--files-from="), source.clone().into(), target.clone().into()],
        vec!["sync".into(), "--exclude-from".into(), file("patterns"), source.clone().into(), target.clone().into()],
        vec!["sync".into(), "--files-from".into(), file("list"), source.clone().into(), target.clone().into()],
        vec!["sync".into(), source.clone().into(), target.clone().into(), evil("third")],
        vec!["sync".into(), evil("--state-dir=/proc/"), source.clone().into(), target.clone().into()],
        vec!["generate".into(), evil("")],
    ];
    for words in refused {
        for text_only in [false, true] {
            let as_text = |word: &OsString| {
                let bytes = word.as_bytes();
                let at = bytes.windows(EVIL.len()).position(|window| window == EVIL);
                let text = |part: &[u8]| String::from_utf8(part.to_vec()).unwrap();
                at.map_or(word.clone(), |at| (text(&bytes[..at]) + EVIL_TEXT + &text(&bytes[at + EVIL.len()..])).into())
            };
            let words: Vec<OsString> = if text_only { words.iter().map(as_text).collect() } else { words.clone() };
            let command = words.iter().fold(Pmirror::new().working_dir(pair.top_path()), Pmirror::arg);
            let run = command.run_unchecked();
            assert_told_harmlessly(&run);
            run.context(|| assert!([1, 3, 11].contains(&run.code), "exit {}", run.code));
        }
    }
    pair.assert_canary();
}

#[test]
fn values_of_the_environment_are_quoted_escaped() {
    let pair = evil_pair();
    for name in ["PMIRROR_THREADS", "PMIRROR_MAX_SIZE", "PMIRROR_STATE_DIR", "PMIRROR_EXCLUDE_FROM", "PMIRROR_VERIFY"] {
        let environment = |command: Pmirror| command.env(name, EVIL_TEXT);
        let sync = Pmirror::new().sync(pair.source_path(), pair.target_path()).working_dir(pair.top_path());
        assert_told_harmlessly(&environment(sync.arg("-v")).run_unchecked());
        assert_told_harmlessly(&environment(Pmirror::new().words(&["sync", "--help"])).run_unchecked().exits(0));
    }
    for name in ["SLURM_JOB_ID", "SLURM_JOB_NAME", "SLURM_JOB_NODELIST"] {
        let sync = pair.sync().args(&["--stop-at", "none", "-v"]).env("SLURM_JOB_ID", "7").env(name, EVIL_TEXT);
        assert_told_harmlessly(&sync.run_unchecked());
    }
    assert_reports_harmless(&pair.state_path());
}

#[test]
fn what_stands_in_files_of_earlier_runs_is_told_escaped() {
    let pair = Pair::new();
    pair.source().file("file", "x");
    pair.source().file("conflict", "x");
    pair.target().file("conflict/kept", "x");
    pair.sync().run_id("before").run().exits(23);
    let record = pair.state_path().join("before/command.json");
    let told = std::fs::read_to_string(&record).unwrap();
    let json = serde_json::to_string(EVIL_TEXT).unwrap();
    // As nobody writes it any more: raw.
    let raw = EVIL_TEXT.replace(['\x1b', '\x07', '\r', '\x08'], "");
    for (old, new) in [
        ("\"command\": \"sync\"", format!("\"command\": {json}")),
        ("\"options\": [", format!("\"options\": [{json},")),
        ("\"version\"", format!("\"{raw}\"")),
    ] {
        assert!(told.contains(old), "{told}");
        std::fs::write(&record, told.replacen(old, &new, 1)).unwrap();
        assert_told_harmlessly(&pair.retry("before").run_unchecked().exits(1));
    }
    std::fs::write(&record, told).unwrap();
    let faults = pair.state_path().join("before/faults.jsonl");
    std::fs::write(&faults, format!("{{\"path\":\"{raw}\",\"outcome\":{json}}}\n")).unwrap();
    assert_told_harmlessly(&pair.retry("before").run_unchecked().exits(11));
    let plan = pair.beside().path("plan");
    pair.rm().arg("--plan").arg(&plan).run().exits(0);
    let text = std::fs::read_to_string(&plan).unwrap();
    std::fs::write(&plan, text.replacen("{\"line\":\"plan\"", &format!("{{\"line\":{json}"), 1)).unwrap();
    assert_told_harmlessly(&pair.rm().arg("--apply").arg(&plan).run_unchecked().exits(1));
}

/// On a terminal the bar moves the cursor, and help may have colours: nothing else does.
#[test]
fn on_a_terminal_nothing_but_our_own_bar_moves_the_cursor() {
    let pair = evil_pair();
    let typescript = |words: &[&OsStr]| {
        let words: Vec<OsString> =
            std::iter::once(needs::pmirror().into_os_string()).chain(words.iter().map(OsString::from)).collect();
        let variables: Vec<(String, &OsString)> =
            words.iter().enumerate().map(|(n, word)| (format!("W{n}"), word)).collect();
        let line = variables.iter().map(|(name, _)| format!("\"${name}\"")).collect::<Vec<_>>().join(" ");
        needs::program("script");
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).envs(variables).current_dir(pair.top_path());
        script.env("TERM", "xterm").env("SHELL", "/bin/sh").env("PMIRROR_THREADS", "2");
        String::from_utf8_lossy(&script.output().unwrap().stdout).into_owned()
    };
    let state = pair.state_path();
    let (source, target) = (pair.source_path(), pair.target_path());
    let sync = typescript(&[
        "sync".as_ref(),
        "-iv".as_ref(),
        "--state-dir".as_ref(),
        state.as_ref(),
        source.as_ref(),
        target.as_ref(),
    ]);
    let refused = typescript(&["sync".as_ref(), EVIL_TEXT.as_ref()]);
    let option = typescript(&["sync".as_ref(), format!("--{EVIL_TEXT}").as_ref()]);
    for (said, word) in [(sync, "entries"), (refused, "required"), (option, "unexpected")] {
        assert!(said.contains(word), "{said:?}");
        for evil in ["\x1b]52", "\x1b[2J", "\x07", "\x08", "\u{9b}", "\u{202e}", "\u{61c}"] {
            assert!(!said.contains(evil), "{evil:?} in {said:?}");
        }
    }
}
