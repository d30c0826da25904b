//! What a run tells: progress while it goes, a summary at its end. The only module that prints.

pub mod differences;
pub mod plan;
pub mod progress;
mod progress_file;
pub mod remarks;
mod removals;
pub mod share;
pub mod summary;
mod text;

use std::io::Write;
use std::time::{Duration, Instant};

pub use progress::Progress;
pub use share::Total;
pub use summary::Summary;

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

/// A terminal that has gone away is no error of ours.
fn write_to_stderr(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Prints a result.
pub fn print(text: &str) {
    // A reader that has gone away, as `head` does, is no error of ours.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
