//! How large a file may be, and whether its holes take room.

use nix::sys::resource::{Resource, getrlimit};

use crate::fault::Failure;
use crate::fs::{Fd, attributes, data};

/// What a file system without holes is asked to fill.
const SMALL_BYTES: u64 = 4 << 20;

/// What FAT holds at most; a file system without holes is not asked, as it would fill what it is asked for.
const WITHOUT_HOLES_MAX: u64 = u32::MAX as u64;

/// Bytes of the largest file, and whether holes take no room. The file is empty afterwards.
pub fn of_file(file: &Fd) -> Result<(u64, bool), Failure> {
    let most = limit().unwrap_or(u64::MAX).min(i64::MAX as u64);
    data::set_size(file, SMALL_BYTES.min(most))?;
    // Some allocate only when they write.
    data::flush(file)?;
    let keeps_holes = attributes::of_fd(file)?.allocated < SMALL_BYTES.min(most);
    let found = if keeps_holes { largest(file, most) } else { WITHOUT_HOLES_MAX.min(most) };
    data::set_size(file, 0)?;
    Ok((found, keeps_holes))
}

fn largest(file: &Fd, most: u64) -> u64 {
    super::largest(most, |bytes| data::set_size(file, bytes)).unwrap_or(SMALL_BYTES)
}

/// What the process may write: beyond it the kernel ends it (setrlimit(2), RLIMIT_FSIZE).
pub fn limit() -> Option<u64> {
    let (soft, _) = getrlimit(Resource::RLIMIT_FSIZE).ok()?;
    (soft != nix::libc::RLIM_INFINITY).then_some(soft)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Side;

    #[test]
    fn a_file_system_with_holes_takes_large_files_and_is_left_empty() {
        let file = Fd::new(tempfile::tempfile().unwrap().into(), Side::Target);
        let (largest, keeps_holes) = of_file(&file).unwrap();
        assert!(keeps_holes && largest > 1 << 40, "{largest}");
        assert_eq!(attributes::of_fd(&file).unwrap().size, 0);
    }
}
