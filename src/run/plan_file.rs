//! Plans of deletions in files: `rm --plan` writes one, `rm --apply` takes it.

use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;

use super::agree::{agree, from_root};
use super::begin::Begun;
use super::crew::Crew;
use super::lists;
use super::prune::Judged;
use crate::counters::{Counters, Slot};
use crate::engine::{Engine, Extent};
use crate::fault::Error;
use crate::fs::operator;
use crate::report::plan::{self, Header, PlannedRoot};
use crate::sched::Rank;
use crate::tree::names::Listed;
use crate::tree::path::escaped;
use crate::tree::removal::{DoomedNames, Lack, kinds};
use crate::tree::{Fate, Identity, Item, Kept, Kind, Names, Proof};

/// Every rank writes its part of the plan into the run directory; rank 0 makes one file of them.
pub fn write(
    engine: &mut Engine<'_>,
    crew: &Crew<'_>,
    begun: &Begun,
    judged: &Judged,
    file: &Path,
) -> Result<(), Error> {
    let mine = write_part(engine, crew, begun).map_err(|error| unusable(file, &error));
    let planned: u64 = agree(engine.comm(), &crew.roster, mine)?.into_iter().sum();
    let joined = if crew.is_root() {
        join(crew, begun, judged, planned, file).map_err(|error| unusable(file, &error))
    } else {
        Ok(())
    };
    agree(engine.comm(), &crew.roster, joined).map(|_| ())
}

fn unusable(file: &Path, error: &io::Error) -> Error {
    let file = escaped(file.as_os_str().as_encoded_bytes());
    Error::Fatal(format!("the plan {file} can not be written: {error}; name a file where there is room, with --plan"))
}

fn part_name(rank: Rank, ending: &str) -> String {
    format!("plan-{}.{ending}", rank.0)
}

/// Writes what this rank has planned, what is held left aside. Returns how many entries that is.
fn write_part(engine: &mut Engine<'_>, crew: &Crew<'_>, begun: &Begun) -> io::Result<u64> {
    let create = |ending| begun.run_directory.create_part(&part_name(crew.rank(), ending)).map(BufWriter::new);
    let (mut lines, mut paths) = (create("jsonl")?, create("nul")?);
    let (mut planned, mut held) = (0, Counters::default());
    while let Some(item) = engine.take_planned() {
        if let Some(item) = without_held(begun, item, &mut held) {
            planned += if let Item::Remove { names, .. } = &item { names.names.len() as u64 } else { 0 };
            plan::write_item(&item, &mut lines, &mut paths)?;
        }
    }
    lines.flush()?;
    paths.flush()?;
    engine.count(&held);
    Ok(planned)
}

/// An item without the names that a guard holds.
fn without_held(begun: &Begun, item: Item, held: &mut Counters) -> Option<Item> {
    let context = &begun.context;
    match item {
        Item::RemoveDirectory { doomed, .. } if context.is_held(&doomed.path) => None,
        Item::Remove { doomed, names } if context.is_held(&doomed.path) => {
            kinds(&names.names).for_each(|kind| held.add(Slot::Removal(kind, Fate::Held), 1));
            None
        }
        Item::Remove { doomed, names } => {
            let DoomedNames { names: list, was, parts, mut stays } = names;
            let (mut left, mut was_left) = (Names::new(), Vec::new());
            for ((name, listed), was) in list.iter().zip(was) {
                if listed.kind == Some(Kind::Directory) && context.is_held(&doomed.path.join(name)) {
                    held.add(Slot::Removal(Kind::Directory, Fate::Held), 1);
                    stays = stays.max(Some(Kept::HoldsHeld));
                } else {
                    left.push(name, Listed { ..listed });
                    was_left.push(was);
                }
            }
            Some(Item::Remove { doomed, names: DoomedNames { names: left, was: was_left, parts, stays } })
        }
        item => Some(item),
    }
}

fn join(crew: &Crew<'_>, begun: &Begun, judged: &Judged, planned: u64, file: &Path) -> io::Result<()> {
    let (directory, ranks) = (&begun.run_directory, u32::try_from(crew.roster.hosts.len()).unwrap_or(u32::MAX));
    let part = |rank, ending| Extent { name: part_name(Rank(rank), ending), bytes: u64::MAX };
    for (ending, whole) in [("jsonl", "plan.jsonl"), ("nul", "plan.nul")] {
        directory.remove(whole)?;
        let parts: Vec<Extent> = (0..ranks).map(|rank| part(rank, ending)).collect();
        lists::join_parts(directory, &parts, whole)?;
        lists::remove(directory, &parts)?;
    }
    let (source, target) = roots(crew, begun);
    let header = Header {
        pmirror_plan: plan::VERSION,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        run_id: crew.config.run_id.clone(),
        made: jiff::Timestamp::now().to_string(),
        source,
        target,
        seen: judged.seen,
        planned,
    };
    operator::write_named(file, |out| plan::write_plan(header, BufReader::new(directory.open("plan.jsonl")?), out))?;
    let mut names = file.as_os_str().to_owned();
    names.push(".nul");
    operator::write_named(Path::new(&names), |out| io::copy(&mut directory.open("plan.nul")?, out).map(drop))?;
    directory.remove("plan.jsonl").and_then(|()| directory.remove("plan.nul"))
}

fn roots(crew: &Crew<'_>, begun: &Begun) -> (PlannedRoot, PlannedRoot) {
    let root = |path: &std::ffi::CStr, identity: Identity, fs_type| {
        let (inode, birth) = plan::inode_of(identity);
        PlannedRoot { path: escaped(path.to_bytes()), inode, birth, fs_type }
    };
    let (config, item) = (crew.config, &begun.root);
    let target = item.target.unwrap_or(Identity { inode: 0, birth: None });
    (root(&config.source, item.source, begun.fs_types.0), root(&config.target, target, begun.fs_types.1))
}

/// Rank 0 takes the plan in a file as its own. Returns on every rank how many entries of DST that plan saw.
pub fn read(engine: &mut Engine<'_>, crew: &Crew<'_>, begun: &Begun, file: &Path) -> Result<u64, Error> {
    let header = if crew.is_root() { proven(crew, begun, file).map(Some) } else { Ok(None) };
    let taken = match &header {
        Ok(Some(_)) => take(engine, file),
        Ok(None) => Ok(()),
        Err(error) => Err(error.clone()),
    };
    agree(engine.comm(), &crew.roster, taken)?;
    from_root(engine.comm(), &crew.roster, || Ok(header.ok().flatten().map_or(0, |header| header.seen)))
}

fn no_plan(file: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::Usage(format!("--apply {}: {why}", escaped(file.as_os_str().as_encoded_bytes())))
}

fn open(file: &Path) -> Result<BufReader<std::fs::File>, Error> {
    operator::open_regular(file).map(BufReader::new).map_err(|error| no_plan(file, &error))
}

/// Reads the plan to its end before anything of it is used, and compares its roots with ours.
fn proven(crew: &Crew<'_>, begun: &Begun, file: &Path) -> Result<Header, Error> {
    let mut lets_through = false;
    let look = |item: Item| {
        if let Item::Remove { doomed, .. } | Item::RemoveDirectory { doomed, .. } = item
            && let Proof::Absent(absent) = doomed.proof
        {
            lets_through |= absent.lack == Lack::LetThrough;
        }
    };
    let header = plan::read_plan(open(file)?, look).map_err(|error| no_plan(file, &error))?;
    if lets_through && !crew.config.delete_excluded {
        let text = "it was made with --delete-excluded, and has names that SRC may have: give --delete-excluded again";
        return Err(no_plan(file, &text));
    }
    let (source, target) = roots(crew, begun);
    for (name, planned, here) in [("SRC", &header.source, &source), ("DST", &header.target, &target)] {
        if !planned.is_same(here) {
            return Err(Error::Refused(format!(
                "the plan {} was made for another {name}: {} was inode {} then, {} is inode {} now; make a new plan",
                escaped(file.as_os_str().as_encoded_bytes()),
                planned.path,
                planned.inode,
                here.path,
                here.inode
            )));
        }
    }
    Ok(header)
}

fn take(engine: &mut Engine<'_>, file: &Path) -> Result<(), Error> {
    let mut broken = None;
    let read = plan::read_plan(open(file)?, |item| {
        let mut counters = Counters::default();
        if let Item::Remove { names, .. } = &item {
            kinds(&names.names).for_each(|kind| counters.add(Slot::Planned(kind), 1));
        }
        engine.count(&counters);
        broken = engine.plan(vec![item]).err().or(broken.take());
    });
    read.map_err(|error| no_plan(file, &error))?;
    broken.map_or(Ok(()), Err)
}
