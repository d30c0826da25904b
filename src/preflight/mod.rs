//! What is said before a run: from measured facts to findings, each with its verdict and its remedy. Pure: a function
//! for each check, and nothing here measures.

pub mod census;
pub mod clocks;
pub mod entries;
pub mod facts;
pub mod names;
pub mod nodes;
pub mod places;
pub mod room;
pub mod spans;
pub mod speed;
mod words;

pub use words::{amount, count, plural};

use crate::tree::census::{Census, Trouble};

/// What a check comes to. The worst of all is the verdict on the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Nothing stands in the way.
    Good,
    /// A run may fail in parts, or lose something that a person should know of.
    Warning,
    /// A run would be refused, or is proven to fail.
    NoGo,
}

impl Verdict {
    /// One word, for scripts.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Good => "good",
            Verdict::Warning => "warning",
            Verdict::NoGo => "no-go",
        }
    }
}

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its name: one word, which stays.
    pub check: &'static str,
    /// What it comes to.
    pub verdict: Verdict,
    /// What was found, in one line.
    pub what: String,
    /// What to do about it; empty where nothing need be done.
    pub remedy: String,
}

impl Finding {
    /// All is well.
    pub fn good(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, Verdict::Good, what, "")
    }

    /// A person should know.
    pub fn warning(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(check, Verdict::Warning, what, remedy)
    }

    /// It will not work.
    pub fn no_go(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(check, Verdict::NoGo, what, remedy)
    }

    /// Whatever it comes to.
    pub fn new(check: &'static str, verdict: Verdict, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, verdict, what: what.into(), remedy: remedy.into() }
    }
}

/// The verdict on the whole.
pub fn overall(findings: &[Finding]) -> Verdict {
    findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Good)
}

/// How much a census counted. `None`: it saw none, but not all of SRC, or none was taken.
fn counted(census: Option<&Census>, count: impl Fn(&Census) -> u64) -> Option<u64> {
    let census = census?;
    Some(count(census)).filter(|&n| n > 0 || census.cases(Trouble::Unreadable) == 0)
}

/// A lack that costs something only where SRC has what is lacked. `has`: how much of it a census counted; `None`: nobody
/// knows.
fn lack(check: &'static str, what: String, has: Option<u64>, remedy: &str) -> Finding {
    match has {
        Some(0) => Finding::good(check, format!("{what}; SRC has no such entry")),
        Some(n) => {
            Finding::no_go(check, format!("{what}; SRC has {}", plural(n, "such entry", "such entries")), remedy)
        }
        None => Finding::warning(check, format!("{what}; whether SRC has such entries is not known"), remedy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_finding_is_the_verdict() {
        let (good, warning, no_go) =
            (Finding::good("a", ""), Finding::warning("b", "", ""), Finding::no_go("c", "", ""));
        assert_eq!(overall(&[]), Verdict::Good);
        assert_eq!(overall(&[good.clone(), warning.clone()]), Verdict::Warning);
        assert_eq!(overall(&[no_go, good, warning]), Verdict::NoGo);
    }

    #[test]
    fn a_lack_is_a_no_go_only_where_it_is_proven_to_cost_something() {
        let verdict = |has| lack("xattrs", "DST has none".to_owned(), has, "leave them out").verdict;
        assert_eq!([None, Some(0), Some(1)].map(verdict), [Verdict::Warning, Verdict::Good, Verdict::NoGo]);
    }
}
