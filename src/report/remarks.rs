//! The list of notes: a line of `notes.jsonl` for each remark.

use std::io::{self, BufRead};

use serde::{Deserialize, Serialize};

use super::differences::{both_forms, raw};
use crate::tree::path::escaped;
use crate::tree::remark::{Remark, What};

/// A line of `notes.jsonl`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line {
    what: String,
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    ctime: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

impl Line {
    /// The line of a remark.
    pub fn new(remark: &Remark) -> Self {
        let (path, path_b64) = both_forms(&remark.path);
        let ctime = format!("{}.{:09}", remark.ctime.seconds, remark.ctime.nanoseconds);
        Self { what: remark.what.word().to_owned(), path, path_b64, ctime, size: remark.size }
    }

    /// The path for people; the root is `.`.
    fn shown(&self) -> String {
        let path = raw(&self.path, self.path_b64.as_ref());
        if path.is_empty() { ".".to_owned() } else { escaped(&path) }
    }
}

/// The first paths of a list of which this was said.
pub fn first(list: impl BufRead, what: What, paths_max: usize) -> io::Result<Vec<String>> {
    let mut paths = Vec::new();
    for json in list.lines() {
        if paths.len() >= paths_max {
            break;
        }
        let line: Line = serde_json::from_str(&json?)?;
        if line.what == what.word() {
            paths.push(line.shown());
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Time, TreePath};

    #[test]
    fn the_first_paths_of_one_kind_are_found_whatever_their_bytes() {
        let remark =
            |path: &[u8], what| Remark { path: TreePath::from(path), what, ctime: Time::default(), size: Some(1) };
        let list: Vec<String> = [
            remark(b"a", What::CtimeNewer),
            remark(b"", What::CtimeAfterStart),
            remark(b"\xff\n", What::CtimeAfterStart),
            remark(b"c", What::CtimeAfterStart),
        ]
        .iter()
        .map(|remark| serde_json::to_string(&Line::new(remark)).unwrap())
        .collect();
        let found = first(list.join("\n").as_bytes(), What::CtimeAfterStart, 2).unwrap();
        assert_eq!(found, [".".to_owned(), escaped(b"\xff\n")]);
    }
}
