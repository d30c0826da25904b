//! `progress.json` in the run's directory: how far the run is, for whoever looks from outside.

use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::share::Standing;
use crate::fs::operator::RunDirectory;

const NAME: &str = "progress.json";

/// It is never older, while waves come back.
const EVERY: Duration = Duration::from_secs(10);

/// The file, and the thread that writes it: rank 0 must answer the others also while the disk does not.
pub struct ProgressFile {
    directory: RunDirectory,
    standings: SyncSender<Standing>,
    writer: JoinHandle<()>,
    next: Instant,
}

impl ProgressFile {
    /// The file of a run, not written yet. `None` where no thread can be had.
    pub fn new(directory: RunDirectory) -> Option<Self> {
        let (standings, received) = sync_channel::<Standing>(1);
        let of_writer = directory.clone();
        let write = move || {
            for standing in received {
                if let Err(error) = of_writer.write(NAME, standing.to_json().as_bytes()) {
                    super::say(&format!("{NAME} can not be written, and is left alone from now on: {error}"));
                    return;
                }
            }
        };
        let writer = std::thread::Builder::new().name("progress".to_owned()).spawn(write).ok()?;
        Some(Self { directory, standings, writer, next: Instant::now() })
    }

    /// Whether it is time to write it.
    pub fn is_due(&self) -> bool {
        Instant::now() >= self.next
    }

    /// Has it written. A standing that comes while the last one is still being written is left out.
    pub fn keep(&mut self, standing: Standing) {
        match self.standings.try_send(standing) {
            Ok(()) => self.next = Instant::now() + EVERY,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }

    /// The run is over: its summary tells more.
    pub fn remove(self) {
        let Self { directory, standings, writer, .. } = self;
        drop(standings);
        let _ = writer.join();
        let _ = directory.remove(NAME);
    }
}
