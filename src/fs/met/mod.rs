//! The directories that runs met, in files of the state directory: what a rank adds to its part, what is built of all
//! parts, and a look into that.

mod build;
mod record;

pub use build::build;
pub use record::{Bytes, Record, Roots};

use std::io::{self, Read};

use crate::tree::Met;
use crate::wire;

/// A directory as a part has it, with its length and a checksum: what a rank that died left is read up to where it ends.
pub fn framed(met: &Met) -> Vec<u8> {
    frame(&wire::encode(met))
}

/// Of a path of 64 KiB.
const MET_BYTES_MAX: usize = 128 << 10;

/// Hands out what a part has, up to its end or to what is no longer whole.
pub fn for_each_met(mut part: impl Read, mut visit: impl FnMut(Met) -> io::Result<()>) -> io::Result<()> {
    while let Some(met) = next_frame(&mut part, MET_BYTES_MAX).and_then(|bytes| decoded(&bytes)) {
        visit(met)?;
    }
    Ok(())
}

fn decoded(bytes: &[u8]) -> Option<Met> {
    wire::decode("directory that was met", bytes).ok().filter(is_sound)
}

/// A path that leaves the tree is none.
fn is_sound(met: &Met) -> bool {
    !met.path.is_root() && wire::path_is_sound(&met.path)
}

const FRAME_HEAD_BYTES: usize = 4 + 8;

fn frame(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let checksum = xxhash_rust::xxh3::xxh3_64(content);
    [&length.to_le_bytes()[..], &checksum.to_le_bytes(), content].concat()
}

/// The content of a frame; `None` where there is none that is whole.
fn next_frame(input: &mut impl Read, bytes_max: usize) -> Option<Vec<u8>> {
    let (mut length, mut checksum) = ([0; 4], [0; 8]);
    input.read_exact(&mut length).and_then(|()| input.read_exact(&mut checksum)).ok()?;
    let length = u32::from_le_bytes(length) as usize;
    if length > bytes_max {
        return None;
    }
    // Not believed: as much is taken as there is.
    let mut content = Vec::new();
    input.take(length as u64).read_to_end(&mut content).ok()?;
    let is_whole = content.len() == length && xxhash_rust::xxh3::xxh3_64(&content) == u64::from_le_bytes(checksum);
    is_whole.then_some(content)
}

#[cfg(test)]
mod tests;
