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

pub use progress::Progress;
pub use share::Total;
pub use summary::Summary;

/// Says something that is no result: to stderr, one line.
pub fn say(message: &str) {
    eprintln!("pmirror: {message}");
}

/// Says several lines that are no result: to stderr, as they are.
pub fn tell(text: &str) {
    eprintln!("{}", text.trim_end());
}

/// Prints a result.
pub fn print(text: &str) {
    use std::io::Write;
    // A reader that has gone away, as `head` does, is no error of ours.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
