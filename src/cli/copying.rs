//! Options for how data are copied.

use clap::Args;

use super::size::some_size;

/// How data are copied.
#[derive(Debug, Args)]
pub struct Copying {
    /// Copy files of at least two chunks in chunks of this size, which all ranks take from each other.
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = some_size, env = "PMIRROR_CHUNK_SIZE")]
    pub chunk_size: u64,
}
