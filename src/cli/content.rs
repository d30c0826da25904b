//! Options for how the content of files is copied.

use clap::{Args, ValueEnum};

use super::size::{size, some_size};
use crate::fs::data::{Copying, Engine, Hashing};

/// How the content of files is copied.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // Each is a flag of the command line.
pub struct Content {
    /// Read back what was written and compare it with what was read from SRC. A file whose copy
    /// differs fails, and is taken away again. Xxh3 finds every accident, blake3 intent too.
    #[arg(long, value_name = "HASH", num_args = 0..=1, require_equals = true, default_missing_value = "xxh3",
          env = "PMIRROR_VERIFY")]
    pub verify: Option<Hash>,

    /// Rename on DST what was renamed on SRC: directories, by the record that the last run with this option left. What
    /// is not certain is copied.
    #[arg(long, env = "PMIRROR_DETECT_RENAMES")]
    pub detect_renames: bool,

    /// Write zeros where the files of SRC have holes.
    #[arg(long, env = "PMIRROR_NO_SPARSE")]
    pub no_sparse: bool,

    /// What moves the content: auto takes the best that both file systems can do. Whatever is
    /// chosen, a file for which it can not be done is read and written.
    #[arg(long, value_name = "ENGINE", default_value = "auto", env = "PMIRROR_ENGINE")]
    pub engine: Choice,

    /// Read and write large files past the page cache (O_DIRECT), where the file systems allow it.
    #[arg(long, env = "PMIRROR_DIRECT")]
    pub direct: bool,

    /// Leave large files in the page cache of the node. Otherwise they are dropped from it as they
    /// are done with, which is faster, and what other programs have there stays.
    #[arg(long, env = "PMIRROR_KEEP_CACHE")]
    pub keep_cache: bool,

    /// What one read and one write move at most, such as 256K or 4M [default: 1M].
    #[arg(long, value_name = "SIZE", value_parser = buffer_size, env = "PMIRROR_BUFFER_SIZE")]
    pub buffer_size: Option<usize>,

    /// Copy files of at least two chunks in chunks of this size, which all ranks take from each other.
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = some_size, env = "PMIRROR_CHUNK_SIZE")]
    pub chunk_size: u64,
}

/// The values of `--verify`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Hash {
    /// XXH3, 128 bits.
    Xxh3,
    /// BLAKE3.
    Blake3,
}

/// The values of `--engine`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// The best that both file systems can do.
    Auto,
    /// Share blocks (btrfs, xfs).
    Reflink,
    /// Have the kernel or the file system copy.
    CopyFileRange,
    /// Read and write.
    ReadWrite,
}

impl Content {
    /// What the options mean.
    pub fn copying(&self) -> Copying {
        let mut copying = Copying::default();
        copying.engine = match self.engine {
            Choice::Auto => None,
            Choice::Reflink => Some(Engine::Reflink),
            Choice::CopyFileRange => Some(Engine::CopyFileRange),
            Choice::ReadWrite => Some(Engine::ReadWrite),
        };
        copying.sparse = !self.no_sparse;
        copying.direct = self.direct;
        copying.forget = !self.keep_cache;
        copying.hashing = self.verify.map(|hash| match hash {
            Hash::Xxh3 => Hashing::Xxh3,
            Hash::Blake3 => Hashing::Blake3,
        });
        if let Some(bytes) = self.buffer_size {
            copying.buffer_bytes = bytes;
        }
        copying
    }
}

pub(super) fn buffer_size(text: &str) -> Result<usize, String> {
    let (least, most) = (4 << 10, 1 << 30);
    match usize::try_from(size(text)?) {
        Ok(bytes) if (least..=most).contains(&bytes) => Ok(bytes),
        _ => Err("it must be from 4K to 1G: every worker has one".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        content: Content,
    }

    fn copying(words: &[&str]) -> Copying {
        Program::try_parse_from([&["program"], words].concat()).unwrap().content.copying()
    }

    #[test]
    fn nothing_is_verified_unless_asked_for_and_then_with_xxh3() {
        assert_eq!(copying(&[]).hashing, None);
        assert_eq!(copying(&["--verify"]).hashing, Some(Hashing::Xxh3));
        assert_eq!(copying(&["--verify=blake3"]).hashing, Some(Hashing::Blake3));
    }

    #[test]
    fn a_buffer_is_as_large_as_asked_and_never_absurd() {
        assert_eq!(copying(&["--buffer-size", "256K"]).buffer_bytes, 256 << 10);
        assert_eq!(copying(&["--buffer-size=65536"]).buffer_bytes, 65_536);
        for bad in ["0", "1K", "2G", "1T", "many", ""] {
            assert!(buffer_size(bad).is_err(), "{bad}");
        }
    }
}
