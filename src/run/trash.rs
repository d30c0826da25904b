//! `--trash`: what must be known, and made, before anything is renamed into the trash.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};

use serde::{Deserialize, Serialize};

use super::agree::{agree, from_root};
use super::begin::broken;
use super::crew::Crew;
use super::frame::Run;
use crate::engine::Engine;
use crate::fault::{Error, Failure};
use crate::fs::private::Private;
use crate::fs::trash::{self, Place};
use crate::pass::remove::Trash;
use crate::report::json;
use crate::tree::guard::{HeldTree, Verdict};
use crate::tree::path::escaped;
use crate::tree::{Doomed, Item, TreePath};

/// The format of a record.
const VERSION: u32 = 1;

/// What the trash of an attempt says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The format.
    pub pmirror_trash: u32,
    /// The run.
    pub run_id: String,
    /// Such as `rm`.
    pub command: String,
    /// When, RFC 3339, by the clock of the node of rank 0.
    pub made: String,
    /// SRC as the operator named it.
    pub source: String,
    /// DST as the operator named it.
    pub target: String,
}

impl Record {
    fn of(crew: &Crew<'_>) -> Self {
        let config = crew.config;
        Self {
            pmirror_trash: VERSION,
            run_id: config.run_id.clone(),
            command: config.command.word().to_owned(),
            made: jiff::Timestamp::now().to_string(),
            source: escaped(config.source.to_bytes()),
            target: escaped(config.target.to_bytes()),
        }
    }

    /// What a record says, if it is one of ours.
    pub fn of_json(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok().filter(|record: &Self| record.pmirror_trash == VERSION)
    }

    /// When it was made.
    pub fn when(&self) -> Option<jiff::Timestamp> {
        self.made.parse().ok()
    }
}

/// Directories of all ranks together that will not go as a whole: every rank has them all in memory.
const STAYING_MAX: usize = 200_000;

fn too_many(max: usize) -> Error {
    Error::Refused(format!(
        "more than {max} directories that are to go hold something that stays (names that the patterns leave out, what \
         can not be listed), so nothing is removed: run without --trash, or one part of the trees after another"
    ))
}

/// Directories of the plan that are to go and will not: something in them stays. All ranks come to the same.
pub fn staying(engine: &mut Engine<'_>, crew: &Crew<'_>, verdict: &Verdict) -> Result<Vec<TreePath>, Error> {
    let mut mine = BTreeSet::new();
    let visited = engine.visit_plan(|item| {
        let (doomed, stays) = match item {
            Item::Remove { doomed, names } => (doomed, names.stays),
            Item::RemoveDirectory { doomed, stays, .. } => (doomed, *stays),
            _ => return,
        };
        if stays.is_some() && doomed.goes() && mine.len() <= STAYING_MAX {
            with_those_above(doomed, &mut mine);
        }
    });
    let mine = if mine.len() <= STAYING_MAX { Ok(mine) } else { Err(too_many(STAYING_MAX)) };
    let mine = visited.and(mine).map(|mine| mine.into_iter().collect::<Vec<_>>());
    let mut all: BTreeSet<TreePath> = agree(engine.comm(), &crew.roster, mine)?.into_iter().flatten().collect();
    for HeldTree { path, .. } in &verdict.held {
        all.extend((0..path.depth()).filter_map(|depth| path.ancestor(depth)));
    }
    if all.len() > STAYING_MAX { Err(too_many(STAYING_MAX)) } else { Ok(all.into_iter().collect()) }
}

/// The directory, and those above it that are to go.
fn with_those_above(doomed: &Doomed, all: &mut BTreeSet<TreePath>) {
    let mut next = Some(doomed.clone());
    while let Some(doomed) = next {
        next = doomed.waiting_parent().map(|path| Doomed { path, ..doomed.clone() });
        if !all.insert(doomed.path) {
            return;
        }
    }
}

/// Makes the trash of this attempt, and opens it on every rank; of a dry run nothing is made.
pub fn open(run: &mut Run<'_, '_>) -> Result<(), Error> {
    let (crew, begun) = (run.crew, run.begun);
    if !crew.config.trash {
        return Ok(());
    }
    let judged = run.story.judged.as_ref();
    let staying: BTreeSet<TreePath> = judged.map(|judged| judged.staying.iter().cloned().collect()).unwrap_or_default();
    let place = if begun.context.dry_run { None } else { Some(make(run)?) };
    // Set once a run.
    let _ = begun.context.trash.set(Trash::new(staying, place));
    Ok(())
}

fn make(run: &mut Run<'_, '_>) -> Result<Place, Error> {
    let (crew, begun) = (run.crew, run.begun);
    let unusable = |failure: Failure| broken("the trash in DST/.pmirror", failure);
    let attempt = CString::new(format!("{:016x}", begun.context.temporaries.attempt().0)).unwrap_or_default();
    let record = Record::of(crew);
    // Each rank would make up another id where none was given: that of rank 0 counts.
    let run_id = from_root(run.engine.comm(), &crew.roster, || {
        let text = json::pretty(&record).map_err(|error| Error::Fatal(error.to_string()))?;
        let Some((private, _)) = &begun.held else { return Err(Error::Fatal("the lock was lost".to_owned())) };
        let run_id = crew.config.run_id.clone();
        Place::make(private, &run_name(&run_id), &attempt, text.as_bytes()).map_err(unusable)?;
        Ok(run_id)
    })?;
    let run_id = run_name(&run_id);
    let uid = begun.context.policy.target.uid;
    let opened = Private::open_own(&begun.context.trees.target, uid)
        .and_then(|private| Place::open(&private, &run_id, &attempt))
        .map_err(unusable);
    agree(run.engine.comm(), &crew.roster, opened.as_ref().map(|_| ()).map_err(Clone::clone)).and(opened)
}

/// Stands for the slash of `JOB/task-0001`, which is one name in the trash. No run id has one.
const SLASH: &str = "+";

/// The name of a run's directory in the trash.
pub fn run_name(run_id: &str) -> CString {
    CString::new(run_id.replace('/', SLASH)).unwrap_or_default()
}

/// The run whose directory in the trash has this name.
pub fn run_of(name: &CStr) -> Vec<u8> {
    let slash = |byte: &u8| if SLASH.as_bytes() == [*byte] { b'/' } else { *byte };
    name.to_bytes().iter().map(slash).collect()
}

/// Whether it can be the name of a run: one name of a directory, or that of a job and of its task.
pub fn is_run_name(run_id: &str) -> bool {
    let is_name = |name: &str| crate::tree::names::is_name(name.as_bytes()) && !name.starts_with('.');
    run_id.split('/').count() <= 2 && run_id.split('/').all(is_name)
}

/// A run that has renamed nothing leaves no trash. What can not be removed is for `purge-trash`.
pub fn take_away_empty(private: &Private, run_id: Option<&str>) {
    if let Some(run_id) = run_id {
        let _ = trash::tidy(private, Some(&run_name(run_id)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::removal::{Absent, Lack};
    use crate::tree::{Identity, Proof};

    #[test]
    fn what_stays_keeps_all_directories_above_it_that_would_go() {
        let identity = Identity { inode: 1, birth: None };
        let proof = Proof::Absent(Absent { depth: 1, source: identity, target: identity, lack: Lack::Name });
        let doomed = Doomed { path: TreePath::from(&b"both/a/b/c"[..]), target: identity, proof, tries: 0 };
        let mut all = BTreeSet::new();
        with_those_above(&doomed, &mut all);
        let paths: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(paths, ["both/a", "both/a/b", "both/a/b/c"]);
    }
}
