//! What this rank may use of its node's memory: found out once, when a run begins.

use bytesize::ByteSize;

use crate::config::{Command, Config};
use crate::fault::Error;
use crate::fs;
use crate::memory::{Bound, Crowd, Origin, Shares, Told};

/// What a rank may use.
#[derive(Debug, Clone)]
pub struct Memory {
    bound: Bound,
    crowd: Crowd,
    /// Each part's share.
    pub shares: Shares,
}

impl Memory {
    /// What one of so many ranks of a node may use, that has so many workers.
    pub fn find(config: &Config, threads: u32, ranks_here: u32) -> Self {
        let (cgroup, node) = (fs::memory::of_control_group(), fs::memory::of_node());
        let whole = Bound::of(&Told { cgroup, node, ..config.memory.clone() }, ranks_here);
        let bound = Bound { bytes: whole.bytes / u64::from(config.lanes.max(1)), ..whole };
        let removes = config.guards.is_some() || matches!(config.command, Command::RmTree | Command::PurgeTrash { .. });
        let crowd = Crowd { workers: threads, buffer_bytes: config.copying.buffer_bytes as u64, removes };
        let mut shares = Shares::of(bound.bytes, crowd);
        shares.table_bytes = shares.table_bytes.min(config.bag_bytes_max);
        shares.message_bytes = shares.message_bytes.min(config.bag_bytes_max);
        Self { bound, crowd, shares }
    }

    /// Lanes that have enough, each with its part: at least one.
    pub fn lanes_max(&self) -> u64 {
        (self.bound.bytes / self.crowd.least().max(1)).max(1)
    }

    /// Refuses what the operator asks for and no rank could keep. A limit that was only found is not the operator's
    /// word: with less than the least a rank goes as low as it can.
    pub fn must_do(&self) -> Result<(), Error> {
        let least = self.crowd.least();
        if self.bound.origin != Origin::Asked || self.bound.bytes >= least {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "--max-memory {} is too little for {} thread{} with buffers of {}: give at least {}M, or fewer --threads, or \
             a smaller --buffer-size",
            shown(self.bound.bytes),
            self.crowd.workers,
            if self.crowd.workers == 1 { "" } else { "s" },
            shown(self.crowd.buffer_bytes),
            least.div_ceil(1 << 20)
        )))
    }

    /// Bytes that a rank may use.
    pub fn bytes(&self) -> u64 {
        self.bound.bytes
    }

    /// `--verbose`: what was found and where, and what each part has of it.
    pub fn told(&self) -> String {
        let Shares { listing_bytes, table_bytes, .. } = self.shares;
        let least = self.crowd.least();
        let lack = if self.bound.bytes < least {
            format!("; {} workers need {} at least", self.crowd.workers, shown(least))
        } else {
            String::new()
        };
        format!(
            "each rank may use {} of memory ({}): {} for each listing, {} for each table{lack}",
            shown(self.bound.bytes),
            self.bound.origin,
            shown(listing_bytes as u64),
            shown(table_bytes as u64)
        )
    }
}

fn shown(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
}
