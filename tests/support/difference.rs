//! What `pmirror cmp` said of two trees, and that it wrote in neither.

use super::compare;
use super::outcome::{Outcome, fault_path};
use super::pair::Pair;
use super::run::Pmirror;
use serde_json::Value;
use std::collections::BTreeMap;

/// The names that differ, and the words for what differs of each.
pub type Differences = BTreeMap<Vec<u8>, Vec<String>>;

/// Runs it to its end, with its differences as JSON lines. Whatever it finds: neither tree was touched,
/// not even an access time, and the books balance.
pub fn look(pair: &Pair, cmp: &Pmirror) -> Outcome {
    let before = (pair.source_now(), pair.target_now());
    let outcome = cmp.run_unchecked();
    outcome.context(|| {
        compare::assert_untouched(&before.0, &pair.source_now(), "the source was touched");
        compare::assert_untouched(&before.1, &pair.target_now(), "the target was touched");
        pair.assert_canary();
    });
    outcome.assert_books_balance();
    outcome
}

/// The lines of `--jsonl`.
pub fn lines(outcome: &Outcome) -> Vec<Value> {
    let text = std::str::from_utf8(&outcome.stdout).expect("JSON is UTF-8");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// What `cmp --jsonl` found.
pub fn found(outcome: &Outcome) -> Differences {
    let words = |line: &Value| -> Vec<String> {
        let words = line["differs"].as_array().expect("a list of words");
        words.iter().map(|word| word.as_str().unwrap_or_default().to_string()).collect()
    };
    lines(outcome).iter().map(|line| (fault_path(line), words(line))).collect()
}

/// Fails unless `cmp` with these options finds exactly these names to differ, in these words.
pub fn assert_found(pair: &Pair, options: &[&str], expected: &[(&str, &str)]) -> Outcome {
    let outcome = look(pair, &pair.cmp().arg("--jsonl").args(options));
    let words = |text: &str| text.split(' ').map(str::to_string).collect::<Vec<_>>();
    let expected: Differences =
        expected.iter().map(|(path, differs)| (path.as_bytes().to_vec(), words(differs))).collect();
    outcome.context(|| {
        assert_eq!(shown(&found(&outcome)), shown(&expected));
        assert_eq!(outcome.code, if expected.is_empty() { 0 } else { 26 }, "the exit code");
    });
    outcome
}

/// The same for people.
pub fn shown(differences: &Differences) -> Vec<String> {
    differences.iter().map(|(path, differs)| format!("{}: {}", super::escaped(path), differs.join(" "))).collect()
}
