//! `--detect-renames`: the record of the directories that the last run over these two trees met, and at the end that of
//! this one. It is kept beside what is known of both roots; without it everything is copied that has another name.

use std::path::Path;

use super::crew::Crew;
use super::known::{self, KnownRoot};
use crate::engine::author_of_met;
use crate::fs::met::{self, Record, Roots};
use crate::fs::operator::RunDirectory;
use crate::pass::Renames;
use crate::report::{Summary, say};
use crate::tree::path::escaped;

/// Files of a run directory that are looked at: those of thousands of ranks.
const NAMES_MAX: usize = 10_000_000;

fn roots_of((source, target): &(KnownRoot, KnownRoot)) -> Roots {
    [source, target].map(|root| (root.identity, root.fs_type))
}

fn name_of((source, target): &(KnownRoot, KnownRoot)) -> String {
    format!("{}.directories", known::stem_of(&source.path, &target.path))
}

/// Opens the record of this pair. One that can not be used is told by who `tells`, and costs a copy.
pub fn open(state: &Path, pair: &(KnownRoot, KnownRoot), tells: bool) -> Renames {
    let name = name_of(pair);
    let record = match Record::open(&known::directory(state), &name) {
        Ok(record) if record.is_of(&roots_of(pair)) => Some(record),
        // Another pair of trees has these paths now.
        Ok(_) => None,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            if tells {
                let path = known::directory(state).path().join(&name);
                let path = escaped(path.as_os_str().as_encoded_bytes());
                say(&format!("--detect-renames: {path} can not be read ({error}): what was renamed is copied"));
            }
            None
        }
    };
    Renames { record }
}

/// Rank 0, at the end of a run: builds the record of what all ranks met, if the run came to its end. One that was
/// stopped leaves the record that was in force, and its parts to whoever goes on with it.
pub fn keep(crew: &Crew<'_>, run: &RunDirectory, pair: &(KnownRoot, KnownRoot), summary: Option<&Summary>) {
    let mut parts: Vec<((u32, u32), String)> = Vec::new();
    for name in run.names(NAMES_MAX).unwrap_or_default() {
        let name = name.to_string_lossy();
        parts.extend(author_of_met(&name).map(|author| (author, name.clone().into_owned())));
    }
    parts.sort();
    let parts: Vec<String> = parts.into_iter().map(|(_, name)| name).collect();
    let is_over = summary.is_some_and(|summary| matches!(summary.exit_code, 0 | 23 | 24 | 25));
    if is_over && !pair.0.path.is_empty() && !pair.1.path.is_empty() {
        let roots = known::directory(&crew.config.state_dir);
        let made = roots.make().map_err(|error| error.to_string());
        let name = name_of(pair);
        let built = made.and_then(|()| {
            met::build((run, &parts), (&roots, &name), roots_of(pair)).map_err(|error| error.to_string())
        });
        if let Err(error) = built {
            say(&format!("--detect-renames: the record of this run can not be kept, the older one stays: {error}"));
        }
    }
    if !crew.keeps_checkpoint() {
        // What stays takes space in the run directory, and no more than that.
        parts.iter().for_each(|part| drop(run.remove(part)));
    }
}
