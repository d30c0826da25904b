//! One rank: its main thread with messages, waves and signals, and its workers over the bag. The only
//! place where scheduler, communication and passes meet.

pub(crate) mod bag;
mod below;
mod between;
pub(crate) mod checkpoint;
mod checkpoints;
mod chunked;
mod company;
mod difference_log;
mod fault_log;
mod letters;
mod links;
mod lists;
mod lost;
mod main_thread;
mod met_log;
mod overseer;
mod part_file;
mod remark_log;
mod removals;
mod state;
mod stop_sign;
mod workers;

pub use bag::{Bag, Spill};
pub use checkpoint::{Archive, DurablePoints, Loader, Manifest};
pub use checkpoints::Checkpointing;
pub use company::{Company, part_of};
pub use difference_log::ListSettings;
pub use fault_log::FaultGroup;
pub use lists::{Author, Extent, List, Lists};
pub use main_thread::{Ended, Engine, Finished, Setup};
pub use met_log::author_of_met;
pub use stop_sign::StopSign;
pub use workers::no_thread;
