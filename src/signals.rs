//! What each signal asks of the run.

use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};

use crate::engine::{StopSign, no_thread};
use crate::fault::Error;
use crate::fs;
use crate::report;
use crate::sched::Stop;

/// Slurm sends SIGTERM twice within a second or so, and so do people who are not sure. Only who asks again
/// after so long means it.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The exit code of SIGTERM and SIGINT.
const EXIT_CODE: u8 = 20;

/// What is done about a signal.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// The run stops in order.
    Stop(Stop),
    /// The process leaves as it is.
    Leave,
}

/// Signals that are waited for; each asks for a stop. SIGXCPU comes when the CPU time that a shell allows is
/// used up, some seconds before SIGKILL: a time limit.
const HEARD: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1, Signal::SIGXCPU];

/// Signals that change nothing. SIGHUP: a lost terminal is no reason to lose a night of copying. SIGPIPE and
/// SIGXFSZ come as errors of the system call as well.
const IGNORED: [Signal; 3] = [Signal::SIGHUP, Signal::SIGPIPE, Signal::SIGXFSZ];

/// From now on signals end the run in order. They are blocked in all threads but one, which waits for them, so
/// no system call of a worker is interrupted. Call it before other threads begin: they inherit what is blocked.
pub fn watch() -> Result<StopSign, Error> {
    let sign = StopSign::default();
    let heard: SigSet = HEARD.into_iter().collect();
    let blocked: SigSet = HEARD.into_iter().chain(IGNORED).collect();
    if blocked.thread_block().is_err() {
        return Ok(sign);
    }
    let shown = sign.clone();
    let listen = move || {
        let (began, mut ear) = (Instant::now(), Ear::default());
        while let Ok(signal) = heard.wait() {
            match ear.hear(began.elapsed(), signal) {
                Answer::Stop(stop) => shown.want(stop),
                Answer::Leave => leave(signal),
            }
        }
    };
    let thread = std::thread::Builder::new().name("signals".to_owned());
    thread.spawn(listen).map_err(|error| no_thread("the thread that hears signals", &error))?;
    Ok(sign)
}

/// Whoever asked has waited, and something hangs: nothing is put in order.
fn leave(signal: Signal) -> ! {
    report::say_last(&format!("{signal} once more: leaving at once; the same command goes on from here"));
    fs::leave(EXIT_CODE)
}

/// What was heard so far.
#[derive(Debug, Default)]
struct Ear {
    /// When the first signal came that means it.
    first: Option<Duration>,
}

impl Ear {
    fn hear(&mut self, now: Duration, signal: Signal) -> Answer {
        if !matches!(signal, Signal::SIGTERM | Signal::SIGINT) {
            return Answer::Stop(Stop::Time);
        }
        let first = *self.first.get_or_insert(now);
        if now.saturating_sub(first) > AGAIN_AFTER { Answer::Leave } else { Answer::Stop(Stop::Signal) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(heard: &[(u64, Signal)]) -> Vec<Answer> {
        let mut ear = Ear::default();
        heard.iter().map(|&(millis, signal)| ear.hear(Duration::from_millis(millis), signal)).collect()
    }

    #[test]
    fn signals_that_come_close_together_are_one_wish() {
        let heard = [(70_000, Signal::SIGTERM), (71_000, Signal::SIGTERM), (75_000, Signal::SIGINT)];
        assert!(answers(&heard).into_iter().all(|answer| answer == Answer::Stop(Stop::Signal)));
    }

    #[test]
    fn who_asks_again_after_a_while_is_obeyed_at_once() {
        let heard = [(0, Signal::SIGINT), (3_000, Signal::SIGINT), (5_001, Signal::SIGTERM)];
        assert_eq!(answers(&heard).pop(), Some(Answer::Leave));
    }

    #[test]
    fn a_time_limit_is_no_first_signal() {
        let heard = [(0, Signal::SIGUSR1), (60_000, Signal::SIGXCPU), (120_000, Signal::SIGTERM)];
        assert_eq!(answers(&heard), [Answer::Stop(Stop::Time), Answer::Stop(Stop::Time), Answer::Stop(Stop::Signal)]);
    }
}
