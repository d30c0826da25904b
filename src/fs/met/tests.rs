//! What is met comes back, and nothing else does.

use super::*;
use crate::fs::operator::RunDirectory;
use crate::tree::met::Origin;
use crate::tree::{Identity, Time, TreePath};
use std::io::Write;

const ROOTS: Roots = [(Identity { inode: 2, birth: None }, 1), (Identity { inode: 3, birth: None }, 1)];

fn met(number: u64, path: &str) -> Met {
    let born = Time { seconds: i64::try_from(number).unwrap(), nanoseconds: 7 };
    let origin = Origin { mount: number % 3, inode: number, born };
    Met { origin, path: TreePath::from(path.as_bytes()), inode: number + 1, born }
}

struct Place {
    _state: tempfile::TempDir,
    run: RunDirectory,
    roots: RunDirectory,
}

impl Place {
    fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let (run, roots) = (RunDirectory::new(state.path(), "run"), RunDirectory::new(state.path(), "roots"));
        run.make().unwrap();
        roots.make().unwrap();
        Self { _state: state, run, roots }
    }

    fn part(&self, name: &str, all: &[Met], and_bytes: &[u8]) -> String {
        let mut file = self.run.create_part(name).unwrap();
        all.iter().for_each(|met| file.write_all(&framed(met)).unwrap());
        file.write_all(and_bytes).unwrap();
        name.to_owned()
    }

    fn build(&self, parts: &[String]) -> Record {
        build((&self.run, parts), (&self.roots, "record"), ROOTS).unwrap();
        Record::open(&self.roots, "record").unwrap()
    }
}

#[test]
fn each_directory_of_every_part_is_found_and_no_other() {
    let place = Place::new();
    // Enough for several partitions.
    let long = "directory/".repeat(8);
    let all: Vec<Met> = (0..30_000).map(|number| met(number, &format!("{long}{number}"))).collect();
    let (one, other) = all.split_at(10_000);
    let record = place.build(&[place.part("one", one, b""), place.part("other", other, b"")]);
    assert_eq!(record.directories(), 30_000);
    assert!(all.iter().step_by(50).all(|met| record.find(&met.origin).as_ref() == Some(met)));
    for number in 0..100 {
        let origin = met(number, "x").origin;
        assert_eq!(record.find(&Origin { inode: number + 30_000, ..origin }), None);
        assert_eq!(record.find(&Origin { mount: 9, ..origin }), None);
    }
    assert_eq!(place.run.names(10).unwrap().len(), 2, "the scratch file is gone");
}

#[test]
fn of_what_was_met_twice_the_later_word_counts() {
    let place = Place::new();
    let (earlier, later) = (met(7, "a"), met(7, "b"));
    let record = place.build(&[
        place.part("one", &[met(6, "x"), earlier], b""),
        place.part("two", std::slice::from_ref(&later), b""),
    ]);
    assert_eq!((record.find(&later.origin), record.directories()), (Some(later), 2));
}

#[test]
fn a_part_that_is_cut_counts_up_to_there() {
    let place = Place::new();
    let cut = framed(&met(3, "c"));
    let record = place.build(&[place.part("one", &[met(1, "a"), met(2, "b")], &cut[..cut.len() - 1])]);
    assert_eq!(record.directories(), 2);
    assert_eq!(record.find(&met(2, "b").origin), Some(met(2, "b")));
}

#[test]
fn without_a_part_the_record_is_empty() {
    let place = Place::new();
    let record = place.build(&[]);
    assert_eq!((record.directories(), record.find(&met(1, "a").origin)), (0, None));
}

#[test]
fn what_was_born_after_all_that_was_met_needs_no_look() {
    let place = Place::new();
    let record = place.build(&[place.part("one", &[met(5, "a")], b"")]);
    // The mount is not looked at, nor anything else.
    let bytes = place.roots.read("record", 1 << 20).unwrap();
    let header_only = Record::of(bytes.get(..256).unwrap()).unwrap();
    assert_eq!(header_only.find(&Origin { born: Time { seconds: 5, nanoseconds: 8 }, ..met(5, "a").origin }), None);
    assert!(header_only.bucket(0).is_err() && record.bucket(0).is_ok());
}

#[test]
fn no_flipped_bit_brings_anything_but_what_was_met() {
    let place = Place::new();
    let all = [met(1, "a"), met(2, "b/c"), met(3, "d")];
    place.build(&[place.part("one", &all, b"")]);
    let whole = place.roots.read("record", 1 << 20).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let Ok(record) = Record::of(bytes.as_slice()) else { continue };
        for met in &all {
            assert!(record.find(&met.origin).is_none_or(|found| found == *met), "bit {bit}");
        }
    }
    for end in 0..whole.len() {
        if let Ok(record) = Record::of(&whole[..end]) {
            assert!(all.iter().all(|met| record.find(&met.origin).is_none_or(|found| found == *met)), "cut at {end}");
        }
    }
}

#[test]
fn a_record_of_other_roots_is_told() {
    let place = Place::new();
    let record = place.build(&[]);
    let [source, target] = ROOTS;
    assert!(record.is_of(&ROOTS));
    assert!(!record.is_of(&[target, source]) && !record.is_of(&[source, (target.0, 2)]));
}
