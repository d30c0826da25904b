//! Which names, and which links, a directory takes.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};

use super::{largest, text};
use crate::fault::Failure;
use crate::fs::{Fd, attributes, list, names, open};
use crate::preflight::facts::Tried;
use crate::tree::census::Class;

/// Bytes of the longest name that can be made; the file system tells `told`.
pub fn longest(directory: &Fd, told: u64) -> u64 {
    let name = |length: u64| CString::new(vec![b'n'; usize::try_from(length).unwrap_or(1)]).unwrap_or_default();
    let try_it = |length: u64| {
        let name = name(length);
        drop(open::new_file(directory, &name)?);
        names::remove(directory, &name)
    };
    largest(told.clamp(1, 1_024), try_it).unwrap_or(told)
}

/// A name of each sort.
fn examples(class: Class) -> &'static [&'static CStr] {
    match class {
        Class::NotUtf8 => &[c"preflight-\xff\xfe"],
        Class::Control => &[c"preflight-\x01", c"preflight-\n"],
        Class::Punctuation => &[c"preflight-\\", c"preflight-:", c"preflight-*?\"<>|"],
        Class::Ending => &[c"preflight.", c"preflight "],
    }
}

/// The sorts of names that are not kept as they are, and what becomes of them.
pub fn unkept(directory: &Fd) -> BTreeMap<Class, String> {
    let trouble = |class: Class| examples(class).iter().find_map(|name| keeps(directory, name).err());
    Class::ALL.into_iter().filter_map(|class| Some((class, trouble(class)?))).collect()
}

/// Makes the name, and looks whether the listing has it as it is.
fn keeps(directory: &Fd, name: &CStr) -> Tried {
    drop(open::new_file(directory, name).map_err(text)?);
    let is_listed = lists(directory, name);
    names::remove(directory, name).map_err(text)?;
    if is_listed.map_err(text)? { Ok(()) } else { Err("it becomes another name".to_owned()) }
}

fn lists(directory: &Fd, name: &CStr) -> Result<bool, Failure> {
    let mut found = false;
    list::list(&open::child_directory(directory, c".")?, |listed, _, _| found |= listed == name)?;
    Ok(found)
}

/// Bytes of the longest symbolic link.
pub fn longest_symlink(directory: &Fd) -> Tried<u64> {
    let most = 4_095;
    let link = c"preflight-link";
    largest(most, |length| {
        let text = CString::new(vec![b't'; usize::try_from(length).unwrap_or(1)]).unwrap_or_default();
        names::make_symlink(directory, link, &text)?;
        let kept = attributes::of_name(directory, link).map(|found| found.size == length);
        names::remove(directory, link)?;
        if kept? { Ok(()) } else { Err(directory.failure("symlinkat", nix::errno::Errno::ENAMETOOLONG)) }
    })
}

/// Names that one file may have, as far as the type of the file system tells (linux/fs headers of each).
pub fn links_max(fs_type: u64) -> Option<u64> {
    match fs_type {
        // ext4, and Lustre on it: EXT4_LINK_MAX.
        0xEF53 | 0x0BD0_0BD0 => Some(65_000),
        // XFS_MAXLINK.
        0x5846_5342 => Some(0x7fff_ffff),
        // BTRFS_LINK_MAX.
        0x9123_683E => Some(65_535),
        _ => None,
    }
}
