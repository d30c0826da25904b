//! The stealing protocol of one rank as a state machine: no files, no MPI, no clock.
//!
//! What it does and why it ends is told in `README.md` beside this file. The engine feeds it
//! (`handle_message`, `tick`, `take_item`, `finish_item`) and drains it (`poll_send`, `poll_note`).

mod cut;
mod line;
pub mod message;
mod random;
pub mod scheduler;
pub mod settings;
pub mod share;
mod thief;
pub mod vigil;
mod wave;

#[cfg(test)]
mod sim;

pub use cut::{Census, Crossing};
pub use message::{Control, Cut, Envelope, Epoch, Message, Oldest, Rank, Report, Stop};
pub use scheduler::{Local, Scheduler};
pub use settings::Settings;
pub use share::{Demand, Share};
pub use vigil::Vigil;
