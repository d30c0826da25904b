//! What ended earlier attempts of this run: learned when it begins again, so that one poisonous file can
//! not end every requeue.

use serde::{Deserialize, Serialize};

use super::agree::{Roster, from_root};
use crate::comm::Comm;
use crate::fault::Error;
use crate::fs::in_flight;
use crate::fs::operator::RunDirectory;
use crate::report::{json, say};
use crate::started::Word;
use crate::tree::TreePath;
use crate::tree::suspects::Suspects;

const FILE: &str = "suspects.json";

/// More than two lists of the longest paths take.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// What is kept between attempts.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    watched: Vec<Word>,
    set_aside: Vec<Word>,
}

/// Rank 0 reads what the workers of an attempt that died had under work, and tells all.
pub fn learn(directory: &RunDirectory, comm: &mut dyn Comm, roster: &Roster) -> Result<Suspects, Error> {
    from_root(comm, roster, || {
        // A run that can not look for them goes on as if there were none.
        Ok(look(directory).unwrap_or_else(|error| {
            say(&format!("what ended an earlier attempt is not known, and nothing is set aside for it: {error}"));
            Suspects::default()
        }))
    })
}

fn look(directory: &RunDirectory) -> std::io::Result<Suspects> {
    let mut suspects = load(directory)?;
    let left = in_flight::left(directory)?;
    if left.is_empty() {
        in_flight::forget(directory)?;
        return Ok(suspects);
    }
    let in_flight = left.into_iter().map(|left| (TreePath::from(left.directory.as_slice()), left.name));
    for path in suspects.learn(in_flight) {
        say(&format!("{path} was under work when two attempts died: it is set aside"));
    }
    // Only what is kept durably may be forgotten where it was.
    save(directory, &suspects)?;
    in_flight::forget(directory)?;
    Ok(suspects)
}

fn load(directory: &RunDirectory) -> std::io::Result<Suspects> {
    match directory.read(FILE, FILE_BYTES_MAX) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Suspects::default()),
        text => of_json(&text?).map_err(|error| std::io::Error::other(format!("{FILE}: {error}"))),
    }
}

/// What the file says.
pub fn of_json(text: &[u8]) -> serde_json::Result<Suspects> {
    let kept: Kept = serde_json::from_slice(text)?;
    let paths = |words: Vec<Word>| words.into_iter().map(|word| TreePath::from(word.0.as_slice())).collect();
    Ok(Suspects { watched: paths(kept.watched), aside: paths(kept.set_aside) })
}

fn save(directory: &RunDirectory, suspects: &Suspects) -> std::io::Result<()> {
    let words = |paths: &std::collections::BTreeSet<TreePath>| {
        paths.iter().map(|path| Word(path.as_bytes().to_vec())).collect()
    };
    let kept = Kept { watched: words(&suspects.watched), set_aside: words(&suspects.aside) };
    directory.write(FILE, json::pretty(&kept)?.as_bytes())
}

/// The run has come to its end: the next one with this id begins anew.
pub fn forget(directory: &RunDirectory) {
    let _ = directory.remove(FILE);
}
