//! What a run left: exit code, output, summary and fault list, and the questions tests ask of them.

use super::compare;
use super::pair::Pair;
use super::run::Pmirror;
use super::text::{escaped, from_base64};
use serde_json::Value;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// The kinds of entry the summary counts.
pub const KINDS: &[&str] = &["directory", "file", "symlink", "fifo", "socket", "character_device", "block_device"];

/// What may become of an entry; each entry seen has exactly one of these.
pub const OUTCOMES: &[&str] = &[
    "same",
    "created",
    "updated",
    "metadata_only",
    "linked",
    "different",
    "skipped",
    "vanished",
    "changed",
    "failed",
    "unfinished",
];

/// The end of one run.
pub struct Outcome {
    pub command: String,
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub summary: Option<Value>,
    pub faults: Vec<Value>,
    pub run_dir: Option<PathBuf>,
}

impl Outcome {
    pub fn new(command: String, code: i32, stdout: Vec<u8>, stderr: Vec<u8>, run_dir: Option<PathBuf>) -> Outcome {
        let read = |name: &str| std::fs::read_to_string(run_dir.as_ref()?.join(name)).ok();
        let json = |text: &str| -> Value {
            let value = serde_json::from_str(text);
            value.unwrap_or_else(|error| panic!("not JSON ({error}): {text:?}"))
        };
        let summary = read("summary.json").map(|text| json(&text));
        let faults = read("faults.jsonl").unwrap_or_default();
        let faults = faults.lines().map(json).collect();
        Outcome { command, code, stdout, stderr, summary, faults, run_dir }
    }

    /// Runs a check; when it fails, the failure tells the run too.
    pub fn context(&self, check: impl FnOnce()) {
        if let Err(failure) = catch_unwind(AssertUnwindSafe(check)) {
            eprintln!("{}", self.story());
            std::panic::resume_unwind(failure);
        }
    }

    fn story(&self) -> String {
        let tail = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(30)..].join("\n")
        };
        let faults: Vec<String> = self.faults.iter().take(10).map(Value::to_string).collect();
        format!(
            "ran: {}\nexit code {}\n--- stdout\n{}\n--- stderr\n{}\n--- faults ({})\n{}",
            self.command,
            self.code,
            tail(&self.stdout),
            tail(&self.stderr),
            self.faults.len(),
            faults.join("\n"),
        )
    }

    /// Fails unless the run ended with this code.
    pub fn exits(self, code: i32) -> Outcome {
        self.context(|| assert_eq!(self.code, code, "another exit code was expected"));
        self
    }

    /// Fails unless it was refused: with this code, with these words on stderr, nothing counted.
    pub fn refuses(self, code: i32, words: &[&str]) -> Outcome {
        let outcome = self.exits(code);
        let message = String::from_utf8_lossy(&outcome.stderr).into_owned();
        outcome.context(|| {
            for word in words {
                assert!(message.contains(word), "stderr does not name {word:?}");
            }
        });
        outcome
    }

    /// Fails unless these words stand on stderr.
    pub fn says(self, words: &str) -> Outcome {
        self.context(|| {
            assert!(String::from_utf8_lossy(&self.stderr).contains(words), "stderr does not say {words:?}")
        });
        self
    }

    /// The summary, which must exist.
    pub fn summary(&self) -> &Value {
        self.context(|| assert!(self.summary.is_some(), "there is no summary.json"));
        self.summary.as_ref().unwrap()
    }

    /// A number of the summary; what is not there counts as 0.
    pub fn number(&self, pointer: &str) -> u64 {
        let value = self.summary().pointer(pointer);
        value.and_then(Value::as_u64).unwrap_or(0)
    }

    /// How many entries of a kind had an outcome.
    pub fn count(&self, kind: &str, outcome: &str) -> u64 {
        let known = KINDS.contains(&kind) && (OUTCOMES.contains(&outcome) || outcome == "seen");
        assert!(known, "the summary counts no {kind} {outcome}");
        self.number(&format!("/entries/{kind}/{outcome}"))
    }

    /// How many entries of all kinds had an outcome.
    pub fn total(&self, outcome: &str) -> u64 {
        KINDS.iter().map(|kind| self.count(kind, outcome)).sum()
    }

    /// Each outcome that some entry had, with their number.
    pub fn totals(&self) -> BTreeMap<&'static str, u64> {
        let totals = OUTCOMES.iter().map(|outcome| (*outcome, self.total(outcome)));
        totals.filter(|(_, count)| *count > 0).collect()
    }

    /// Fails unless these, and no others, are the outcomes of this kind of entry.
    pub fn counts(&self, kind: &str, expected: &[(&str, u64)]) -> &Outcome {
        let found = OUTCOMES.iter().map(|outcome| (*outcome, self.count(kind, outcome)));
        let found: BTreeMap<&str, u64> = found.filter(|(_, count)| *count > 0).collect();
        let expected: BTreeMap<&str, u64> = expected.iter().copied().collect();
        self.context(|| assert_eq!(found, expected, "outcomes of kind {kind}"));
        self
    }

    /// How many entries of all kinds that were to be removed met this fate, or were `planned`.
    pub fn removals(&self, fate: &str) -> u64 {
        KINDS.iter().map(|kind| self.number(&format!("/removals/entries/{kind}/{fate}"))).sum()
    }

    /// How many entries stay for this reason.
    pub fn kept(&self, reason: &str) -> u64 {
        self.number(&format!("/removals/kept/{reason}"))
    }

    /// For each kind: seen = the sum of its outcomes; and the reasons of skipping add up.
    pub fn assert_books_balance(&self) {
        let Some(summary) = &self.summary else { return };
        self.context(|| {
            for kind in KINDS {
                let sum: u64 = OUTCOMES.iter().map(|outcome| self.count(kind, outcome)).sum();
                assert_eq!(self.count(kind, "seen"), sum, "the books of kind {kind}");
            }
            let fates = ["removed", "trashed", "held", "kept", "failed", "unfinished"];
            let fates: u64 = fates.iter().map(|fate| self.removals(fate)).sum();
            assert_eq!(self.removals("planned"), fates, "the books of removals");
            let reasons = summary["skipped"].as_object();
            let reasons = reasons.map_or(0, |map| map.values().filter_map(Value::as_u64).sum());
            assert_eq!(self.total("skipped"), reasons, "the reasons of skipping");
            assert_eq!(summary["exit_code"], self.code, "the exit code in the summary");
        });
    }

    /// The books without what may differ from run to run: times, steals, who did what.
    pub fn books(&self) -> Value {
        let summary = self.summary();
        let parts = ["entries", "skipped", "bytes", "unset", "faults", "exit_code"];
        parts.into_iter().map(|part| (part.to_owned(), summary[part].clone())).collect()
    }

    /// The faults of this path (bytes, relative to the roots).
    pub fn faults_of(&self, path: impl AsRef<[u8]>) -> Vec<&Value> {
        let path = path.as_ref();
        let faults = self.faults.iter();
        faults.filter(|fault| fault_path(fault) == path).collect()
    }

    /// Fails unless this path has a fault with this errno on this side, and all that tells where.
    pub fn has_fault(&self, path: impl AsRef<[u8]>, side: &str, errno: nix::errno::Errno) {
        let shown = escaped(path.as_ref());
        let faults = self.faults_of(path);
        self.context(|| {
            let fault = faults.first();
            let fault = fault.unwrap_or_else(|| panic!("no fault is listed for \"{shown}\""));
            assert!(errno_is(fault, errno), "{fault}: expected {errno:?}");
            assert_eq!(fault["side"], side, "{fault}: the wrong side is blamed");
            for field in ["operation", "host"] {
                assert!(fault[field].is_string(), "{fault}: no {field}");
            }
            assert!(fault["rank"].is_u64(), "{fault}: no rank");
        });
    }

    /// Fails unless nothing the run printed holds a control character (a newline ends a line).
    pub fn assert_output_is_escaped(&self) {
        let raw = |byte: &&u8| **byte < b' ' && **byte != b'\n' || **byte >= 0x7f;
        let text = String::from_utf8_lossy(&self.stderr);
        let printed = [&self.stdout[..], text.as_bytes()].concat();
        let controls = printed.iter().filter(raw).filter(|byte| **byte < 0x80);
        let found: Vec<String> = controls.map(|byte| format!("{byte:#04x}")).collect();
        self.context(|| assert!(found.is_empty(), "raw bytes in the output: {found:?}"));
        let utf8 = std::str::from_utf8(&self.stderr).and(std::str::from_utf8(&self.stdout));
        self.context(|| assert!(utf8.is_ok(), "the output is not UTF-8"));
    }
}

fn errno_is(fault: &Value, errno: nix::errno::Errno) -> bool {
    let name = format!("{errno:?}");
    fault["errno"] == errno as i32 || fault["errno"].as_str().is_some_and(|text| text == name)
}

/// The bytes of the path a fault speaks of: `path_b64` where it is not UTF-8.
pub fn fault_path(fault: &Value) -> Vec<u8> {
    match fault["path_b64"].as_str() {
        Some(text) => from_base64(text).unwrap_or_else(|| panic!("{fault}: not base64")),
        None => fault["path"].as_str().unwrap_or_default().as_bytes().to_vec(),
    }
}

/// Runs it again: it must end with the same code, find everything as it should be, and write
/// nothing: no ctime moves, but that of the root, below which the lock was.
pub fn second_run_changes_nothing(pair: &Pair, sync: &Pmirror, code: i32) -> Outcome {
    let mut before = pair.target_now();
    let outcome = sync.run().exits(code);
    let mut after = pair.target_now();
    for snapshot in [&mut before, &mut after] {
        let root = snapshot.entries.get_mut(&b""[..]).expect("a target");
        root.stat.stx_ctime.tv_sec = 0;
        root.stat.stx_ctime.tv_nsec = 0;
    }
    outcome.context(|| {
        compare::assert_unwritten(&before, &after, "the second run wrote to the target");
        let quiet = ["same", "skipped", "failed"];
        let loud = outcome.totals().into_iter();
        let loud: Vec<_> = loud.filter(|(name, _)| !quiet.contains(name)).collect();
        assert!(loud.is_empty(), "the second run did something: {loud:?}");
        assert_eq!(outcome.number("/bytes/written"), 0, "bytes written by it");
    });
    outcome
}
