//! What a summary has beside faults that kept entries from being mirrored, or that should be known: in words.

use serde::Serialize;

use super::ending::{Ending, Removals};
use super::words::plural;

/// Held subtrees and paths that are named.
const NAMED_MAX: usize = 5;

/// Something that is no fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Besides {
    /// What, as one word.
    pub what: &'static str,
    /// How many entries.
    pub count: u64,
    /// In words.
    pub text: String,
    /// What to do; may be empty.
    pub remedy: String,
}

/// All of it.
pub fn besides(ending: &Ending) -> Vec<Besides> {
    let mut found = Vec::new();
    found.extend(ending.removals.iter().flat_map(removals));
    let unfinished = ending.totals().get("unfinished").copied().unwrap_or(0);
    let run_again = "go on with the run, or give the same command again";
    found.extend(counted("unfinished", unfinished, "the run was stopped before their turn came", run_again));
    for (reason, &n) in &ending.skipped {
        found.extend(counted("skipped", n, skip(reason), ""));
    }
    for (what, &n) in &ending.unset {
        let (text, remedy) = unset(what);
        found.extend(counted("unset", n, text, remedy));
    }
    let split = ending.links.get("split").copied().unwrap_or(0);
    let bring = "the command of the run itself brings their names together";
    found.extend(counted("split", split, "hard-linked inodes became several inodes on DST", bring));
    if let Some(frozen) = &ending.frozen {
        let paths = named(&frozen.paths);
        let text = format!("were written to after the start, although SRC is said to be frozen: {paths}");
        found.extend(counted(
            "written_to",
            frozen.ctime_after_start,
            &text,
            "find out who writes to SRC (notes.jsonl)",
        ));
    }
    if let Some(differences) = &ending.differences {
        let sum = differences.values().sum();
        let what = differences.iter().map(|(what, n)| format!("{what} {n}")).collect::<Vec<_>>().join(", ");
        let text = format!("differ: {what}");
        found.extend(counted("different", sum, &text, "differences.jsonl names them; pmirror sync mends them"));
    }
    if let Some(verdict) = &ending.verdict {
        let text = format!("checks of the preflight found something: its verdict is {}", verdict.word());
        found.extend(counted("verdict", verdict.findings(), &text, "see preflight.json in its run directory"));
    }
    for imbalance in &ending.imbalances {
        let text = format!("the books do not balance: {imbalance}");
        found.push(Besides { what: "imbalance", count: 1, text, remedy: "this is a bug, please report it".to_owned() });
    }
    let again = "what they failed with was gone when they were tried again; look at the servers if there are many";
    found.extend(counted("retried", ending.retried, "tries failed for a reason that passed", again));
    found
}

fn counted(what: &'static str, count: u64, text: &str, remedy: &str) -> Option<Besides> {
    (count > 0).then(|| Besides { what, count, text: text.to_owned(), remedy: remedy.to_owned() })
}

fn named(paths: &[String]) -> String {
    let more = if paths.len() > NAMED_MAX { ", ..." } else { "" };
    format!("{}{more}", paths.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(", "))
}

fn removals(removals: &Removals) -> Vec<Besides> {
    let mut found = Vec::new();
    if let Some(why) = &removals.refused {
        let text = format!("deletions were refused, so DST keeps all of them: {why}");
        let remedy = "look at the plan (--plan FILE); if it is right, raise --max-delete".to_owned();
        found.push(Besides { what: "refused", count: removals.planned, text, remedy });
    }
    let held: u64 = removals.held.iter().map(|held| held.planned).sum();
    let paths: Vec<String> = removals.held.iter().map(|held| held.path.clone()).collect();
    let text = format!(
        "deletions were held back, as {} would lose most of what they hold: {}",
        plural(paths.len() as u64, "subtree", "subtrees"),
        named(&paths)
    );
    let remedy = "see that SRC really lost them (a missing mount, a directory that was moved); then raise \
                  --hold-threshold";
    found.extend(counted("held", held, &text, remedy));
    for (reason, &n) in &removals.kept {
        let (text, remedy) = kept(reason);
        found.extend(counted("kept", n, text, remedy));
    }
    found
}

/// Why something stays on DST that was to be removed, and what to do.
fn kept(reason: &str) -> (&str, &str) {
    match reason {
        "gone" => ("that were to be removed were gone already", ""),
        "protected" => ("directories stay on DST, as they hold names that the patterns leave out", ""),
        "on_source" => ("stay on DST, as SRC has them again", "nothing: the next run copies what is there by then"),
        "changed" => ("stay on DST, as they are not what the plan saw", "look at them, then run the command again"),
        "not_empty" => ("directories stay on DST, as something came into them", "find out who writes to DST"),
        "unmovable" => (
            "stay on DST, as they can not be renamed into the trash",
            "leave --trash out to remove them; docs/reference/trash.md tells why",
        ),
        "mount_point" => ("stay on DST, as another file system is mounted there", "unmount it, or leave it"),
        "unproven" => (
            "stay on DST, as it could not be proven that SRC lacks them",
            "see that all mounts inside SRC are there on each host",
        ),
        "holds_held" => ("directories stay on DST, as something in them was held back", ""),
        "holds_failed" => (
            "directories stay on DST, as something in them could not be removed or listed",
            "mend what failed first, then run the command again",
        ),
        other => (other, ""),
    }
}

fn skip(reason: &str) -> &str {
    match reason {
        "no_specials" => "were skipped: FIFOs, sockets and devices (--no-specials)",
        "one_file_system" => "mount points were skipped (-x)",
        "update" => "were skipped, as DST has them newer (--update)",
        "exclude" => "were skipped by a pattern (--exclude)",
        "min_age" => "were skipped as too young (--min-age)",
        "max_age" => "were skipped as too old (--max-age)",
        "min_size" => "were skipped as too small (--min-size)",
        "max_size" => "were skipped as too large (--max-size)",
        other => other,
    }
}

fn unset(what: &str) -> (&str, &str) {
    match what {
        "owner" => ("are on DST without their owner", "only root may give files away"),
        "group" => ("are on DST without their group", "only root, or a member of the group, may set it"),
        "xattrs" => ("extended attributes could not be set", "DST does not hold them, or only root may set them"),
        "layout" => ("are on DST without their striping", ""),
        other => (other, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Kept;
    use crate::tree::decide::Skip;

    #[test]
    fn every_reason_has_its_words() {
        for reason in Kept::ALL {
            assert_ne!(kept(reason.word()).0, reason.word());
        }
        for reason in Skip::ALL {
            assert_ne!(skip(reason.word()), reason.word());
        }
    }

    #[test]
    fn what_is_no_fault_is_told_with_its_number() {
        let text = r#"{"skipped":{"exclude":3},"unset":{"owner":2},"links":{"split":1},"removals":{"planned":9,
            "kept":{"unproven":4},"held":[{"path":"a","planned":5}],"refused":null},"retried":0,
            "entries":{"file":{"unfinished":7}}}"#;
        let found = besides(&Ending::of_json(text.as_bytes()).unwrap());
        let told: Vec<(&str, u64)> = found.iter().map(|one| (one.what, one.count)).collect();
        assert_eq!(told, [("held", 5), ("kept", 4), ("unfinished", 7), ("skipped", 3), ("unset", 2), ("split", 1)]);
        assert_eq!(besides(&Ending::of_json(b"{}").unwrap()), []);
    }
}
