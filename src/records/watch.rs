//! `pmirror status --watch`: the view of a run until it ends.

use std::time::Duration;

use jiff::Timestamp;

use super::run::{Run, State};
use super::status::Shown;
use super::view::{self, Letters};
use crate::fault::Error;
use crate::report::print_on;
use crate::report::screen::Screen;
use crate::signals;

/// So often the records are looked at. They are renewed every ten seconds.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Shows it until it ends, or somebody has seen enough. Returns what is left to print.
pub fn watch(run: &Run, json: bool) -> Result<String, Error> {
    if json {
        return blocks(run, &|shown| shown.json(true));
    }
    let Some(screen) = Screen::open() else {
        return blocks(run, &|shown| Ok(shown.text(Timestamp::now()) + "\n"));
    };
    // A signal must not leave the terminal as the view needs it.
    let ended =
        signals::watch().and_then(|stop_sign| view(run, &screen, &|| stop_sign.wanted(Timestamp::now()).is_some()));
    screen.close();
    ended
}

fn is_over(shown: &Shown<'_>) -> bool {
    matches!(shown.seen.state, State::Ended | State::Died)
}

fn view(run: &Run, screen: &Screen, is_stopped: &dyn Fn() -> bool) -> Result<String, Error> {
    let (letters, mut before) = (Letters::of_environment(), None);
    loop {
        let now = Timestamp::now();
        let shown = Shown::look(run, before, now)?;
        if is_over(&shown) {
            return Ok(shown.text(now));
        }
        let lines = view::cut(view::lines(&shown, letters, now), screen.size());
        if screen.draw(&lines).is_err() || screen.waits_to_leave(LOOK_EVERY) || is_stopped() {
            return Ok(String::new());
        }
        before = Some(shown);
    }
}

/// Without a terminal: one block whenever something has changed.
fn blocks(run: &Run, text: &dyn Fn(&Shown<'_>) -> Result<String, Error>) -> Result<String, Error> {
    let (mut before, mut told) = (None, None);
    loop {
        let shown = Shown::look(run, before, Timestamp::now())?;
        let block = text(&shown)?;
        if is_over(&shown) {
            return Ok(block);
        }
        let news = Some((shown.seen.state, shown.seen.heard));
        if news != told {
            told = news;
            let printed = print_on(&block).map_err(|error| Error::Fatal(format!("stdout takes nothing: {error}")))?;
            if !printed {
                return Ok(String::new());
            }
        }
        before = Some(shown);
        std::thread::sleep(LOOK_EVERY);
    }
}
