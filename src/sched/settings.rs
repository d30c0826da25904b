//! Times and bounds of the protocol; `README.md` tells what each is for.

use std::time::Duration;

use super::share::{Rates, UNLIMITED};

/// Times and bounds of the protocol.
#[derive(Debug, Clone, Hash)]
pub struct Settings {
    /// After this a steal request is written off.
    pub steal_wait: Duration,
    /// So long a thief waits in a victim's line for items; doubled after each refusal.
    pub line_wait_min: Duration,
    /// The longest such wait.
    pub line_wait_max: Duration,
    /// Children of a rank in the tree of the waves.
    pub wave_arity: u32,
    /// How long a rank waits for the answer of a child that is a leaf.
    pub wave_patience: Duration,
    /// Pause between waves while some rank is idle; grows with the number of ranks.
    pub wave_pause_idle: Duration,
    /// Pause between waves while all ranks are busy.
    pub wave_pause_busy: Duration,
    /// What all ranks together may use.
    pub limits: Rates,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            steal_wait: Duration::from_secs(1),
            line_wait_min: Duration::from_millis(1),
            line_wait_max: Duration::from_millis(20),
            wave_arity: 8,
            wave_patience: Duration::from_secs(1),
            wave_pause_idle: Duration::from_millis(5),
            wave_pause_busy: Duration::from_millis(500),
            limits: [UNLIMITED; 2],
        }
    }
}
