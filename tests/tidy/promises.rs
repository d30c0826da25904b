//! The lists of promises name tests that exist: `tests/cases.tsv` and `docs/reference/guarantees.md`.

use super::{Source, assert_tidy, repository, sources_below};
use std::collections::BTreeSet;

const CASES: &str = "tests/cases.tsv";
const GUARANTEES: &str = "docs/reference/guarantees.md";
const HEADER: &str = "case\tpromise\ttest";
/// Cases in the list: one that got lost shows.
const CASES_COUNT: usize = 307;
const PROMISE_LETTERS_MAX: usize = 160;

/// A line of the list of cases.
struct Case {
    line: usize,
    id: String,
    promise: String,
    tests: String,
}

impl Case {
    /// What the case must not lack.
    fn complaints(&self, known: &BTreeSet<String>) -> Vec<String> {
        let mut complaints = Vec::new();
        let (letter, number) = self.id.split_at(self.id.len().min(1));
        let is_id = letter.chars().all(|letter| letter.is_ascii_uppercase())
            && number.len() == 2
            && number.chars().all(|digit| digit.is_ascii_digit());
        if !is_id {
            complaints.push("its id is a letter and two digits".to_string());
        }
        if self.promise.is_empty() || self.promise.chars().count() > PROMISE_LETTERS_MAX {
            complaints.push(format!("say the promise in one line of at most {PROMISE_LETTERS_MAX} letters"));
        }
        if let Some(reason) = self.tests.strip_prefix("not done: ") {
            if reason.trim().is_empty() {
                complaints.push("say why it is not done".to_string());
            }
            return complaints;
        }
        for test in self.tests.split(", ").filter(|test| !known.contains(*test)) {
            complaints.push(format!("there is no test {test}: name one that there is, as file::function"));
        }
        complaints
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap()
}

/// The cases, and what is wrong with the shape of the list.
fn cases(text: &str) -> (Vec<Case>, Vec<String>) {
    let (mut cases, mut complaints) = (Vec::new(), Vec::new());
    if text.lines().next() != Some(HEADER) {
        complaints.push(format!("{CASES}: begin with {HEADER:?}"));
    }
    for (line, columns) in text.lines().enumerate().skip(1) {
        match columns.split('\t').collect::<Vec<_>>()[..] {
            [id, promise, tests] => cases.push(Case {
                line: line + 1,
                id: id.to_string(),
                promise: promise.to_string(),
                tests: tests.to_string(),
            }),
            _ => complaints.push(format!("{CASES}:{}: three columns, parted by tabs", line + 1)),
        }
    }
    for two in cases.windows(2).filter(|two| two[0].id >= two[1].id) {
        complaints.push(format!("{CASES}:{}: {} stands before {}; sort them", two[1].line, two[0].id, two[1].id));
    }
    (cases, complaints)
}

/// The functions of a source that are marked as tests, as the lists name them.
fn tests_of(source: &Source) -> Vec<String> {
    let file = match source.path.strip_prefix("tests/") {
        Some(name) => name.trim_end_matches(".rs"),
        None => &source.path,
    };
    let (mut names, mut is_test) = (Vec::new(), false);
    for line in source.text.lines().map(str::trim) {
        let name = line.strip_prefix("fn ").and_then(|rest| rest.split(['(', '<']).next());
        match name {
            Some(name) if is_test => names.push(format!("{file}::{name}")),
            _ if line == "#[test]" => is_test = true,
            _ => (),
        }
        is_test &= name.is_none();
    }
    names
}

fn all_tests() -> BTreeSet<String> {
    let sources = [sources_below("src/"), sources_below("tests/")].concat();
    sources.iter().flat_map(tests_of).collect()
}

/// What stands in a text as `file::function`.
fn named(text: &str) -> Vec<String> {
    let words = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || "_/.:".contains(letter);
    let is_test = |word: &&str| word.contains("::") && !word.contains("crate::") && word.chars().all(is_name);
    words.filter(is_test).map(str::to_string).collect()
}

#[test]
fn each_case_has_a_test_or_a_reason() {
    let (known, (cases, mut complaints)) = (all_tests(), cases(&read(CASES)));
    for case in &cases {
        let place = format!("{CASES}:{}: {}", case.line, case.id);
        complaints.extend(case.complaints(&known).into_iter().map(|complaint| format!("{place}: {complaint}")));
    }
    if cases.len() != CASES_COUNT {
        complaints.push(format!("{CASES}: {} cases, not {CASES_COUNT}: count those that came", cases.len()));
    }
    assert_tidy(complaints);
}

#[test]
fn the_guarantees_name_tests_that_exist_and_count_the_cases_that_have_none() {
    let (known, text) = (all_tests(), read(GUARANTEES));
    let missing = named(&text).into_iter().filter(|test| !known.contains(test));
    let mut complaints: Vec<String> = missing.map(|test| format!("{GUARANTEES}: there is no test {test}")).collect();
    let (cases, _) = cases(&read(CASES));
    let open = cases.iter().filter(|case| case.tests.starts_with("not done: ")).count();
    let line = format!("Of {} cases {open} are not done.", cases.len());
    if !text.contains(&line) {
        complaints.push(format!("{GUARANTEES}: it should say {line:?}"));
    }
    assert_tidy(complaints);
}

#[test]
fn the_lists_are_read_as_they_are_written() {
    let text = "#[test]\n#[ignore = \"minutes\"]\nfn a() {\n}\nfn b() {}\nproptest! {\n    #[test]\n    fn c(x in 0..3) {}\n}\n";
    let source = |path: &str| Source { path: path.to_string(), text: text.to_string() };
    assert_eq!(tests_of(&source("tests/x.rs")), ["x::a", "x::c"]);
    assert_eq!(tests_of(&source("src/tree/x.rs")), ["src/tree/x.rs::a", "src/tree/x.rs::c"]);
    assert_eq!(named("see `x::a`, `src/tree/x.rs::c` and `--delete`\n`y`"), ["x::a", "src/tree/x.rs::c"]);
    let known: BTreeSet<String> = ["x::a".to_string()].into();
    let complaints = |line: &str| {
        let (cases, shape) = cases(&format!("{HEADER}\n{line}\n"));
        let of_cases = cases.iter().flat_map(|case| case.complaints(&known)).collect::<Vec<_>>();
        [shape, of_cases].concat().len()
    };
    assert_eq!(complaints("A01\tNames go.\tx::a"), 0);
    assert_eq!(complaints("A01\tNames go.\tnot done: no such machine"), 0);
    for bad in ["A01\tNames go.", "A1\tNames go.\tx::a", "A01\t\tx::a", "A01\tNames go.\tx::b", "A01\tN\tnot done: "] {
        assert_eq!(complaints(bad), 1, "{bad}");
    }
    assert_eq!(complaints("A02\tNames go.\tx::a\nA01\tNames go.\tx::a"), 1);
}
