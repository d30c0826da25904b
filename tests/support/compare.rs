//! Compares two snapshots, and says in what they differ as a person would.

use super::snapshot::{ATIME, Aspect, MIRRORED, Seen, Snapshot, UNCHANGED};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

const LINES_MAX: usize = 40;

/// The times that a file system can hold, as ext4 holds them: 1901 to 2446.
pub struct Clamp;

impl Clamp {
    const FIRST: i64 = -0x8000_0000;
    const LAST: i64 = 15_032_385_535;

    /// What becomes of a time on ext4; at the ends the nanoseconds go.
    pub fn ext4((seconds, nanoseconds): (i64, u32)) -> (i64, u32) {
        match seconds {
            ..=Self::FIRST => (Self::FIRST, 0),
            Self::LAST.. => (Self::LAST, 0),
            _ => (seconds, nanoseconds),
        }
    }
}

/// The differences, a line each; empty when there is none.
pub fn differences(before: &Snapshot, after: &Snapshot, aspects: &[Aspect]) -> Vec<String> {
    let names: BTreeSet<&Vec<u8>> = before.entries.keys().chain(after.entries.keys()).collect();
    let mut lines = Vec::new();
    for name in names {
        let shown = super::escaped(name);
        match (before.entries.get(name), after.entries.get(name)) {
            (Some(seen), None) => lines.push(format!("- {} \"{shown}\"", seen.kind())),
            (None, Some(seen)) => lines.push(format!("+ {} \"{shown}\"", seen.kind())),
            (Some(old), Some(new)) => lines.extend(entry_differences(&shown, old, new, aspects)),
            (None, None) => (),
        }
    }
    lines
}

fn entry_differences(name: &str, old: &Seen, new: &Seen, aspects: &[Aspect]) -> Vec<String> {
    let mut lines = Vec::new();
    for (what, tell) in aspects {
        let (old, new) = (tell(old), tell(new));
        if old != new {
            let (old, new) = without_common_words(&old, &new);
            lines.push(format!("~ \"{name}\": {what} {old} -> {new}"));
        }
    }
    lines
}

/// Of two lists of words only those that the other does not have.
fn without_common_words(old: &str, new: &str) -> (String, String) {
    let only = |here: &str, there: &str| {
        let there: BTreeSet<&str> = there.split(' ').collect();
        let words = here.split(' ').filter(|word| !there.contains(word));
        words.collect::<Vec<_>>().join(" ")
    };
    (only(old, new), only(new, old))
}

/// Fails with the lines, the first of them at least.
pub fn assert_none(lines: &[String], headline: &str) {
    let shown = lines.iter().take(LINES_MAX).cloned().collect::<Vec<_>>();
    assert!(
        lines.is_empty(),
        "{headline} ({} differences; - is only in the first, + only in the second):\n{}",
        lines.len(),
        shown.join("\n")
    );
}

/// Fails unless the target equals the source in all that a mirror keeps.
pub fn assert_same(source: impl AsRef<Path>, target: impl AsRef<Path>) {
    let (source, target) = (Snapshot::take(source), Snapshot::take(target));
    assert_same_but(&source, &target, &[]);
}

/// The same, but for these aspects.
pub fn assert_same_but(source: &Snapshot, target: &Snapshot, but: &[&str]) {
    let aspects: Vec<Aspect> = MIRRORED.iter().copied().collect();
    let aspects = without(aspects, but);
    let lines = differences(source, target, &aspects);
    assert_none(&lines, "the target is no mirror of the source");
}

fn without(aspects: Vec<Aspect>, but: &[&str]) -> Vec<Aspect> {
    let known = |name: &&str| aspects.iter().any(|(what, _)| what == name);
    assert!(but.iter().all(known), "no such aspect in {but:?}");
    aspects.into_iter().filter(|(what, _)| !but.contains(what)).collect()
}

/// Fails unless a tree is exactly as it was: not even a ctime or an atime moved.
pub fn assert_untouched(before: &Snapshot, after: &Snapshot, what: &str) {
    let aspects: Vec<Aspect> = [MIRRORED, UNCHANGED, &[ATIME]].concat();
    assert_none(&differences(before, after, &aspects), what);
}

/// The same, but it may have been read.
pub fn assert_unwritten(before: &Snapshot, after: &Snapshot, what: &str) {
    let aspects: Vec<Aspect> = [MIRRORED, UNCHANGED].concat();
    assert_none(&differences(before, after, &aspects), what);
}

/// Fails if a run left something of its own behind. `known` are the paths of the source, and those
/// that the target had before.
pub fn assert_no_litter(known: &BTreeSet<Vec<u8>>, target: impl AsRef<Path>) {
    let now = Snapshot::paths(target);
    let name = |path: &Vec<u8>| path.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
    let new = now.difference(known).filter(|path| name(path).starts_with(b".pmirror"));
    assert_none(&new.map(super::escaped).collect::<Vec<_>>(), "left behind on the target");
}

/// Fails unless the same names share an inode on both sides.
pub fn assert_same_links(source: impl AsRef<Path>, target: impl AsRef<Path>) {
    let (source, target) = (Snapshot::take(source), Snapshot::take(target));
    let (expected, found) = (link_groups(&source), link_groups(&target));
    let only = |here: &BTreeSet<Vec<String>>, there: &BTreeSet<Vec<String>>, sign| {
        here.difference(there).map(|names| format!("{sign} {}", names.join(" = "))).collect::<Vec<_>>()
    };
    let lines = [only(&expected, &found, "-"), only(&found, &expected, "+")].concat();
    assert_none(&lines, "hard links differ");
}

/// The names that share an inode, group by group; a name that is alone is no group.
pub fn link_groups(snapshot: &Snapshot) -> BTreeSet<Vec<String>> {
    let mut groups: BTreeMap<(u32, u32, u64), Vec<String>> = BTreeMap::new();
    let others = snapshot.entries.iter().filter(|(_, seen)| seen.kind() != "directory");
    for (path, seen) in others {
        let stat = &seen.stat;
        let inode = (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino);
        groups.entry(inode).or_default().push(super::escaped(path));
    }
    groups.into_values().filter(|names| names.len() > 1).collect()
}

/// Fails if rsync, asked for everything pmirror keeps, would change or remove anything.
pub fn rsync_finds_no_difference(source: impl AsRef<Path>, target: impl AsRef<Path>) {
    let contents = |path: &Path| format!("{}/", path.display());
    let mut rsync = Command::new("rsync");
    rsync.args(["-aHAXn", "--delete", "-i"]);
    rsync.args([contents(source.as_ref()), contents(target.as_ref())]);
    let found = super::needs::run_ok(&mut rsync);
    let lines: Vec<String> = found.lines().map(str::to_string).collect();
    assert_none(&lines, "rsync -aHAXn --delete -i finds differences");
}
