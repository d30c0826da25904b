//! What a run tells: progress while it goes, a summary at its end. The only module that prints.

mod board;
pub mod differences;
pub mod job;
pub mod json;
pub mod live;
pub mod plan;
pub mod preflight;
pub mod progress;
pub mod progress_file;
pub mod remarks;
mod removals;
pub mod rows;
pub mod screen;
pub mod share;
pub mod summary;
mod text;

use std::io::{self, Write};
use std::time::{Duration, Instant};

use crate::tree::path::harmless;

pub use board::{Board, Cell, JobProgress};
pub use progress::Progress;
pub use share::Total;
pub use summary::Summary;
pub use text::plural;

/// Says something that is no result: to stderr, one line.
pub fn say(message: &str) {
    write_to_stderr(&format!("pmirror: {message}\n"));
}

/// The last word of a process that ends at once. If stderr does not take it, as a stopped terminal does not, it
/// is left unsaid.
pub fn say_last(message: &str) {
    let message = message.to_owned();
    let said = std::thread::Builder::new().spawn(move || say(&message));
    let (began, wait) = (Instant::now(), Duration::from_secs(1));
    while said.as_ref().is_ok_and(|said| !said.is_finished()) && began.elapsed() < wait {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Says several lines that are no result: to stderr, as they are.
pub fn tell(text: &str) {
    write_to_stderr(&format!("{}\n", text.trim_end()));
}

/// A terminal that has gone away is no error of ours. Whatever has come into a message (an argument that is quoted, a
/// name that was read from a file), nothing in it reaches a terminal raw.
fn write_to_stderr(text: &str) {
    let _ = io::stderr().write_all(harmless(text).as_bytes());
}

/// Prints a result.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    unless_gone(out.write_all(harmless(text).as_bytes()).and_then(|()| out.flush()))
}

/// Prints a result to whom reads on. Whether somebody still does.
pub fn print_on(text: &str) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(harmless(text).as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        printed => printed.map(|()| true),
    }
}

/// A reader that has gone away, as `head` does, is no error of ours.
pub fn unless_gone(written: io::Result<()>) -> io::Result<()> {
    written.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
}
