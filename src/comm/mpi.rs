//! Ranks as MPI processes. Everything here is called by the main thread only
//! (`MPI_THREAD_FUNNELED`).
#![allow(unsafe_code)]

use std::collections::{HashMap, VecDeque};
use std::os::raw::{c_int, c_void};
use std::time::Duration;

use mpi::Threading;
use mpi::environment::Universe;
use mpi::ffi;
use mpi::raw::AsRaw;
use mpi::topology::{Communicator, SimpleCommunicator};
use mpi::traits::{CommunicatorCollectives, Equivalence, Source};

use super::Comm;
use crate::fs;
use crate::sched::Rank;

/// A longer message goes in several, as MPI counts in 32-bit integers.
const FRAGMENT_BYTES_MAX: usize = 1 << 30;

/// A process that can not tell the launcher leaves all the same.
const ABORT_WAIT: Duration = Duration::from_secs(20);

/// More of the message follows.
const MORE: c_int = 1;
/// The last fragment of a message, mostly its only one.
const LAST: c_int = 2;

/// This process among the others.
pub struct Mpi {
    world: SimpleCommunicator,
    sending: VecDeque<Sending>,
    /// Bytes of these.
    unsent: usize,
    /// Fragments of messages whose last has not come.
    parts: HashMap<c_int, Vec<u8>>,
    fragment_bytes_max: usize,
    /// Fragments sent to each rank, and received from all.
    sent: Vec<u64>,
    received: u64,
    // Dropped last: finalizes MPI.
    _universe: Universe,
}

/// A message on its way: MPI reads the bytes until the request is done.
struct Sending {
    request: ffi::MPI_Request,
    bytes: Vec<u8>,
}

/// What the MPI library calls itself; may be asked before it is initialized.
pub fn library() -> String {
    let text = mpi::environment::library_version().unwrap_or_default();
    text.lines().next().unwrap_or_default().trim_end_matches('\0').trim().to_owned()
}

impl Mpi {
    /// Starts MPI. `None`: it gives no thread support at all, or was started before.
    pub fn start() -> Option<Self> {
        let (universe, threading) = mpi::initialize_with_threading(Threading::Funneled)?;
        let world = universe.world();
        (threading >= Threading::Funneled).then(|| Self {
            sent: vec![0; world.size().unsigned_abs() as usize],
            received: 0,
            world,
            sending: VecDeque::new(),
            unsent: 0,
            parts: HashMap::new(),
            fragment_bytes_max: FRAGMENT_BYTES_MAX,
            _universe: universe,
        })
    }

    /// Cuts messages into smaller fragments than usual, so that a test meets the cutting.
    pub fn set_fragment_bytes_max(&mut self, bytes: usize) {
        assert!(bytes > 0);
        self.fragment_bytes_max = bytes;
    }

    fn start_sending(&mut self, to: Rank, tag: c_int, bytes: Vec<u8>) {
        let count = c_int::try_from(bytes.len()).unwrap_or(c_int::MAX);
        if let Some(sent) = self.sent.get_mut(to.0 as usize) {
            *sent += 1;
        }
        let to = c_int::try_from(to.0).unwrap_or(c_int::MAX);
        // SAFETY: a request handle that MPI_Isend fills in before anything reads it.
        let mut request: ffi::MPI_Request = unsafe { ffi::RSMPI_REQUEST_NULL };
        // SAFETY: the bytes live on the heap and are neither moved nor changed nor freed before
        // `reap` has seen the request done; the communicator is valid while `self` is.
        let code = unsafe {
            ffi::MPI_Isend(
                bytes.as_ptr().cast::<c_void>(),
                count,
                ffi::RSMPI_UINT8_T,
                to,
                tag,
                self.world.as_raw(),
                &raw mut request,
            )
        };
        assert!(code == 0, "MPI_Isend failed with {code}");
        self.unsent += bytes.len();
        self.sending.push_back(Sending { request, bytes });
    }

    /// Lets go of messages that have gone. They mostly go in order, so the oldest are asked first.
    fn reap(&mut self) {
        let asked_max = 16;
        for _ in 0..asked_max.min(self.sending.len()) {
            let Some(mut sending) = self.sending.pop_front() else {
                return;
            };
            if is_done(&mut sending.request) {
                self.unsent -= sending.bytes.len();
            } else {
                self.sending.push_back(sending);
            }
        }
    }
}

fn is_done(request: &mut ffi::MPI_Request) -> bool {
    let mut done: c_int = 0;
    // SAFETY: the request is one that MPI_Isend gave and that was not completed yet.
    let code = unsafe { ffi::MPI_Test(request, &raw mut done, ffi::RSMPI_STATUS_IGNORE) };
    assert!(code == 0, "MPI_Test failed with {code}");
    done != 0
}

impl Comm for Mpi {
    fn rank(&self) -> Rank {
        Rank(self.world.rank().unsigned_abs())
    }

    fn ranks(&self) -> u32 {
        self.world.size().unsigned_abs()
    }

    fn send(&mut self, to: Rank, bytes: Vec<u8>) {
        if bytes.len() <= self.fragment_bytes_max {
            return self.start_sending(to, LAST, bytes);
        }
        let fragments = bytes.chunks(self.fragment_bytes_max);
        let last = fragments.len() - 1;
        for (index, fragment) in fragments.enumerate() {
            self.start_sending(to, if index == last { LAST } else { MORE }, fragment.to_vec());
        }
    }

    fn unsent(&self) -> usize {
        self.unsent
    }

    fn receive(&mut self) -> Option<(Rank, Vec<u8>)> {
        self.reap();
        loop {
            let (message, status) = self.world.any_process().immediate_matched_probe()?;
            let (from, tag) = (status.source_rank(), status.tag());
            let length = usize::try_from(status.count(u8::equivalent_datatype())).unwrap_or(0);
            let mut bytes = vec![0u8; length];
            message.matched_receive_into(&mut bytes[..]);
            self.received += 1;
            let whole = match self.parts.remove(&from) {
                Some(mut parts) => {
                    parts.append(&mut bytes);
                    parts
                }
                None => bytes,
            };
            if tag == LAST {
                return Some((Rank(from.unsigned_abs()), whole));
            }
            self.parts.insert(from, whole);
        }
    }

    fn gather(&mut self, bytes: Vec<u8>) -> Vec<Vec<u8>> {
        let ranks = self.ranks() as usize;
        let mut lengths = vec![0u64; ranks];
        self.world.all_gather_into(&(bytes.len() as u64), &mut lengths[..]);
        // Every rank gets parts of one length: collectives between passes carry little.
        let longest = usize::try_from(lengths.iter().copied().max().unwrap_or(0)).unwrap_or(0);
        let mut padded = bytes;
        padded.resize(longest.max(1), 0);
        let mut all = vec![0u8; padded.len() * ranks];
        self.world.all_gather_into(&padded[..], &mut all[..]);
        all.chunks(padded.len())
            .zip(lengths)
            .map(|(part, length)| part.get(..usize::try_from(length).unwrap_or(0)).unwrap_or_default().to_vec())
            .collect()
    }

    /// Takes in all that was sent to this rank, although it is said to passes that are over: MPI wants every
    /// message received before it ends (MPI 3.1, 8.7), and libraries complain on stdout if one was not.
    fn finish(&mut self) {
        let mut sent_to_us = vec![0u64; self.sent.len()];
        self.world.all_to_all_into(&self.sent[..], &mut sent_to_us[..]);
        let due: u64 = sent_to_us.iter().sum();
        while self.received < due || !self.sending.is_empty() {
            if self.receive().is_none() {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
    }

    fn abort(&mut self, code: u8) -> ! {
        // The library tells the launcher, and may wait for it where the network is gone.
        let _ = std::thread::Builder::new().spawn(move || {
            std::thread::sleep(ABORT_WAIT);
            fs::leave(code);
        });
        // SAFETY: the communicator is valid while `self` is, and MPI is not finalized before `self` is dropped.
        unsafe { ffi::MPI_Abort(self.world.as_raw(), c_int::from(code)) };
        fs::leave(code)
    }
}
