//! `progress.json` in the run's directory: how far the run is, for whoever looks from outside.

use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::live::Told;
use crate::fs::operator::RunDirectory;

/// Its name.
pub const NAME: &str = "progress.json";

/// Where the engine keeps its checkpoints, and the file that puts one in force.
const CHECKPOINT: [&str; 2] = ["checkpoint", "manifest"];

/// It is never older, while waves come back.
const EVERY: Duration = Duration::from_secs(10);
/// A run that is over sooner needs none.
const FIRST_AFTER: Duration = Duration::from_secs(1);

/// The file, and the thread that writes it: rank 0 must answer the others also while the disk does not.
pub struct ProgressFile {
    directory: RunDirectory,
    standings: SyncSender<Told>,
    writer: JoinHandle<()>,
    next: Instant,
}

impl ProgressFile {
    /// The file of a run, not written yet. `None` where no thread can be had.
    pub fn new(directory: RunDirectory) -> Option<Self> {
        let (standings, received) = sync_channel::<Told>(1);
        let of_writer = directory.clone();
        let write = move || {
            for standing in received {
                if let Err(error) = of_writer.write(NAME, told(standing, &of_writer).to_json().as_bytes()) {
                    super::say(&format!("{NAME} can not be written, and is left alone from now on: {error}"));
                    return;
                }
            }
        };
        let writer = std::thread::Builder::new().name("progress".to_owned()).spawn(write).ok()?;
        Some(Self { directory, standings, writer, next: Instant::now() + FIRST_AFTER })
    }

    /// Whether it is time to write it.
    pub fn is_due(&self) -> bool {
        Instant::now() >= self.next
    }

    /// Has it written. A standing that comes while the last one is still being written is left out.
    pub fn keep(&mut self, standing: Told) {
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

/// With the checkpoint that is in force: this thread may wait for the disk that tells.
fn told(mut told: Told, directory: &RunDirectory) -> Told {
    told.live.checkpoint_at = checkpoint_made(directory).map(shown);
    told
}

/// When the checkpoint that is in force was put there, by the clock of the state directory's server.
pub fn checkpoint_made(directory: &RunDirectory) -> Option<Timestamp> {
    let [checkpoints, manifest] = CHECKPOINT;
    let made = directory.below(checkpoints).written_at(manifest).ok()?;
    Timestamp::try_from(made).ok()
}

/// RFC 3339, to the second.
pub fn shown(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::super::share::Standing;
    use super::*;

    #[test]
    fn the_file_is_there_until_the_run_ends() {
        let state = tempfile::tempdir().unwrap();
        let directory = RunDirectory::new(state.path(), "run");
        directory.make().unwrap();
        let mut file = ProgressFile::new(directory.clone()).unwrap();
        assert!(!file.is_due());
        let standing = Standing { pass: "mirror".into(), bytes: 500, percent: Some(50), ..Standing::default() };
        file.keep(Told { comment: standing.in_words(), standing, ..Told::default() });
        let tries_max = 5000;
        let written = (0..tries_max).find_map(|_| {
            std::thread::sleep(Duration::from_millis(1));
            directory.read(NAME, 4096).ok()
        });
        let text = String::from_utf8(written.unwrap()).unwrap();
        assert!(text.contains("\"comment\": \"50 % 500 B\""), "{text}");
        file.remove();
        assert_eq!(directory.names(10).unwrap().len(), 0);
    }
}
