//! A copy that `rsync -a SRC DST`, or `cp -a`, has made as DST/SRC: told to who would make another beside it.

use std::ffi::CString;

use nix::errno::Errno;

use crate::config::Config;
use crate::fault::Failure;
use crate::fs::{Fd, attributes, list, open};
use crate::tree::Kind;
use crate::tree::path::escaped;

/// So many names of DST are looked at: such a copy stands alone there, or nearly.
const NAMES_MAX: usize = 64;

/// What to say, if DST holds a directory with the name of SRC, and of what SRC holds nothing. So it is said once: then
/// DST is a mirror of SRC. What can not be looked at says nothing.
pub fn told(config: &Config, source: &Fd, target: &Fd) -> Option<String> {
    let name = last_name(config.source.to_bytes())?;
    let inner = attributes::of_name(target, &name).ok().filter(|inner| inner.kind == Kind::Directory);
    if inner.is_none() || !lacks(source, &name) {
        return None;
    }
    let mut names = Vec::new();
    let listed = open::child_directory(target, c".").ok()?;
    list::first(&listed, NAMES_MAX, |name| names.push(name.to_owned())).ok()?;
    if names.iter().any(|name| !lacks(source, name)) {
        return None;
    }
    let [source, target, name] = [config.source.to_bytes(), config.target.to_bytes(), name.to_bytes()].map(escaped);
    Some(format!(
        "DST {target} holds a directory {name}, and nothing that SRC {source} has: was it copied by rsync or cp? pmirror makes \
         DST itself the mirror, whatever slash it ends in. To go on with that copy name {}/{name} as DST",
        target.trim_end_matches('/')
    ))
}

fn lacks(directory: &Fd, name: &CString) -> bool {
    matches!(attributes::of_name(directory, name), Err(Failure { errno, .. }) if Errno::from_raw(errno) == Errno::ENOENT)
}

/// The name under which rsync and cp would have made it: of a path that ends in a slash they make none.
fn last_name(path: &[u8]) -> Option<CString> {
    let name = path.rsplit(|byte| *byte == b'/').next()?;
    if matches!(name, b"" | b"." | b"..") { None } else { CString::new(name).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_a_last_name_unless_it_ends_in_a_slash() {
        assert_eq!(last_name(b"/old/ada"), Some(c"ada".to_owned()));
        assert_eq!(last_name(b"ada"), Some(c"ada".to_owned()));
        for none in [&b"/old/ada/"[..], b"/", b".", b"..", b"/old/.", b"/old/.."] {
            assert_eq!(last_name(none), None);
        }
    }
}
