//! Deliberate faults between the ranks: the proof that the checkers would see real ones.

use std::time::Duration;

use super::super::message::{Envelope, Message, Rank, Report};
use super::plan::{Plan, Sabotage};
use super::trees::{Item, Note};

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Delivered,
    Lost,
    Twice,
    /// It stays in the sender for so long.
    Held(Duration),
}

/// Breaks one rule of the protocol from outside, so that the scheduler itself needs no switch.
pub struct Saboteur {
    wanted: Option<Sabotage>,
    hold: Duration,
    /// The last wave found no busy rank.
    no_rank_busy: bool,
    /// Of each rank: until when messages that count are held in it.
    held: Vec<Vec<Duration>>,
}

impl Saboteur {
    pub fn new(plan: &Plan) -> Self {
        Self {
            wanted: plan.sabotage,
            hold: plan.delay.max * 4,
            no_rank_busy: false,
            held: vec![Vec::new(); plan.ranks as usize],
        }
    }

    /// Whether rank 0 is told, after this wave, that the pass is over.
    pub fn forges_end(&mut self, report: &Report, ranks: u32) -> bool {
        let no_rank_busy = report.ranks == ranks && report.idle_ranks == ranks;
        let before = std::mem::replace(&mut self.no_rank_busy, no_rank_busy);
        match self.wanted {
            Some(Sabotage::OverAfterOneQuietWave) => no_rank_busy && report.sent == report.received,
            Some(Sabotage::OverWithoutCounting) => no_rank_busy && before,
            _ => false,
        }
    }

    /// Whether what an item made reaches its rank's state in a second step.
    pub fn splits_outcomes(&self) -> bool {
        self.wanted == Some(Sabotage::OutcomeInTwoSteps)
    }

    /// Whether what workers hold is left out of a checkpoint.
    pub fn forgets_running(&self) -> bool {
        self.wanted == Some(Sabotage::RunningForgotten)
    }

    /// Whether what comes late is left out of a checkpoint.
    pub fn forgets_late(&self) -> bool {
        self.wanted == Some(Sabotage::LateForgotten)
    }

    /// What becomes of a message that a rank sends.
    pub fn fate(&mut self, now: Duration, from: Rank, letter: &mut Envelope<Item, Note>) -> Fate {
        let counted = matches!(letter.message, Message::Loot { .. } | Message::Tell(_));
        match self.wanted {
            Some(Sabotage::LootLost) if counted => Fate::Lost,
            Some(Sabotage::LootTwice) if counted => Fate::Twice,
            Some(Sabotage::CountedWhenItLeaves) if counted => {
                self.held[from.0 as usize].push(now + self.hold);
                Fate::Held(self.hold)
            }
            Some(Sabotage::CountedWhenItLeaves) => {
                self.uncount(now, from, letter);
                Fate::Delivered
            }
            _ => Fate::Delivered,
        }
    }

    /// A rank's report leaves out what it has queued and not sent.
    fn uncount(&mut self, now: Duration, from: Rank, letter: &mut Envelope<Item, Note>) {
        let held = &mut self.held[from.0 as usize];
        held.retain(|until| *until > now);
        if let Message::WaveUp { report, .. } = &mut letter.message
            && report.ranks > 0
        {
            report.sent -= held.len() as u64;
        }
    }
}
