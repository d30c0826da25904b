//! One rank: its main thread with messages, waves and signals, and its workers over the bag. The only
//! place where scheduler, communication and passes meet.

mod bag;
mod chunked;
mod difference_log;
mod fault_log;
mod letters;
mod links;
mod main_thread;
mod overseer;
mod part_file;
mod remark_log;
mod removals;
mod state;
mod workers;

pub use bag::{Bag, Spill};
pub use difference_log::part_name as difference_part_name;
pub use difference_log::{DifferenceLog, ListSettings};
pub use fault_log::part_name as fault_part_name;
pub use fault_log::{FaultGroup, FaultLog};
pub use main_thread::{Ended, Engine, Finished, Setup};
pub use remark_log::RemarkLog;
pub use remark_log::part_name as remark_part_name;
