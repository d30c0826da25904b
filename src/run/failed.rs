//! The faults of another run as a list of paths: what `retry` does once more.

use std::io::{self, BufRead, BufReader, Read};

use serde::Deserialize;

use crate::fault::Error;
use crate::fs::operator::RunDirectory;
use crate::fs::path_list::{self, ListError, Written};
use crate::report::differences::raw;
use crate::started::{RetryOf, Word};
use crate::tree::TreePath;
use crate::wire;

/// The list of faults in a run directory.
pub const LIST: &str = "faults.jsonl";

/// No line is longer: a path has at most some 5,000 names of 255 bytes.
const LINE_BYTES_MAX: u64 = 8 << 20;

/// A line of it, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Line {
    path: String,
    path_b64: Option<String>,
    outcome: String,
    errno: String,
    #[serde(default)]
    retry: Option<String>,
    link_of: Option<String>,
    link_of_b64: Option<String>,
}

impl Line {
    fn path(&self) -> Vec<u8> {
        raw(&self.path, self.path_b64.as_ref())
    }

    /// What the list of paths gets of it.
    fn paths(&self) -> Vec<Vec<u8>> {
        let path = self.path();
        match (self.retry.as_deref(), &self.link_of) {
            // A slash behind it: the directory, and nothing in it.
            (Some("itself"), _) => vec![[path.as_slice(), b"/"].concat()],
            (_, Some(leader)) => vec![path, raw(leader, self.link_of_b64.as_ref())],
            _ => vec![path],
        }
    }
}

fn is_meant(line: &Line, of: &RetryOf) -> bool {
    let path = line.path();
    let is_under = |Word(top): &Word| {
        let rest = path.strip_prefix(top.as_slice());
        top.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    line.outcome == "failed"
        && line.retry.as_deref() != Some("never")
        && (of.errnos.is_empty() || of.errnos.contains(&line.errno))
        && (of.under.is_empty() || of.under.iter().any(is_under))
}

/// Visits the faults that are to be done again. Returns their number.
fn for_each(of: &RetryOf, mut visit: impl FnMut(&Line) -> io::Result<()>) -> io::Result<u64> {
    let state_dir = of.state_dir.to_path();
    let list = match RunDirectory::new(&state_dir, &of.run_id).open(LIST) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        list => BufReader::new(list?),
    };
    let mut found = 0;
    for_each_line(list, |line| {
        if !is_meant(&line, of) {
            return Ok(());
        }
        found += 1;
        visit(&line)
    })?;
    Ok(found)
}

/// Hands out the lines of a list of faults: their paths lie below the roots.
fn for_each_line(mut list: impl BufRead, mut visit: impl FnMut(Line) -> io::Result<()>) -> io::Result<()> {
    let (mut text, mut number) = (Vec::new(), 0);
    loop {
        text.clear();
        number += 1;
        let bad = |why: &dyn std::fmt::Display| io::Error::other(format!("line {number} of {LIST}: {why}"));
        if list.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut text)? == 0 {
            return Ok(());
        }
        if text.last() != Some(&b'\n') {
            return Err(bad(&"it has no end"));
        }
        let line: Line = serde_json::from_slice(&text).map_err(|error| bad(&error))?;
        let is_sound = |path: Vec<u8>| {
            let path = path.strip_suffix(b"/").unwrap_or(&path);
            wire::path_is_sound(&TreePath::from(path))
        };
        if !line.paths().into_iter().all(is_sound) {
            return Err(bad(&"a path that does not lie below the roots"));
        }
        visit(line)?;
    }
}

/// Whether it is a list of faults.
pub fn is_list(bytes: &[u8]) -> bool {
    for_each_line(bytes, |_| Ok(())).is_ok()
}

/// How many faults are to be done again.
pub fn count(of: &RetryOf) -> Result<u64, Error> {
    for_each(of, |_| Ok(())).map_err(|error| unusable(of, &error))
}

/// Writes the paths, sorted, into the directory of the new run.
pub fn write_list(of: &RetryOf, directory: &RunDirectory) -> Result<Written, Error> {
    let fill = |add: &mut dyn FnMut(&[u8]) -> io::Result<()>| {
        for_each(of, |line| line.paths().iter().try_for_each(|path| add(path))).map(drop)
    };
    path_list::write_paths(directory, fill).map_err(|error| match error {
        ListError::Output(error) | ListError::Input(error) => unusable(of, &error),
        other => Error::Usage(other.to_string()),
    })
}

fn unusable(of: &RetryOf, error: &io::Error) -> Error {
    Error::Fatal(format!(
        "the faults of run {} can not be taken over: {error}; the command of that run, started again, does what is left",
        of.run_id
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        serde_json::from_str(text).unwrap()
    }

    fn of(errnos: &[&str], under: &[&str]) -> RetryOf {
        RetryOf {
            run_id: "r".to_owned(),
            state_dir: Word(Vec::new()),
            errnos: errnos.iter().map(|&name| name.to_owned()).collect(),
            under: under.iter().map(|path| Word(path.as_bytes().to_vec())).collect(),
        }
    }

    #[test]
    fn only_what_failed_and_is_no_removal_is_meant() {
        let all = of(&[], &[]);
        assert!(is_meant(&line(r#"{"path":"a","outcome":"failed","errno":"EIO"}"#), &all));
        assert!(!is_meant(&line(r#"{"path":"a","outcome":"vanished","errno":""}"#), &all));
        assert!(!is_meant(&line(r#"{"path":"a","outcome":"failed","errno":"EIO","retry":"never"}"#), &all));
    }

    #[test]
    fn errors_and_paths_choose_and_a_name_is_not_its_beginning() {
        let fault = line(r#"{"path":"a/bc","outcome":"failed","errno":"EDQUOT"}"#);
        assert!(is_meant(&fault, &of(&["EIO", "EDQUOT"], &["a"])));
        assert!(is_meant(&fault, &of(&[], &["x", "a/bc"])));
        assert!(is_meant(&fault, &of(&[], &[""])));
        assert!(!is_meant(&fault, &of(&["EIO"], &[])));
        assert!(!is_meant(&fault, &of(&[], &["a/b"])));
    }

    #[test]
    fn a_line_that_leads_elsewhere_or_has_no_end_is_named() {
        let fault = |path: &str| format!("{{\"path\":\"{path}\",\"outcome\":\"failed\",\"errno\":\"EIO\"}}\n");
        let error = |text: &str| for_each_line(text.as_bytes(), |_| Ok(())).unwrap_err().to_string();
        assert!(is_list((fault("a/b") + &fault("")).as_bytes()));
        assert_eq!(
            error(&(fault("a") + &fault("../a"))),
            "line 2 of faults.jsonl: a path that does not lie below the roots"
        );
        assert_eq!(error(fault("a").trim_end()), "line 1 of faults.jsonl: it has no end");
    }

    #[test]
    fn a_directory_that_was_only_not_settled_has_a_slash_and_a_link_brings_its_leader() {
        let settled = line(r#"{"path":"d","outcome":"failed","errno":"EIO","retry":"itself"}"#);
        assert_eq!(settled.paths(), [b"d/"]);
        let link = line(r#"{"path":"a","outcome":"failed","errno":"EIO","link_of":"?","link_of_b64":"/w=="}"#);
        assert_eq!(link.paths(), [&b"a"[..], b"\xff"]);
    }
}
