//! What a walk over SRC says by itself.

use super::{Finding, plural, room};
use crate::tree::census::{Census, Trouble};
use crate::tree::path::escaped;

/// Names of one directory from which on it is worth a word.
const LARGE_DIRECTORY: u64 = 1_000_000;

/// How it went, and how large the tree is. `unfinished`: why it did not get through, in words.
pub fn walked(census: &Census, faults: u64, unfinished: Option<&str>) -> Finding {
    let what = room::entries(census);
    match (unfinished, faults) {
        (Some(why), _) => {
            let remedy = "give it more time: the figures are of what was seen";
            Finding::warning("census", format!("{what}: at least, as the walk ended early ({why})"), remedy)
        }
        (None, 0) => Finding::good("census", what),
        (None, n) => {
            let what = format!("{what}; {} not be looked at", plural(n, "entry could", "entries could"));
            Finding::warning("census", what, "see faults.jsonl in the run directory")
        }
    }
}

/// What we may not read.
pub fn readable(census: &Census) -> Finding {
    let check = "unreadable";
    match census.troubles.get(&Trouble::Unreadable) {
        None => Finding::good(check, "all that was seen of SRC may be read"),
        Some(cases) => {
            let example = cases.examples.first().map(|path| escaped(path.as_bytes())).unwrap_or_default();
            let what = format!("{} not be read, such as {example}", plural(cases.count, "entry may", "entries may"));
            Finding::no_go(check, what, "run as root, or leave them out with --exclude")
        }
    }
}

/// The largest of what makes a run slow.
pub fn shape(census: &Census) -> Finding {
    let most = &census.most;
    let (names, depth) = (most.directory.value, most.depth.value);
    let what = format!(
        "the largest directory has {}, the deepest entry lies {} down, the longest path has {}",
        plural(names, "name", "names"),
        plural(depth, "level", "levels"),
        plural(most.path.value, "byte", "bytes"),
    );
    if names >= LARGE_DIRECTORY {
        let path = escaped(most.directory.path.as_bytes());
        return Finding::warning("shape", what, format!("a directory so large is slow on most file systems: {path}"));
    }
    Finding::good("shape", what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::Verdict;
    use crate::tree::TreePath;

    #[test]
    fn what_may_not_be_read_is_a_no_go_and_an_example_is_named() {
        let mut census = Census::default();
        assert_eq!(readable(&census).verdict, Verdict::Good);
        census.find(Trouble::Unreadable, &TreePath::from(&b"a\nb"[..]));
        let found = readable(&census);
        assert!(found.verdict == Verdict::NoGo && found.what.contains("a\\nb"), "{found:?}");
    }

    #[test]
    fn a_walk_that_did_not_get_through_says_so() {
        let census = Census::default();
        let verdicts =
            [(0, None), (2, None), (0, Some("the time was up"))].map(|(n, why)| walked(&census, n, why).verdict);
        assert_eq!(verdicts, [Verdict::Good, Verdict::Warning, Verdict::Warning]);
    }

    #[test]
    fn a_very_large_directory_is_named() {
        let mut census = Census::default();
        census.see_names(&TreePath::from(&b"heap"[..]), 999_999);
        assert_eq!(shape(&census).verdict, Verdict::Good);
        census.see_names(&TreePath::from(&b"heap"[..]), LARGE_DIRECTORY);
        assert!(shape(&census).remedy.contains("heap"));
    }
}
