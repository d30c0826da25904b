//! File systems that the operator named: `NAME:/path` is a path below one.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};

use super::nearest::hint;
use crate::fault::Error;
use crate::tree::TreePath;
use crate::tree::path::escaped;

/// A file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    /// Its name.
    pub name: String,
    /// Where it is: absolute, without `..`, `.`, and slashes too many.
    pub path: Vec<u8>,
    /// It may be a target.
    pub write: bool,
    /// Its path must be a mount point.
    pub mount: bool,
    /// What its type must be, as statfs(2) has it.
    pub fs_type: Option<u64>,
    /// A name below it that must be there.
    pub sentinel: Option<TreePath>,
    /// In which line of the file each of that is said.
    pub lines: BTreeMap<&'static str, usize>,
}

/// All of them, and where they were named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileSystems {
    /// In the order of the file.
    pub all: Vec<FileSystem>,
    /// The file, as messages name it; nothing if there is none.
    pub file: Option<String>,
    /// A number that is equal on ranks that read the same file; 0 without one.
    pub digest: u64,
}

impl FileSystems {
    /// The path of an operand that names a file system; nothing for one that is a path.
    pub fn expand(&self, operand: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let Some((name, below)) = split(operand).filter(|_| !self.all.is_empty()) else { return Ok(None) };
        let Some(found) = self.all.iter().find(|known| known.name.as_bytes() == name) else {
            return Err(self.unknown(operand, name));
        };
        if below.split(|&byte| byte == b'/').any(|name| name == b"..") {
            let (operand, name) = (escaped(operand), &found.name);
            return Err(Error::Usage(format!("{operand} leads out of {name}: name the directory without ..")));
        }
        let start = below.iter().position(|&byte| byte != b'/').unwrap_or(below.len());
        let below = below.get(start..).unwrap_or_default();
        let above = found.path.strip_suffix(b"/").unwrap_or(&found.path);
        Ok(Some(if below.is_empty() { found.path.clone() } else { [above, below].join(&b'/') }))
    }

    /// The path that an operand means, for an option that is read by itself.
    pub fn expand_name(&self, operand: &CStr) -> Result<CString, Error> {
        let path = self.expand(operand.to_bytes())?.unwrap_or_else(|| operand.to_bytes().to_vec());
        // There was no NUL in either.
        Ok(CString::new(path).unwrap_or_default())
    }

    fn unknown(&self, operand: &[u8], name: &[u8]) -> Error {
        let names = self.all.iter().map(|known| known.name.as_str());
        let hint = hint(&String::from_utf8_lossy(name), names);
        let (operand, name, file) = (escaped(operand), escaped(name), self.file());
        Error::Usage(format!("{file} names no file system {name}: {hint} (A directory of that name is ./{operand})"))
    }

    /// The file, for messages.
    pub fn file(&self) -> &str {
        self.file.as_deref().unwrap_or("pmirror.toml")
    }
}

/// What stands before the first colon and behind it, if no slash stands before it.
fn split(operand: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = operand.iter().position(|&byte| matches!(byte, b':' | b'/'))?;
    let (name, rest) = operand.split_at_checked(colon)?;
    Some((name, rest.strip_prefix(b":")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[(&str, &str)]) -> FileSystems {
        let one = |(name, path): &(&str, &str)| FileSystem {
            name: (*name).to_owned(),
            path: path.as_bytes().to_vec(),
            write: false,
            mount: false,
            fs_type: None,
            sentinel: None,
            lines: BTreeMap::new(),
        };
        FileSystems { all: names.iter().map(one).collect(), ..FileSystems::default() }
    }

    fn expanded(operand: &str) -> Option<String> {
        let all = named(&[("panda", "/mnt/panda"), ("all", "/")]);
        all.expand(operand.as_bytes()).unwrap().map(|path| String::from_utf8(path).unwrap())
    }

    #[test]
    fn a_name_and_a_colon_stand_for_the_path() {
        assert_eq!(expanded("panda:/user_xyz").as_deref(), Some("/mnt/panda/user_xyz"));
        assert_eq!(expanded("panda:user_xyz/").as_deref(), Some("/mnt/panda/user_xyz/"));
        assert_eq!(expanded("panda:///a:b").as_deref(), Some("/mnt/panda/a:b"));
        assert_eq!(expanded("panda:").as_deref(), Some("/mnt/panda"));
        assert_eq!(expanded("all:/etc").as_deref(), Some("/etc"));
        assert_eq!(expanded("all:/").as_deref(), Some("/"));
    }

    #[test]
    fn a_slash_before_the_colon_or_no_colon_makes_a_path() {
        for path in ["./panda:/x", "/panda:/x", "panda", "panda/x:y", ""] {
            assert_eq!(expanded(path), None, "{path}");
        }
        assert_eq!(named(&[]).expand(b"panda:/x"), Ok(None));
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest_and_two_dots_are_refused() {
        let all = named(&[("panda", "/mnt/panda"), ("badger", "/mnt/badger")]);
        let error = all.expand(b"panad:/x").unwrap_err().to_string();
        assert!(error.contains("did you mean panda?") && error.contains("./panad:/x"), "{error}");
        let error = all.expand(b"panda:/a/../../x").unwrap_err().to_string();
        assert!(error.contains("leads out of panda"), "{error}");
    }
}
