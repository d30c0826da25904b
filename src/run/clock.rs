//! The clock of a run: when it began, and how long its parts took.

use std::time::Instant;

use crate::report::summary::Seconds;

/// Measures the parts of a run.
pub struct Clock {
    started: Instant,
    started_at: jiff::Timestamp,
    lap: Instant,
    /// What was measured so far.
    pub seconds: Seconds,
}

impl Clock {
    /// The run begins.
    pub fn start() -> Self {
        let now = Instant::now();
        Self { started: now, started_at: jiff::Timestamp::now(), lap: now, seconds: Seconds::default() }
    }

    /// Seconds since the last lap.
    pub fn lap(&mut self) -> f64 {
        let seconds = self.lap.elapsed().as_secs_f64();
        self.lap = Instant::now();
        seconds
    }

    /// The run is over, after so many seconds of earlier attempts.
    pub fn stop(mut self, before: f64) -> Done {
        self.seconds.total = before + self.started.elapsed().as_secs_f64();
        Done { seconds: self.seconds, started_at: self.started_at, ended_at: jiff::Timestamp::now() }
    }
}

/// The clock of a run that is over.
pub struct Done {
    /// How long its parts took.
    pub seconds: Seconds,
    /// When it began.
    pub started_at: jiff::Timestamp,
    /// When it ended.
    pub ended_at: jiff::Timestamp,
}
