//! A plan of deletions as JSON lines: what `rm --plan` writes, people read, and `rm --apply` takes.
//!
//! The first line tells of the two trees, the last has the number of lines and their checksum. In between
//! a line for each directory in which names are to go is followed by the lines of these names.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::differences::{both_forms, raw};
use crate::tree::names::{Listed, is_name};
use crate::tree::removal::{Absent, DoomedNames, Lack, Parts, Was};
use crate::tree::{Along, Doomed, Identity, Item, Kept, Kind, Names, Proof, Time, TreePath};

/// The format that this program writes, and the only one that it reads.
pub const VERSION: u32 = 1;

/// No line of a plan is longer: a path has at most some 5,000 names of 255 bytes.
const LINE_BYTES_MAX: u64 = 8 << 20;

/// A directory's names in one item, as the walk cuts them.
const NAMES_MAX: usize = 65_536;

/// Why a file is no plan of ours.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// It can not be read.
    #[error("it can not be read: {0}")]
    Read(#[from] io::Error),
    /// A line is not what it should be.
    #[error("line {0}: {1}")]
    Line(u64, String),
    /// The last line is missing: it was not written to its end.
    #[error("it is cut off: its last line is missing")]
    CutOff,
    /// The checksum is another.
    #[error("it was altered since it was written: the checksum is another")]
    Altered,
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The format.
    pub pmirror_plan: u32,
    /// Of the program that wrote it.
    pub version: String,
    /// The run that made it.
    pub run_id: String,
    /// When, RFC 3339.
    pub made: String,
    /// The tree that lacks the names.
    pub source: PlannedRoot,
    /// The tree that has them.
    pub target: PlannedRoot,
    /// Entries of the target that the plan saw.
    pub seen: u64,
    /// Entries that are to go.
    pub planned: u64,
}

/// A root, as the plan saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedRoot {
    /// As the operator named it.
    pub path: String,
    /// Its inode.
    pub inode: u64,
    /// When that was born: seconds since 1970 and nanoseconds.
    pub birth: Option<(i64, u32)>,
    /// The number of its file system's type.
    pub fs_type: u64,
}

impl PlannedRoot {
    /// Whether it is still the same directory; its name does not matter.
    pub fn is_same(&self, other: &PlannedRoot) -> bool {
        (self.inode, self.birth, self.fs_type) == (other.inode, other.birth, other.fs_type)
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
enum Line {
    Plan(Header),
    Directory(Group),
    Entry(Entry),
    End(End),
}

/// A directory in which names are to go.
#[derive(Debug, Serialize, Deserialize)]
struct Group {
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    inode: Inode,
    /// The depth of the directory that both trees have, and both its inodes.
    depth: u32,
    source: Inode,
    target: Inode,
    #[serde(default, skip_serializing_if = "Lack::is_name")]
    lack: Lack,
    rounds: u32,
    is_first: bool,
    more: u32,
    /// It stays, for this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stays: Option<Kept>,
    /// It was not looked into: nothing of it goes.
    #[serde(default, skip_serializing_if = "is_false")]
    closed: bool,
}

/// Number and birth.
type Inode = (u64, Option<(i64, u32)>);

/// A name that is to go.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    #[serde(rename = "type")]
    kind: Kind,
    size: u64,
    uid: u32,
    gid: u32,
    inode: Inode,
    ctime: (i64, u32),
    mtime: (i64, u32),
    links: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct End {
    lines: u64,
    xxh3: String,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks for it.
fn is_false(flag: &bool) -> bool {
    !flag
}

fn pair_of(time: Time) -> (i64, u32) {
    (time.seconds, time.nanoseconds)
}

fn time_of((seconds, nanoseconds): (i64, u32)) -> Time {
    Time { seconds, nanoseconds: nanoseconds.min(999_999_999) }
}

/// An inode as numbers.
pub fn inode_of(identity: Identity) -> (u64, Option<(i64, u32)>) {
    (identity.inode, identity.birth.map(pair_of))
}

fn identity_of((inode, birth): Inode) -> Identity {
    Identity { inode, birth: birth.map(time_of) }
}

/// Writes the lines of an item of the plan, and the paths of its names, a NUL after each.
pub fn write_item(item: &Item, lines: &mut impl Write, paths: &mut impl Write) -> io::Result<()> {
    let nothing = DoomedNames { names: Names::new(), was: Vec::new(), parts: Parts::ONLY, stays: None };
    let (doomed, names, closed) = match item {
        Item::Remove { doomed, names } => (doomed, names, false),
        Item::RemoveDirectory { doomed, stays, .. } => (doomed, &DoomedNames { stays: *stays, ..nothing }, true),
        _ => return Ok(()),
    };
    let Proof::Absent(absent) = &doomed.proof else { return Ok(()) };
    let (path, path_b64) = both_forms(&doomed.path);
    write_line(
        lines,
        &Line::Directory(Group {
            path,
            path_b64,
            inode: inode_of(doomed.target),
            depth: absent.depth,
            source: inode_of(absent.source),
            target: inode_of(absent.target),
            lack: absent.lack,
            rounds: names.parts.rounds,
            is_first: names.parts.is_first,
            more: names.parts.more,
            stays: names.stays,
            closed,
        }),
    )?;
    for ((name, listed), was) in names.names.iter().zip(&names.was) {
        let path = doomed.path.join(name);
        paths.write_all(path.as_bytes())?;
        paths.write_all(b"\0")?;
        let ((path, path_b64), kind) = (both_forms(&path), listed.kind.unwrap_or(Kind::Unknown));
        let Was { identity, ctime, mtime, links, size, uid, gid } = *was;
        let (inode, ctime, mtime) = (inode_of(identity), pair_of(ctime), pair_of(mtime));
        write_line(lines, &Line::Entry(Entry { path, path_b64, kind, size, uid, gid, inode, ctime, mtime, links }))?;
    }
    Ok(())
}

fn write_line(out: &mut impl Write, line: &Line) -> io::Result<()> {
    out.write_all(super::json::compact(line)?.as_bytes())?;
    out.write_all(b"\n")
}

/// Writes a whole plan: the first line, the lines of the items, the last line.
pub fn write_plan(header: Header, mut items: impl BufRead, mut out: &mut dyn Write) -> io::Result<()> {
    let (mut lines, mut sum) = (1, Xxh3::new());
    let mut first = Vec::new();
    write_line(&mut first, &Line::Plan(header))?;
    sum.update(&first);
    out.write_all(&first)?;
    loop {
        let bytes = items.fill_buf()?;
        if bytes.is_empty() {
            break;
        }
        sum.update(bytes);
        lines += bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
        out.write_all(bytes)?;
        let used = bytes.len();
        items.consume(used);
    }
    write_line(&mut out, &Line::End(End { lines, xxh3: format!("{:016x}", sum.digest()) }))
}

/// These lines, and the last one that belongs to them.
pub fn ended(lines: &[u8]) -> Vec<u8> {
    let (mut whole, mut sum) = (lines.to_vec(), Xxh3::new());
    sum.update(lines);
    let count = lines.iter().filter(|&&byte| byte == b'\n').count() as u64;
    let end = Line::End(End { lines: count, xxh3: format!("{:016x}", sum.digest()) });
    // A vector takes all that is written to it.
    let _ = write_line(&mut whole, &end);
    whole
}

/// Reads a plan: hands each item to `visit`, and returns the first line when the last has proven all of it.
/// What was handed out before an error is not to be used.
pub fn read_plan(mut input: impl BufRead, mut visit: impl FnMut(Item)) -> Result<Header, PlanError> {
    let (mut header, mut group): (Option<Header>, Option<(Group, DoomedNames)>) = (None, None);
    let (mut sum, mut number, mut text) = (Xxh3::new(), 0, Vec::new());
    loop {
        text.clear();
        io::Read::take(&mut input, LINE_BYTES_MAX).read_until(b'\n', &mut text)?;
        if text.last() != Some(&b'\n') {
            return Err(PlanError::CutOff);
        }
        number += 1;
        let bad = |why: String| PlanError::Line(number, why);
        let line: Line = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
        match line {
            Line::Plan(first) if number == 1 && first.pmirror_plan == VERSION => header = Some(first),
            Line::Plan(first) if number == 1 => {
                return Err(bad(format!("a plan of format {}, and this program knows {VERSION}", first.pmirror_plan)));
            }
            Line::Directory(next) if header.is_some() => {
                if let Some((group, names)) = group.take() {
                    visit(item(group, names).map_err(bad)?);
                }
                let parts = Parts { rounds: next.rounds, is_first: next.is_first, more: next.more };
                let names = DoomedNames { names: Names::new(), was: Vec::new(), parts, stays: next.stays };
                group = Some((next, names));
            }
            Line::Entry(entry) => {
                let (group, names) = group.as_mut().ok_or_else(|| bad("an entry without its directory".to_owned()))?;
                add(group, names, &entry).map_err(bad)?;
            }
            Line::End(end) => {
                let header = header.ok_or_else(|| bad("the last line comes first".to_owned()))?;
                if end.lines + 1 != number || end.xxh3 != format!("{:016x}", sum.digest()) {
                    return Err(PlanError::Altered);
                }
                if let Some((group, names)) = group {
                    visit(item(group, names).map_err(bad)?);
                }
                return Ok(header);
            }
            _ => return Err(bad("not where it belongs".to_owned())),
        }
        sum.update(&text);
    }
}

/// Adds a name to its directory.
fn add(group: &Group, names: &mut DoomedNames, entry: &Entry) -> Result<(), String> {
    let path = TreePath::from(raw(&entry.path, entry.path_b64.as_ref()).as_slice());
    let directory = raw(&group.path, group.path_b64.as_ref());
    let (parent, name) = path.split_last().ok_or("an entry without a name")?;
    if parent.as_bytes() != directory.as_slice() || !is_name(name) {
        return Err("an entry that is not in its directory".to_owned());
    }
    if names.names.len() >= NAMES_MAX {
        return Err(format!("more than {NAMES_MAX} entries of a directory in one place"));
    }
    let name = std::ffi::CString::new(name).map_err(|_| "a name with a NUL".to_owned())?;
    names.names.push(&name, Listed { kind: Some(entry.kind), on_target: true });
    let (identity, ctime, mtime) = (identity_of(entry.inode), time_of(entry.ctime), time_of(entry.mtime));
    let Entry { size, uid, gid, links, .. } = *entry;
    names.was.push(Was { identity, ctime, mtime, links, size, uid, gid });
    Ok(())
}

fn item(group: Group, names: DoomedNames) -> Result<Item, String> {
    let path = TreePath::from(raw(&group.path, group.path_b64.as_ref()).as_slice());
    let is_path = path.is_root() || path.as_bytes().split(|&byte| byte == b'/').all(is_name);
    if !is_path || path.depth() < group.depth as usize {
        return Err("a directory whose path is none".to_owned());
    }
    let (source, target) = (identity_of(group.source), identity_of(group.target));
    let proof = Proof::Absent(Absent { depth: group.depth, source, target, lack: group.lack });
    let doomed = Doomed { path, target: identity_of(group.inode), proof, tries: 0 };
    Ok(match group.closed {
        true if !doomed.goes() => return Err("a directory that both trees have is not removed".to_owned()),
        true => {
            let stays = Some(names.stays.unwrap_or(Kept::HoldsFailed));
            Item::RemoveDirectory { doomed, stays, along: Along::NONE }
        }
        false => Item::Remove { doomed, names },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> Header {
        let root = |path: &str| PlannedRoot { path: path.to_owned(), inode: 2, birth: Some((1, 2)), fs_type: 0xEF53 };
        let (source, target) = (root("/a"), root("/b"));
        let text = |text: &str| text.to_owned();
        Header {
            pmirror_plan: VERSION,
            version: text("0"),
            run_id: text("r"),
            made: text("now"),
            source,
            target,
            seen: 9,
            planned: 3,
        }
    }

    fn items() -> Vec<Item> {
        let inode = |inode| Identity { inode, birth: Some(Time { seconds: 5, nanoseconds: 6 }) };
        let proof = Proof::Absent(Absent { depth: 1, source: inode(3), target: inode(4), lack: Lack::Directory });
        let at = |path: &[u8], number| Doomed {
            path: TreePath::from(path),
            target: inode(number),
            proof: proof.clone(),
            tries: 0,
        };
        let mut names = Names::new();
        names.push(c"plain", Listed { kind: Some(Kind::File), on_target: true });
        names.push(c"\xff\n", Listed { kind: Some(Kind::Directory), on_target: true });
        let ctime = Time { seconds: -1, nanoseconds: 1 };
        let was = Was { identity: inode(7), ctime, mtime: ctime, links: 4, size: 1, uid: 2, gid: 3 };
        let names = DoomedNames { names, was: vec![was, was], parts: Parts::ONLY, stays: Some(Kept::Protected) };
        vec![
            Item::Remove { doomed: at(b"a", 4), names },
            Item::RemoveDirectory { doomed: at(b"a/\xff\n", 8), stays: Some(Kept::HoldsFailed), along: Along::NONE },
        ]
    }

    fn written() -> Vec<u8> {
        let (mut lines, mut paths, mut plan) = (Vec::new(), Vec::new(), Vec::new());
        items().iter().for_each(|item| write_item(item, &mut lines, &mut paths).unwrap());
        assert_eq!(paths, b"a/plain\0a/\xff\n\0");
        write_plan(header(), lines.as_slice(), &mut plan).unwrap();
        plan
    }

    #[test]
    fn a_plan_is_read_as_it_was_written() {
        let mut read = Vec::new();
        assert_eq!(read_plan(written().as_slice(), |item| read.push(item)).unwrap(), header());
        assert_eq!(read, items());
    }

    #[test]
    fn a_plan_that_is_cut_off_anywhere_is_none() {
        let whole = written();
        for end in 0..whole.len() {
            assert!(read_plan(whole.get(..end).unwrap(), drop).is_err(), "{end}");
        }
    }

    proptest! {
        #[test]
        fn a_plan_of_which_one_byte_is_another_is_none(at in 0usize..10_000, bit in 0u8..8) {
            let mut plan = written();
            let at = at % plan.len();
            plan[at] ^= 1 << bit;
            prop_assert!(read_plan(plan.as_slice(), drop).is_err(), "{at}");
        }
    }
}
