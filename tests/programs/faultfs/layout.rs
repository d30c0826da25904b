//! A double of Lustre's file layouts: what setting and reading `lustre.lov` does, as seen on 2.17. The
//! backing file keeps the state in an extended attribute that is never shown.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{FileType, XattrFlags};
use rustix::io::{Errno, Result};

use crate::inodes::Inode;

/// Absent: the file has the default layout. Empty: it has none yet. Else: its layout.
const STATE: &str = "trusted.faultfs.layout";

const LAYOUT: [&[u8]; 2] = [b"lustre.lov", b"trusted.lov"];
/// Setting these returns 0 and changes nothing.
const OWN: [&[u8]; 5] = [b"trusted.link", b"trusted.lma", b"trusted.som", b"trusted.hsm", b"trusted.fid"];

const MAGIC_PLAIN: u32 = 0x0BD1_0BD0;
const HEADER_BYTES: usize = 32;
/// Object servers.
const SERVERS: u16 = 4;
const DEFAULT_STRIPE_BYTES: u32 = 4 << 20;

/// Whether an attribute is ours, and so not to be shown.
pub fn is_hidden(name: &[u8]) -> bool {
    name == STATE.as_bytes()
}

/// A file that mknod made has no layout yet.
pub fn begin(inode: &Inode) -> Result<()> {
    rustix::fs::setxattr(inode.path(), STATE, &[], XattrFlags::empty())
}

/// Opening for writing gives a file without a layout the default one.
pub fn opened_for_writing(inode: &Inode) -> Result<()> {
    if state(inode)?.is_some_and(|state| state.is_empty()) {
        rustix::fs::removexattr(inode.path(), STATE)?;
    }
    Ok(())
}

fn state(inode: &Inode) -> Result<Option<Vec<u8>>> {
    let mut value = vec![0; 64 << 10];
    match rustix::fs::getxattr(inode.path(), STATE, &mut value[..]) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn is_directory(inode: &Inode) -> Result<bool> {
    Ok(FileType::from_raw_mode(inode.stat()?.st_mode) == FileType::Directory)
}

/// Answers a setxattr, if the attribute is one of Lustre's.
pub fn set(inode: &Inode, name: &OsStr, value: &[u8]) -> Option<Result<()>> {
    let name = name.as_bytes();
    if OWN.contains(&name) {
        return Some(Ok(()));
    }
    if LAYOUT.contains(&name) {
        return Some(set_layout(inode, value));
    }
    name.starts_with(b"lustre.").then_some(Err(Errno::OPNOTSUPP))
}

fn set_layout(inode: &Inode, value: &[u8]) -> Result<()> {
    if value.len() < HEADER_BYTES || value.iter().all(|&byte| byte == 0) {
        return Err(Errno::RANGE);
    }
    let kind = FileType::from_raw_mode(inode.stat()?.st_mode);
    let open = kind == FileType::Directory || state(inode)?.is_some_and(|state| state.is_empty());
    if open && kind != FileType::Symlink {
        let own = if kind == FileType::RegularFile { with_own_objects(inode, value)? } else { value.to_vec() };
        rustix::fs::setxattr(inode.path(), STATE, &own, XattrFlags::empty())?;
    }
    Ok(())
}

/// Answers a getxattr, if the attribute is one of Lustre's.
pub fn get(inode: &Inode, name: &OsStr) -> Option<Result<Vec<u8>>> {
    let name = name.as_bytes();
    if LAYOUT.contains(&name) {
        return Some(layout(inode));
    }
    if name == b"trusted.link" || name == b"trusted.lma" {
        return Some(inode.stat().map(|stat| stat.st_ino.to_le_bytes().to_vec()));
    }
    (OWN.contains(&name) || name.starts_with(b"lustre.")).then_some(Err(Errno::NODATA))
}

fn layout(inode: &Inode) -> Result<Vec<u8>> {
    let kind = FileType::from_raw_mode(inode.stat()?.st_mode);
    match (state(inode)?, kind) {
        (Some(state), _) if !state.is_empty() => Ok(state),
        (None, FileType::RegularFile) => with_own_objects(inode, &plain(1, DEFAULT_STRIPE_BYTES)),
        _ => Err(Errno::NODATA),
    }
}

/// The names that listxattr shows beside the stored ones.
pub fn listed(inode: &Inode, user: u32) -> Result<Vec<&'static [u8]>> {
    let has_layout = layout(inode).is_ok();
    let mut names: Vec<&[u8]> = Vec::new();
    if user == 0 && has_layout {
        names.push(b"trusted.lov");
    }
    if user == 0 {
        names.extend([&b"trusted.link"[..], b"trusted.lma"]);
    }
    if has_layout && (user == 0 || !is_directory(inode)?) {
        names.push(b"lustre.lov");
    }
    Ok(names)
}

/// removexattr of a layout returns 0 and the layout stays.
pub fn remove(name: &OsStr) -> Option<Result<()>> {
    LAYOUT.contains(&name.as_bytes()).then_some(Ok(()))
}

/// A request for so many stripes, as lov_user_md_v1 has it.
fn plain(stripes: u16, stripe_bytes: u32) -> Vec<u8> {
    let pattern = 1u32.to_le_bytes();
    let id = [0; 16];
    let generation = [0; 2];
    [&MAGIC_PLAIN.to_le_bytes()[..], &pattern, &id, &stripe_bytes.to_le_bytes(), &stripes.to_le_bytes(), &generation]
        .concat()
}

/// The layout that a request leads to: same stripes, but an id and objects of the file's own. Plain
/// layouts only; others are kept as they came.
fn with_own_objects(inode: &Inode, request: &[u8]) -> Result<Vec<u8>> {
    let part = |range| request.get(range).unwrap_or_default();
    if part(0..4) != MAGIC_PLAIN.to_le_bytes() {
        return Ok(request.to_vec());
    }
    let number = inode.stat()?.st_ino;
    let asked = part(28..30).iter().rev().fold(0u16, |sum, &byte| sum << 8 | u16::from(byte));
    let stripes = asked.clamp(1, SERVERS);
    let header = [part(0..8), &number.to_le_bytes(), part(16..28), &stripes.to_le_bytes(), part(30..32)].concat();
    let objects = (0..stripes).map(|stripe| {
        let id = number.wrapping_mul(8) + u64::from(stripe);
        let server = (number + u64::from(stripe)) % u64::from(SERVERS);
        [&id.to_le_bytes()[..], &[0; 12], &u32::try_from(server).unwrap_or(0).to_le_bytes()].concat()
    });
    Ok(std::iter::once(header).chain(objects).flatten().collect())
}
