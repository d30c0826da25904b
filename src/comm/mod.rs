//! Bytes between ranks. What they mean is the scheduler's business.

pub mod lanes;
pub mod local;
#[cfg(feature = "mpi")]
pub mod mpi;

use std::collections::VecDeque;

use crate::fs;
use crate::sched::Rank;

/// Moves bytes between ranks. Messages between two ranks keep their order.
pub trait Comm {
    /// This rank.
    fn rank(&self) -> Rank;

    /// All ranks.
    fn ranks(&self) -> u32;

    /// Sends without waiting; the bytes are kept until they have gone.
    fn send(&mut self, to: Rank, bytes: Vec<u8>);

    /// Bytes that were given to `send` and have not gone yet.
    fn unsent(&self) -> usize {
        0
    }

    /// The next message that has arrived, if any. Also moves what waits to be sent.
    fn receive(&mut self) -> Option<(Rank, Vec<u8>)>;

    /// Gives every rank the bytes of all ranks, in their order. Waits for all ranks: only between
    /// passes.
    fn gather(&mut self, bytes: Vec<u8>) -> Vec<Vec<u8>>;

    /// Waits until all that was sent has gone, and all that was sent here has come. All ranks call it, and send
    /// nothing more.
    fn finish(&mut self);

    /// Ends the processes of all ranks now, with this exit code. Nothing is put in order.
    fn abort(&mut self, code: u8) -> !;
}

/// The only rank of a run that no launcher started.
#[derive(Debug, Default)]
pub struct Alone {
    to_self: VecDeque<Vec<u8>>,
}

impl Comm for Alone {
    fn rank(&self) -> Rank {
        Rank::ROOT
    }

    fn ranks(&self) -> u32 {
        1
    }

    fn send(&mut self, _to: Rank, bytes: Vec<u8>) {
        self.to_self.push_back(bytes);
    }

    fn receive(&mut self) -> Option<(Rank, Vec<u8>)> {
        self.to_self.pop_front().map(|bytes| (Rank::ROOT, bytes))
    }

    fn gather(&mut self, bytes: Vec<u8>) -> Vec<Vec<u8>> {
        vec![bytes]
    }

    fn finish(&mut self) {}

    fn abort(&mut self, code: u8) -> ! {
        fs::leave(code)
    }
}
