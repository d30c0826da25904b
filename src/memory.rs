//! What a rank may use of the memory, and how that is shared out among its parts. Numbers only.

use std::fmt;

/// A rank that is not told otherwise takes no more than that, however much there is.
const ENOUGH_BYTES: u64 = 2 << 30;

/// What the limits of Slurm and the kernel are for, beside the ranks: the page cache, the batch script.
const LIMIT_QUARTERS: u64 = 3;

/// The program itself with its MPI library, and what the allocator keeps. Measured: 18 MiB (docs/internals/campaign.md).
const PROGRAM_BYTES: u64 = 32 << 20;

/// Each worker: stack, a buffer for directory entries, what its item brings.
const WORKER_BYTES: u64 = 1 << 20;

/// Each worker reads and compares with two buffers.
const BUFFERS: u64 = 2;

/// A listing is held, cut into batches, and copied as vectors grow. Where names are planned to be removed each may
/// become an item of its own, six times as large as the name.
const LISTING_COPIES: u64 = 3;
const PLANNED_COPIES: u64 = 8;

/// The least of a listing, and of a table: below that all time goes into looking again and spilling.
const LISTING_BYTES_MIN: u64 = 512 << 10;
const TABLE_BYTES_MIN: u64 = 256 << 10;

/// More than that of one directory at once helps nobody.
const LISTING_BYTES_MAX: u64 = 64 << 20;

/// Tables that may be full at one time: the bag, directories to be settled, those that wait for what is below
/// them, the plan, names to be looked at again, links, shared inodes, the groups whose turn it is, the subtrees'
/// losses.
const TABLES: u64 = 9;

/// A table takes as much again in a checkpoint under way, and half of that while it is written to a file, as
/// vectors grow, and in the allocator.
const TABLE_HALVES: u64 = 6;

/// Of that which tables and listings share: listings have these eighths, messages on their way one, tables the rest.
const LISTING_EIGHTHS: u64 = 3;
const MESSAGE_EIGHTHS: u64 = 1;

/// Bytes that a subtree's loss takes: a path, two numbers, a node of a tree, and all that once more in a message.
const SUBTREE_BYTES: u64 = 256;

/// Where a bound comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `--max-memory`.
    Asked,
    /// `SLURM_MEM_PER_NODE`.
    SlurmNode,
    /// `SLURM_MEM_PER_CPU`.
    SlurmCpu,
    /// The limit of our control group.
    Cgroup,
    /// Half of the node's memory.
    Node,
    /// Nobody limits it.
    Enough,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::Asked => "--max-memory",
            Origin::SlurmNode => "three quarters of this rank's share of Slurm's limit for the node",
            Origin::SlurmCpu => "three quarters of Slurm's limit for its CPUs",
            Origin::Cgroup => "three quarters of this rank's share of the control group's limit",
            Origin::Node => "this rank's share of half of the node's memory",
            Origin::Enough => "more is never needed",
        })
    }
}

/// What limits the memory, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// `--max-memory`.
    pub asked: Option<u64>,
    /// What Slurm grants the node.
    pub slurm_node: Option<u64>,
    /// What Slurm grants the CPUs of one task.
    pub slurm_task: Option<u64>,
    /// The limit of our control group, or of one above it.
    pub cgroup: Option<u64>,
    /// The memory of the node.
    pub node: Option<u64>,
}

/// What a rank may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Bytes.
    pub bytes: u64,
    /// Where that comes from.
    pub origin: Origin,
}

impl Bound {
    /// What the operator says, or the smallest of what limits one of so many ranks of a node.
    pub fn of(told: &Told, ranks_here: u32) -> Self {
        if let Some(bytes) = told.asked {
            return Self { bytes, origin: Origin::Asked };
        }
        let ranks = u64::from(ranks_here.max(1));
        let most_of = |limit: u64| limit / 4 * LIMIT_QUARTERS;
        let limits = [
            (told.slurm_node.map(|limit| most_of(limit) / ranks), Origin::SlurmNode),
            (told.slurm_task.map(most_of), Origin::SlurmCpu),
            (told.cgroup.map(|limit| most_of(limit) / ranks), Origin::Cgroup),
            (told.node.map(|memory| memory / 2 / ranks), Origin::Node),
            (Some(ENOUGH_BYTES), Origin::Enough),
        ];
        let bounds = limits.into_iter().filter_map(|(bytes, origin)| Some(Self { bytes: bytes?, origin }));
        bounds.min_by_key(|bound| bound.bytes).unwrap_or(Self { bytes: ENOUGH_BYTES, origin: Origin::Enough })
    }
}

/// The workers of a rank, who take their part first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowd {
    /// Workers, the spare ones among them.
    pub workers: u32,
    /// Each of their buffers.
    pub buffer_bytes: u64,
    /// Removals are planned, or carried out.
    pub removes: bool,
}

impl Crowd {
    fn bytes(self) -> u64 {
        u64::from(self.workers).saturating_mul(self.buffer_bytes.saturating_mul(BUFFERS).saturating_add(WORKER_BYTES))
    }

    /// What a listing takes, by the bytes of its names.
    fn copies(self) -> u64 {
        if self.removes { PLANNED_COPIES } else { LISTING_COPIES }
    }

    /// The least that these can work with.
    pub fn least(self) -> u64 {
        let listings = u64::from(self.workers) * self.copies() * LISTING_BYTES_MIN * 8 / LISTING_EIGHTHS;
        let eighths = 8 - LISTING_EIGHTHS - MESSAGE_EIGHTHS;
        let tables = (TABLES * TABLE_HALVES * TABLE_BYTES_MIN / 2 * 8).div_ceil(eighths);
        PROGRAM_BYTES.saturating_add(self.bytes()).saturating_add(listings.max(tables))
    }
}

/// What each part of a rank may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// Bytes of names that a worker holds of one directory.
    pub listing_bytes: usize,
    /// Bytes of items or notes that each table holds in memory.
    pub table_bytes: usize,
    /// Bytes of messages on their way, beyond which no worker takes an item that could bring more.
    pub message_bytes: usize,
    /// Subtrees whose losses are counted.
    pub subtrees: usize,
}

impl Shares {
    /// Shares out a bound; what is too little for this crowd counts as the least.
    pub fn of(bound: u64, crowd: Crowd) -> Self {
        let rest = bound.max(crowd.least()).saturating_sub(PROGRAM_BYTES).saturating_sub(crowd.bytes());
        let eighths = |n: u64| rest / 8 * n;
        let listing = eighths(LISTING_EIGHTHS) / crowd.copies() / u64::from(crowd.workers.max(1));
        let table = eighths(8 - LISTING_EIGHTHS - MESSAGE_EIGHTHS) / TABLES / TABLE_HALVES * 2;
        let whole = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Self {
            listing_bytes: whole(listing.min(LISTING_BYTES_MAX)),
            table_bytes: whole(table),
            message_bytes: whole(eighths(MESSAGE_EIGHTHS)),
            subtrees: whole(table / SUBTREE_BYTES),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    fn crowd() -> impl Strategy<Value = Crowd> {
        (1u32..1100, 0u32..=26, any::<bool>()).prop_map(|(workers, bits, removes)| Crowd {
            workers,
            buffer_bytes: 1 << bits,
            removes,
        })
    }

    proptest! {
        #[test]
        fn the_parts_with_a_checkpoint_are_less_than_the_whole(crowd in crowd(), more in 0u64..1 << 40) {
            let bound = crowd.least() + more;
            let Shares { listing_bytes, table_bytes, message_bytes, .. } = Shares::of(bound, crowd);
            let listings = u64::from(crowd.workers) * crowd.copies() * listing_bytes as u64;
            let (held, encoded) = (TABLES * table_bytes as u64, TABLES * table_bytes as u64);
            let parts = PROGRAM_BYTES + crowd.bytes() + listings + held + encoded + held / 2 + message_bytes as u64;
            prop_assert!(parts < bound, "{} of {}", parts, bound);
            prop_assert!(listing_bytes as u64 >= LISTING_BYTES_MIN - 8 && table_bytes as u64 >= TABLE_BYTES_MIN - 8);
        }

        #[test]
        fn who_has_more_has_no_part_smaller(crowd in crowd(), one in 0u64..1 << 36, other in 0u64..1 << 36) {
            let (less, more) = (Shares::of(one.min(other), crowd), Shares::of(one.max(other), crowd));
            prop_assert!(less.listing_bytes <= more.listing_bytes && less.table_bytes <= more.table_bytes);
            prop_assert!(less.message_bytes <= more.message_bytes && less.subtrees <= more.subtrees);
        }

        #[test]
        fn the_ranks_of_a_node_together_stay_below_every_limit(
            limits in proptest::array::uniform3(proptest::option::of(1u64..1 << 42)), ranks in 1u32..300,
        ) {
            let [slurm_node, cgroup, node] = limits;
            let told = Told { slurm_node, cgroup, node, ..Told::default() };
            let bound = Bound::of(&told, ranks);
            for limit in limits.into_iter().flatten() {
                prop_assert!(bound.bytes * u64::from(ranks) <= limit);
            }
            prop_assert!(bound.bytes <= ENOUGH_BYTES);
        }
    }

    #[test]
    fn the_operator_has_the_first_word() {
        let told = Told { asked: Some(3 << 40), cgroup: Some(1 << 30), ..Told::default() };
        assert_eq!(Bound::of(&told, 4), Bound { bytes: 3 << 40, origin: Origin::Asked });
    }

    #[test]
    fn the_smallest_limit_counts_and_is_named() {
        let told = Told { slurm_task: Some(800 * MIB), cgroup: Some(4 << 30), node: Some(64 << 30), ..Told::default() };
        assert_eq!(Bound::of(&told, 2), Bound { bytes: 600 * MIB, origin: Origin::SlurmCpu });
        let origin = |told: &Told, ranks| Bound::of(told, ranks).origin;
        assert_eq!(origin(&told, 40), Origin::Cgroup);
        assert_eq!(origin(&Told { node: Some(64 << 30), ..Told::default() }, 40), Origin::Node);
        assert_eq!(origin(&Told::default(), 1), Origin::Enough);
    }

    #[test]
    fn eight_workers_have_something_of_256_mib() {
        let crowd = Crowd { workers: 8, buffer_bytes: MIB, removes: false };
        let shares = Shares::of(256 * MIB, crowd);
        assert!(crowd.least() <= 192 * MIB, "{}", crowd.least() / MIB);
        assert!(shares.table_bytes as u64 >= 3 * MIB && shares.listing_bytes as u64 >= MIB, "{shares:?}");
    }
}
