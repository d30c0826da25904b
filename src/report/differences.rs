//! The differences that `cmp` finds: a line each in `differences.jsonl`, and how they are printed.

use std::io::{self, BufRead, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::tree::itemize::{Trigger, letters};
use crate::tree::path::escaped;
use crate::tree::{Aspect, Attributes, Difference, Kind, Time, TreePath};

/// How differences are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// What differs, then the path: for people.
    Text,
    /// rsync's eleven letters, then the path.
    Itemized,
    /// The lines of `differences.jsonl`.
    Jsonl,
    /// Paths only, raw, a NUL after each.
    Paths,
}

/// A line of `differences.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    kind: Kind,
    differs: Vec<Aspect>,
    itemize: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<Entry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<Entry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link_of: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link_of_b64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    renamed_from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    renamed_from_b64: Option<String>,
}

/// What an entry was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    kind: Kind,
    size: u64,
    mtime: String,
    mode: String,
    uid: u32,
    gid: u32,
    links: u32,
    inode: u64,
}

impl From<&Attributes> for Entry {
    fn from(of: &Attributes) -> Self {
        let Attributes { kind, size, uid, gid, links, .. } = *of;
        let Time { seconds, nanoseconds } = of.mtime;
        let (mtime, mode) = (format!("{seconds}.{nanoseconds:09}"), format!("{:04o}", of.mode));
        Self { kind, size, mtime, mode, uid, gid, links, inode: of.identity.inode }
    }
}

/// A path as text, and as base64 where that is not all of it.
pub fn both_forms(path: &TreePath) -> (String, Option<String>) {
    match std::str::from_utf8(path.as_bytes()) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (escaped(path.as_bytes()), Some(STANDARD.encode(path.as_bytes()))),
    }
}

/// The bytes of a path in both forms.
pub fn raw(text: &str, base64: Option<&String>) -> Vec<u8> {
    base64.and_then(|base64| STANDARD.decode(base64).ok()).unwrap_or_else(|| text.as_bytes().to_vec())
}

impl Line {
    /// The line of a difference.
    pub fn new(difference: &Difference, trigger: Trigger) -> Self {
        let (path, path_b64) = both_forms(&difference.path);
        let leader = difference.leader.as_ref().map(both_forms);
        let (other, other_b64) = leader.map_or((None, None), |(text, base64)| (Some(text), base64));
        let is_renamed = difference.aspects.has(Aspect::Renamed);
        let (link, renamed) = ((other, other_b64), (None, None));
        let (link, renamed) = if is_renamed { (renamed, link) } else { (link, renamed) };
        let ((link_of, link_of_b64), (renamed_from, renamed_from_b64)) = (link, renamed);
        Self {
            path,
            path_b64,
            kind: difference.kind,
            differs: difference.aspects.iter().collect(),
            itemize: letters(difference.kind, difference.aspects, trigger),
            source: difference.source.as_deref().map(Entry::from),
            target: difference.target.as_deref().map(Entry::from),
            link_of,
            link_of_b64,
            renamed_from,
            renamed_from_b64,
        }
    }

    /// The path below the roots.
    pub fn path(&self) -> Vec<u8> {
        raw(&self.path, self.path_b64.as_ref())
    }

    /// Prints it.
    fn print(&self, manner: Manner, json: &str, out: &mut impl Write) -> io::Result<()> {
        match manner {
            Manner::Text => {
                writeln!(out, "{:<WIDTH$} {}{}", self.what(), self.shown(), self.leader(" should be a link of "))
            }
            Manner::Itemized => {
                writeln!(out, "{} {}{}{}", self.itemize, self.shown(), self.leader(" => "), self.old_name())
            }
            Manner::Jsonl => writeln!(out, "{json}"),
            Manner::Paths => {
                let path = self.path();
                out.write_all(if path.is_empty() { b"." } else { &path })?;
                out.write_all(b"\0")
            }
        }
    }

    /// In words, what differs.
    fn what(&self) -> String {
        match self.differs.as_slice() {
            [Aspect::SourceOnly] => "only in SRC".to_owned(),
            [Aspect::TargetOnly] => "only in DST".to_owned(),
            aspects => aspects.iter().map(|aspect| aspect.word()).collect::<Vec<_>>().join(" "),
        }
    }

    /// The path for people and for rsync's users: the root is `./`, a directory ends with a slash.
    fn shown(&self) -> String {
        let slash = if self.kind == Kind::Directory { "/" } else { "" };
        let path = self.path();
        if path.is_empty() { "./".to_owned() } else { format!("{}{slash}", escaped(&path)) }
    }

    fn old_name(&self) -> String {
        let text = |old: &String| format!(" <= {}/", escaped(&raw(old, self.renamed_from_b64.as_ref())));
        self.renamed_from.as_ref().map(text).unwrap_or_default()
    }

    fn leader(&self, words: &str) -> String {
        let text = |link: &String| format!("{words}{}", escaped(&raw(link, self.link_of_b64.as_ref())));
        self.link_of.as_ref().map(text).unwrap_or_default()
    }
}

/// Wide enough for what most lines say.
const WIDTH: usize = 16;

/// Prints at most `lines_max` lines of a list to stdout.
pub fn print(list: impl BufRead, manner: Manner, lines_max: u64) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    super::unless_gone(write(list, manner, lines_max, &mut out).and_then(|()| out.flush()))
}

/// What people see of a list.
pub fn shown(list: &[u8]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for manner in [Manner::Text, Manner::Itemized, Manner::Jsonl, Manner::Paths] {
        write(list, manner, u64::MAX, &mut text)?;
    }
    Ok(text)
}

fn write(list: impl BufRead, manner: Manner, lines_max: u64, out: &mut impl Write) -> io::Result<()> {
    for (json, _) in list.lines().zip(0..lines_max) {
        let json = json?;
        let line: Line = serde_json::from_str(&json)?;
        line.print(manner, &json, out)?;
    }
    Ok(())
}

/// The lines of a list in the order of their paths.
pub fn sorted(list: &str) -> io::Result<String> {
    let mut lines: Vec<(Vec<u8>, &str)> = Vec::new();
    for json in list.lines() {
        lines.push((serde_json::from_str::<Line>(json)?.path(), json));
    }
    lines.sort();
    Ok(lines.into_iter().flat_map(|(_, json)| [json, "\n"]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(path: &[u8], kind: Kind, aspects: &[Aspect]) -> Difference {
        let aspects = aspects.iter().copied().collect();
        Difference { path: TreePath::from(path), kind, aspects, source: None, target: None, leader: None }
    }

    fn list() -> String {
        let mut link = difference(b"z", Kind::File, &[Aspect::Links]);
        link.leader = Some(TreePath::from(&b"a\xff"[..]));
        let all = [
            link,
            difference(b"d/e", Kind::File, &[Aspect::Size, Aspect::Mtime]),
            difference(b"new\nline\xff", Kind::Symlink, &[Aspect::TargetOnly]),
            difference(b"", Kind::Directory, &[Aspect::Mtime]),
            difference(b"d", Kind::Directory, &[Aspect::SourceOnly]),
        ];
        let line = |one| serde_json::to_string(&Line::new(one, Trigger::SizeOrTime)).unwrap() + "\n";
        sorted(&all.iter().map(line).collect::<String>()).unwrap()
    }

    fn printed(manner: Manner) -> Vec<u8> {
        let mut out = Vec::new();
        write(list().as_bytes(), manner, 99, &mut out).unwrap();
        out
    }

    #[test]
    fn a_person_reads_what_differs_and_where() {
        let expected = "\
mtime            ./
only in SRC      d/
size mtime       d/e
only in DST      new\\nline\\xff
links            z should be a link of a\\xff
";
        assert_eq!(String::from_utf8(printed(Manner::Text)).unwrap(), expected);
    }

    #[test]
    fn users_of_rsync_read_its_letters() {
        let expected = "\
.d..t...... ./
cd+++++++++ d/
>f.st...... d/e
*deleting   new\\nline\\xff
hf          z => a\\xff
";
        assert_eq!(String::from_utf8(printed(Manner::Itemized)).unwrap(), expected);
    }

    #[test]
    fn paths_are_raw() {
        assert_eq!(printed(Manner::Paths), b".\0d\0d/e\0new\nline\xff\0z\0");
    }

    #[test]
    fn json_goes_through_as_it_is_and_the_list_is_cut() {
        assert_eq!(printed(Manner::Jsonl), list().as_bytes());
        let mut out = Vec::new();
        write(list().as_bytes(), Manner::Jsonl, 2, &mut out).unwrap();
        assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 2);
    }
}
