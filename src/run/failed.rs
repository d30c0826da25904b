//! The faults of another run as a list of paths: what `retry` does once more.

use std::io::{self, BufRead, BufReader};

use serde::Deserialize;

use crate::fault::Error;
use crate::fs::operator::RunDirectory;
use crate::fs::path_list::{self, ListError, Written};
use crate::report::differences::raw;
use crate::started::{RetryOf, Word};

/// The list of faults in a run directory.
pub const LIST: &str = "faults.jsonl";

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
    for line in list.lines() {
        let line: Line = serde_json::from_str(&line?)?;
        if is_meant(&line, of) {
            found += 1;
            visit(&line)?;
        }
    }
    Ok(found)
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
    Error::Fatal(format!("the faults of run {} can not be taken over: {error}", of.run_id))
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
    fn a_directory_that_was_only_not_settled_has_a_slash_and_a_link_brings_its_leader() {
        let settled = line(r#"{"path":"d","outcome":"failed","errno":"EIO","retry":"itself"}"#);
        assert_eq!(settled.paths(), [b"d/"]);
        let link = line(r#"{"path":"a","outcome":"failed","errno":"EIO","link_of":"?","link_of_b64":"/w=="}"#);
        assert_eq!(link.paths(), [&b"a"[..], b"\xff"]);
    }
}
