//! File systems that are mounted below a directory, from the mount table (proc(5), mountinfo).

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

use super::roots::unescaped;
use super::{Fd, attributes, open, operator, roots};
use crate::fault::Failure;
use crate::tree::{Identity, TreePath};

/// What is mounted at a place, as far as all nodes tell it alike.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Mount {
    /// What of the file system is shown.
    root: Vec<u8>,
    /// Its type.
    fs_type: String,
    /// A device, or a server and its export.
    source: String,
}

/// Mounts by their places.
pub type Mounts = BTreeMap<TreePath, Mount>;

/// What is mounted below an open directory; of several at one place the last, which hides the others.
pub fn below(directory: &Fd) -> Mounts {
    let path = operator::path_of(directory);
    let table = operator::mount_table();
    table.lines().filter_map(|line| in_line(line, &path)).collect()
}

fn in_line(line: &str, directory: &[u8]) -> Option<(TreePath, Mount)> {
    let (place, what) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3).map(unescaped);
    let (root, point) = (place.next()?, place.next()?);
    let directory = directory.strip_suffix(b"/").unwrap_or(directory);
    let path = point.strip_prefix(directory)?.strip_prefix(b"/").filter(|path| !path.is_empty())?;
    let mut what = what.split(' ');
    let (fs_type, source) = (what.next()?.to_owned(), what.next()?.to_owned());
    Some((TreePath::from(path), Mount { root, fs_type, source }))
}

/// Looks at what is at a place now; where it is mounted at the first use, this is one. Inode and type of file system.
pub fn look(directory: &Fd, path: &TreePath) -> Result<(Identity, u64), Failure> {
    let there = open::directory_below(directory, path)?;
    Ok((attributes::of_fd(&there)?.identity, roots::fs_type(&there)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table_tells_what_is_mounted_where() {
        let line = r"36 35 98:0 /part /data/src/a\040b/c rw,noatime master:1 - nfs4 server:/export rw,vers=4";
        let mount = Mount { root: b"/part".to_vec(), fs_type: "nfs4".to_owned(), source: "server:/export".to_owned() };
        let found = in_line(line, b"/data/src");
        assert_eq!(found, Some((TreePath::from(&b"a b/c"[..]), mount)));
        for elsewhere in ["/data/src/a b/c", "/data/sr", "/other"] {
            assert_eq!(in_line(line, elsewhere.as_bytes()), None, "{elsewhere}");
        }
        assert!(in_line(line, b"/").is_some());
    }
}
