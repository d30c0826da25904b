//! What a run that died or failed may leave on the target, and what it may not.

use super::compare::{self, assert_none, differences};
use super::outcome::Outcome;
use super::pair::Pair;
use super::snapshot::{MIRRORED, Seen, Snapshot};

/// Both trees before the first of several runs.
pub struct Before {
    source: Snapshot,
    target: Snapshot,
    /// The runs remove what only the target has.
    deletes: bool,
}

impl Before {
    pub fn look(pair: &Pair, deletes: bool) -> Before {
        Before { source: pair.source_now(), target: pair.target_now(), deletes }
    }

    /// At any moment, whatever became of the run: no torn file is taken for done, what was there is there,
    /// old or new but never in between, and nothing changed elsewhere.
    pub fn assert_nothing_lost(&self, pair: &Pair) {
        compare::assert_untouched(&self.source, &pair.source_now(), "the source was touched");
        pair.assert_canary();
        let now = pair.target_now();
        let paths = self.source.entries.keys().chain(self.target.entries.keys());
        let mut losses: Vec<String> = paths.filter_map(|path| Some((path, self.loss(path, &now)?))).map(told).collect();
        losses.dedup();
        assert_none(&losses, "lost or torn on the target");
    }

    /// What the next run would take for finished, and is not.
    pub fn torn(source: &Snapshot, now: &Snapshot) -> Vec<Vec<u8>> {
        let files = source.entries.iter();
        let torn = files.filter(|(path, new)| {
            now.entries.get(*path).is_some_and(|found| is_believed(new, found) && !is_same(new, found))
        });
        torn.map(|(path, _)| path.clone()).collect()
    }

    fn loss(&self, path: &[u8], now: &Snapshot) -> Option<&'static str> {
        let [new, old] = [&self.source, &self.target].map(|tree| tree.entries.get(path));
        let found = now.entries.get(path);
        match (new, old, found) {
            (Some(new), _, Some(found)) if is_believed(new, found) && !is_same(new, found) => Some("is torn"),
            (Some(new), Some(old), found) if !is_directory(new) && !is_directory(old) => match found {
                None => Some("is missing"),
                Some(found) => (!is_same(new, found) && !is_same(old, found)).then_some("is neither old nor new"),
            },
            (None, Some(_), None) if !self.deletes => Some("was removed"),
            (None, Some(old), Some(found)) if !is_same(old, found) => Some("was only on the target, and changed"),
            _ => None,
        }
    }

    /// After a run that ended with 0: the target equals the source, hard links and all; what only the
    /// target had stays where nothing is removed.
    pub fn assert_mirrored(&self, pair: &Pair) {
        self.assert_nothing_lost(pair);
        let mut now = pair.target_now();
        // Something of our own that could not be removed goes with the next run.
        now.entries.retain(|path, _| self.source.has(path) || !is_ours(path));
        if !self.deletes {
            now.entries.retain(|path, _| self.source.has(path) || !self.target.has(path));
        }
        assert_none(&differences(&self.source, &now, MIRRORED), "the target is no mirror of the source");
        assert_eq!(compare::link_groups(&self.source), compare::link_groups(&now), "hard links differ");
    }

    /// The same, and nothing of ours is left.
    pub fn assert_complete(&self, pair: &Pair) {
        self.assert_mirrored(pair);
        let known = self.source.entries.keys().chain(self.target.entries.keys()).cloned().collect();
        compare::assert_no_litter(&known, pair.target_path());
    }

    /// What the same command came to, by itself: 0, and all is complete.
    pub fn assert_went_on(&self, pair: &Pair, run: Outcome) {
        let run = run.exits(0);
        run.assert_books_balance();
        run.context(|| self.assert_complete(pair));
    }
}

fn told((path, loss): (&Vec<u8>, &'static str)) -> String {
    format!("\"{}\" {loss}", super::escaped(path))
}

fn is_ours(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|name| name.starts_with(b".pmirror"))
}

fn is_directory(seen: &Seen) -> bool {
    seen.kind() == "directory"
}

/// The next run takes the file for finished.
fn is_believed(new: &Seen, found: &Seen) -> bool {
    let files = new.kind() == "file" && found.kind() == "file";
    files && new.mtime() == found.mtime() && new.stat.stx_size == found.stat.stx_size
}

/// The same thing with the same content, its attributes aside.
fn is_same(one: &Seen, other: &Seen) -> bool {
    let device = |seen: &Seen| (seen.stat.stx_rdev_major, seen.stat.stx_rdev_minor);
    let content = |seen: &Seen| (seen.kind(), seen.digest, seen.link.clone());
    content(one) == content(other) && (!one.kind().ends_with("_device") || device(one) == device(other))
}
