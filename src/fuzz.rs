//! Every decoder of bytes that come from outside of a process, by name: for the targets of `fuzz/` and for the corpora
//! there (`tests/corpora.rs`). None may panic, or allocate more than its bound and what is in proportion to its input.

use std::fmt::Debug;

use bincode::{Decode, Encode};
use clap::CommandFactory;

use crate::engine::checkpoint::{self, Manifest, PartReader, Piece};
use crate::engine::{FaultGroup, bag};
use crate::fault::Error;
use crate::fs::{in_flight, met, path_list};
use crate::report::{differences, plan, remarks};
use crate::run::holder::Holder;
use crate::run::story::Story;
use crate::run::trash::Record;
use crate::run::{again, failed, known, suspects};
use crate::settings;
use crate::slurm::{self, Environment, Library};
use crate::started::Started;
use crate::tree::filter::{Bounds, Filter, add_rules_of_file};
use crate::tree::listed::{self, Extent, Groups, Text};
use crate::tree::remark::What;
use crate::tree::{Item, Time, TreePath, layout};
use crate::{
    cli::{self, Cli},
    wire,
};

/// A decoder.
#[derive(Clone, Copy)]
pub struct Decoder {
    /// Of the target, and of its corpus.
    pub name: &'static str,
    /// Decodes, checks what must hold of the result, and tells whether there is one.
    pub decode: fn(&[u8]) -> bool,
    /// What it may allocate at once, beside what is in proportion to the input.
    pub bytes_max: usize,
}

const MESSAGE: usize = wire::MESSAGE_BYTES_MAX;
const SMALL: usize = 1 << 20;
/// A compiled pattern, or the definition of the command line.
const MEDIUM: usize = 16 << 20;

/// All of them.
pub const DECODERS: &[Decoder] = &[
    Decoder { name: "messages", decode: messages, bytes_max: MESSAGE },
    Decoder { name: "items", decode: items, bytes_max: MESSAGE },
    Decoder { name: "spilled_items", decode: spilled_items, bytes_max: MESSAGE },
    Decoder { name: "link_notes", decode: link_notes, bytes_max: MESSAGE },
    Decoder { name: "agreement", decode: agreement, bytes_max: MESSAGE },
    Decoder { name: "checkpoint_part", decode: checkpoint_part, bytes_max: MESSAGE },
    Decoder { name: "checkpoint_piece", decode: checkpoint_piece, bytes_max: MESSAGE },
    Decoder { name: "checkpoint_manifest", decode: checkpoint_manifest, bytes_max: MESSAGE },
    Decoder { name: "checkpoint_story", decode: checkpoint_story, bytes_max: MESSAGE },
    Decoder { name: "plan", decode: plan, bytes_max: SMALL },
    Decoder { name: "path_list", decode: path_list, bytes_max: SMALL },
    Decoder { name: "sorted_list", decode: sorted_list, bytes_max: SMALL },
    Decoder { name: "patterns", decode: patterns, bytes_max: MEDIUM },
    Decoder { name: "command_record", decode: command_record, bytes_max: MEDIUM },
    Decoder { name: "known_record", decode: known_record, bytes_max: SMALL },
    Decoder { name: "directory_part", decode: directory_part, bytes_max: SMALL },
    Decoder { name: "directory_record", decode: directory_record, bytes_max: MEDIUM },
    Decoder { name: "lock", decode: lock, bytes_max: SMALL },
    Decoder { name: "trash_record", decode: trash_record, bytes_max: SMALL },
    Decoder { name: "in_flight", decode: in_flight, bytes_max: SMALL },
    Decoder { name: "suspects", decode: suspects, bytes_max: SMALL },
    Decoder { name: "summary", decode: summary, bytes_max: SMALL },
    Decoder { name: "fault_list", decode: fault_list, bytes_max: SMALL },
    Decoder { name: "difference_list", decode: difference_list, bytes_max: SMALL },
    Decoder { name: "remark_list", decode: remark_list, bytes_max: SMALL },
    Decoder { name: "lustre_layout", decode: lustre_layout, bytes_max: SMALL },
    Decoder { name: "option_values", decode: option_values, bytes_max: SMALL },
    Decoder { name: "settings", decode: settings, bytes_max: MEDIUM },
    Decoder { name: "environment", decode: environment, bytes_max: SMALL },
];

/// What was decoded is encoded to the same bytes.
fn comes_back<T: Encode + Decode<()>>(bytes: &[u8]) -> Option<T> {
    let value = wire::decode("value", bytes).ok()?;
    assert!(wire::encode(&value) == bytes, "it is encoded to other bytes");
    Some(value)
}

/// What was decoded twice is the same.
fn assert_same<T: PartialEq + Debug>(first: &T, second: &T) {
    assert!(first == second, "{first:?} came back as {second:?}");
}

/// What holds of items that were let in: whoever works on them relies on it.
fn assert_sound(items: &[Item]) {
    for item in items {
        assert!(wire::is_sound(item) && item.bytes() > 0 && item.weight() < 1 << 50 && item.entries().1 < 1 << 50);
    }
}

/// Messages between ranks.
pub fn messages(bytes: &[u8]) -> bool {
    let Ok(posts) = wire::decode_posts(bytes) else { return false };
    let mut again = Vec::new();
    posts.iter().for_each(|post| wire::append_post(&mut again, post));
    // A duration has more than one encoding.
    assert_same(&Ok(posts), &wire::decode_posts(&again));
    true
}

/// A list of items.
pub fn items(bytes: &[u8]) -> bool {
    let Ok(items) = wire::decode_items(bytes) else { return false };
    assert_sound(&items);
    comes_back::<Vec<Item>>(bytes).is_some()
}

/// A file that a bag was spilled to.
pub fn spilled_items(bytes: &[u8]) -> bool {
    bag::items_of(bytes).is_ok_and(|items| {
        assert_sound(&items);
        true
    })
}

/// Notes on inodes of several names, in files that a table was spilled to and in checkpoints.
pub fn link_notes(bytes: &[u8]) -> bool {
    let Ok(notes) = wire::decode_notes(bytes) else { return false };
    let mut again = Vec::new();
    notes.iter().for_each(|note| wire::append_note(&mut again, note));
    assert_same(&Ok(notes), &wire::decode_notes(&again));
    true
}

/// What ranks bring to an agreement: how the run was started, an error, what was counted.
pub fn agreement(bytes: &[u8]) -> bool {
    type Part = (Vec<u64>, Vec<(FaultGroup, u64)>);
    // A map has one order, so it need not come back as it was.
    let started = wire::decode::<Result<Option<Started>, Error>>("part", bytes).is_ok();
    let counted = comes_back::<Result<Part, Error>>(bytes).is_some();
    started || counted
}

/// A rank's part of a checkpoint.
pub fn checkpoint_part(bytes: &[u8]) -> bool {
    let Ok((mut reader, _)) = PartReader::begin("part", bytes) else { return false };
    loop {
        match reader.next() {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// A frame of it, whose checksum is right.
pub fn checkpoint_piece(bytes: &[u8]) -> bool {
    let Some(piece) = comes_back::<Piece>(bytes) else { return false };
    if let (Piece::Items(_, items), true) = (&piece, checkpoint::is_sound(&piece)) {
        assert_sound(items);
    }
    checkpoint::is_sound(&piece)
}

/// What puts a checkpoint in force.
pub fn checkpoint_manifest(bytes: &[u8]) -> bool {
    let read = PartReader::begin("manifest", bytes).and_then(|(reader, header)| Manifest::of(reader, header));
    // Behind the checksums.
    let is_any = comes_back::<Manifest>(bytes).is_some();
    read.is_ok() || is_any
}

/// Where in its story a run is.
pub fn checkpoint_story(bytes: &[u8]) -> bool {
    comes_back::<Story>(bytes).is_some()
}

/// A plan of deletions; or its lines without the last, which has the checksum.
pub fn plan(bytes: &[u8]) -> bool {
    let read = |text: &[u8]| {
        let mut items = Vec::new();
        plan::read_plan(text, |item| items.push(item)).map(|header| (header, items))
    };
    let Ok((header, items)) = read(bytes).or_else(|_| read(&plan::ended(bytes))) else { return false };
    assert_sound(&items);
    let (mut lines, mut names, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for item in &items {
        assert!(plan::write_item(item, &mut lines, &mut names).is_ok());
    }
    assert!(plan::write_plan(header.clone(), lines.as_slice(), &mut again).is_ok());
    assert_same(&Some((header, items)), &read(&again).ok());
    true
}

/// What `--files-from` names.
pub fn path_list(bytes: &[u8]) -> bool {
    let read = |nul_ends| {
        path_list::for_each_listed(bytes, nul_ends, |path| {
            assert!(wire::path_is_sound(&TreePath::from(path)), "a path that leaves the tree: {path:?}");
            Ok(())
        })
    };
    let (lines, records) = (read(false).is_ok(), read(true).is_ok());
    lines || records
}

struct Bytes<'b>(&'b [u8]);

impl Text for Bytes<'_> {
    type Error = ();

    // Small, so that short texts are cut, too.
    const RECORD_BYTES_MAX: usize = 64;

    fn read(&self, at: u64, length: usize) -> Result<Vec<u8>, ()> {
        let rest = usize::try_from(at).ok().and_then(|at| self.0.get(at..)).unwrap_or_default();
        Ok(rest.get(..length).unwrap_or(rest).to_vec())
    }

    fn is_broken(&self) {}
}

/// The sorted list in the run directory.
pub fn sorted_list(bytes: &[u8]) -> bool {
    let (text, whole) = (Bytes(bytes), Extent { start: 0, end: bytes.len() as u64 });
    let mut are_sound = listed::for_each_path(&text, whole, |_| {}).is_ok();
    for directory in [TreePath::root(), TreePath::from(&b"a"[..])] {
        let mut groups = Groups::new(&text, &directory, whole);
        are_sound &= groups.cut(200).is_ok() || !directory.is_root();
        while let Ok(Some(group)) = groups.next() {
            assert!(group.below.start <= group.below.end && group.below.end <= whole.end);
        }
        are_sound &= groups.rest().is_empty() || !directory.is_root();
    }
    are_sound
}

/// `--exclude-from`.
pub fn patterns(bytes: &[u8]) -> bool {
    [false, true].into_iter().any(|nul_ends| {
        let mut rules = Vec::new();
        let added = add_rules_of_file(&mut rules, bytes, nul_ends);
        added.is_ok() && Filter::new(&rules, &Bounds::default(), Time::default()).is_ok()
    })
}

/// `command.json`: how a run was started.
pub fn command_record(bytes: &[u8]) -> bool {
    let Ok(started) = Started::of_json(bytes) else { return false };
    started.digest();
    started.command_line().is_ok()
}

/// What an earlier run knew of the trees.
pub fn known_record(bytes: &[u8]) -> bool {
    known::of_json(bytes).is_ok_and(|known| known.is_ok())
}

/// The directories that a rank met, up to where its part is cut.
pub fn directory_part(bytes: &[u8]) -> bool {
    let mut all = 0;
    let read = met::for_each_met(bytes, |met| {
        assert!(wire::path_is_sound(&met.path) && !met.path.is_root());
        all += met::framed(&met).len();
        Ok(())
    });
    // What was met comes back, and all of it was.
    read.is_ok() && all == bytes.len()
}

/// The record of the directories that a run met.
pub fn directory_record(bytes: &[u8]) -> bool {
    let Ok(record) = met::Record::of(bytes) else { return false };
    (0..16).filter_map(|number| record.bucket(number).ok()).flatten().all(|met| {
        // It may stand where nobody looks for it; found is what was asked for.
        record.find(&met.origin).is_none_or(|found| found.origin == met.origin)
    })
}

/// What the trash of a run says of it.
pub fn trash_record(bytes: &[u8]) -> bool {
    let Some(record) = Record::of_json(bytes) else { return false };
    let again = serde_json::to_vec(&record).unwrap_or_default();
    assert_same(&Some(&record), &Record::of_json(&again).as_ref());
    record.when().is_some()
}

/// The lock in `DST/.pmirror/`.
pub fn lock(bytes: &[u8]) -> bool {
    let Some(holder) = Holder::from_bytes(bytes) else { return false };
    assert_same(&Some(&holder), &Holder::from_bytes(&holder.to_bytes()).as_ref());
    let mut next = Holder::unreadable(bytes);
    next.inherit(&holder);
    let _ = (holder.doubt(), next.doubt(), next.partly(Time::default()).doubt());
    true
}

/// What workers had under work.
pub fn in_flight(bytes: &[u8]) -> bool {
    in_flight::of_slots(bytes).count() > 0
}

/// What ended earlier attempts.
pub fn suspects(bytes: &[u8]) -> bool {
    suspects::of_json(bytes).is_ok()
}

/// `summary.json`, as far as `retry` reads it.
pub fn summary(bytes: &[u8]) -> bool {
    again::is_summary(bytes)
}

/// `faults.jsonl`, which `retry` reads.
pub fn fault_list(bytes: &[u8]) -> bool {
    failed::is_list(bytes)
}

/// `differences.jsonl`, which rank 0 prints.
pub fn difference_list(bytes: &[u8]) -> bool {
    let printed = differences::shown(bytes).is_ok();
    let is_sorted = std::str::from_utf8(bytes).is_ok_and(|text| differences::sorted(text).is_ok());
    printed && is_sorted
}

/// `notes.jsonl`, of which the summary names some.
pub fn remark_list(bytes: &[u8]) -> bool {
    remarks::first(bytes, What::CtimeAfterStart, usize::MAX).is_ok()
}

/// The attribute `lustre.lov` of a source file.
pub fn lustre_layout(bytes: &[u8]) -> bool {
    match layout::plan(Some(bytes)) {
        layout::Plan::Ask(request) => {
            assert_eq!(request.len(), bytes.len(), "a request has the length of what it was made from");
            true
        }
        layout::Plan::Ordinary | layout::Plan::Unfit => false,
    }
}

/// Values of options.
pub fn option_values(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(cli::is_taken_by_some)
}

/// `pmirror.toml`.
pub fn settings(bytes: &[u8]) -> bool {
    let Ok(settings) = settings::read(bytes, "pmirror.toml", b"/directory") else { return false };
    for file_system in &settings.file_systems.all {
        let named = [file_system.name.as_bytes(), b":/below"].concat();
        let path = settings.file_systems.expand(&named).ok().flatten().unwrap_or_default();
        assert!(path.starts_with(&file_system.path) && path.ends_with(b"/below"), "{path:?}");
        assert!(file_system.path.starts_with(b"/"), "{file_system:?}");
    }
    // What is taken from the file is a command line that there is.
    let given = Cli::command().try_get_matches_from(["pmirror", "sync", "/source", "/target"]);
    given.is_ok_and(|given| settings.layered(given).is_ok())
}

/// Variables of the environment, one a line.
pub fn environment(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let environment: Environment = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    for library in [Library::OpenMpi, Library::Mpich, Library::Other, Library::None] {
        let _ = slurm::launch(&environment, library);
    }
    let _ = (slurm::job_end(&environment), slurm::memory(&environment));
    slurm::job(&environment).is_some()
}

#[cfg(test)]
mod tests;
