//! A terminal that is drawn on again and again, until a key is pressed: its other screen, so that what stood there before
//! comes back.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::tree::path::harmless;

/// The other screen and back, without and with the cursor (xterm's control sequences, which every terminal since has).
const OPEN: &str = "\x1b[?1049h\x1b[?25l";
const CLOSE: &str = "\x1b[?25h\x1b[?1049l";
/// To the first column of the first line; and what clears the rest of a line, and of the screen.
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// Columns and lines of a terminal that does not tell.
const SIZE: (usize, usize) = (80, 24);

/// How a line is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tone {
    /// As any text.
    #[default]
    Plain,
    /// As a heading.
    Bold,
    /// As something that somebody should see to.
    Alarm,
}

impl Tone {
    fn begin(self) -> &'static str {
        match self {
            Tone::Plain => "",
            Tone::Bold => "\x1b[1m",
            Tone::Alarm => "\x1b[31m",
        }
    }

    fn end(self) -> &'static str {
        if self == Tone::Plain { "" } else { "\x1b[0m" }
    }
}

/// The terminal.
pub struct Screen {
    before: Termios,
    has_colours: bool,
}

impl Screen {
    /// Takes the terminal; `None` if input or output is none, or it can not be drawn on.
    pub fn open() -> Option<Self> {
        let (input, output) = (io::stdin(), io::stdout());
        let kind = std::env::var("TERM").unwrap_or_default();
        if !input.is_terminal() || !output.is_terminal() || matches!(kind.as_str(), "" | "dumb") {
            return None;
        }
        let before = tcgetattr(&input).ok()?;
        let mut keys = before.clone();
        // Each key at once, and Ctrl-C as one of them.
        keys.local_modes &= !(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        keys.special_codes[SpecialCodeIndex::VMIN] = 0;
        keys.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&input, OptionalActions::Flush, &keys).ok()?;
        let has_colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let screen = Self { before, has_colours };
        if write(OPEN).is_err() {
            screen.close();
            return None;
        }
        Some(screen)
    }

    /// Gives it back as it was.
    pub fn close(self) {
        let _ = write(CLOSE);
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
    }

    /// Columns and lines.
    pub fn size(&self) -> (usize, usize) {
        let size = tcgetwinsize(io::stdout()).ok();
        size.filter(|size| size.ws_col > 0 && size.ws_row > 0)
            .map_or(SIZE, |size| (size.ws_col.into(), size.ws_row.into()))
    }

    /// Shows these lines, which fit.
    pub fn draw(&self, lines: &[(Tone, String)]) -> io::Result<()> {
        let mut text = HOME.to_owned();
        for (number, (tone, line)) in lines.iter().enumerate() {
            let tone = if self.has_colours { *tone } else { Tone::Plain };
            let end = if number + 1 == lines.len() { "" } else { "\r\n" };
            let line = harmless(line).replace('\n', " ");
            text.push_str(&format!("{}{line}{}{CLEAR_LINE}{end}", tone.begin(), tone.end()));
        }
        write(&(text + CLEAR_BELOW))
    }

    /// Waits for a key. Whether it is one that leaves: q, Ctrl-C, Ctrl-D, Escape, or the end of the terminal.
    pub fn waits_to_leave(&self, wait: Duration) -> bool {
        let input = io::stdin();
        let mut inputs = [PollFd::new(&input, PollFlags::IN)];
        let wait = Timespec { tv_sec: wait.as_secs().try_into().unwrap_or(1), tv_nsec: wait.subsec_nanos().into() };
        match poll(&mut inputs, Some(&wait)) {
            // A signal, such as that the size has changed.
            Ok(0) | Err(rustix::io::Errno::INTR) => return false,
            Ok(_) => {}
            Err(_) => return true,
        }
        let mut keys = [0; 64];
        match rustix::io::read(&input, &mut keys) {
            Ok(0) => true,
            Ok(got) => keys.iter().take(got).any(|key| matches!(key, b'q' | b'Q' | 3 | 4 | 0x1b)),
            Err(error) => error != rustix::io::Errno::INTR && error != rustix::io::Errno::AGAIN,
        }
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
