//! A rank's part in the waves: begin them, pass them down, answer them, and what rank 0 learns at their end.

use std::time::Duration;

use super::{Local, Scheduler};
use crate::sched::message::{Control, Message, Rank, Report};
use crate::sched::share::Demand;
use crate::sched::wave::{Gathered, Passed, children};

impl<L: Local> Scheduler<L> {
    pub(super) fn pass_wave_down(&mut self, now: Duration, local: &mut L, from: Rank, wave: u64, control: &Control) {
        self.stop = self.stop.max(control.stop);
        if let Some(cut) = control.seal {
            self.cutter.seal(cut);
        }
        match self.waves.pass_down(now, wave, from, &self.settings) {
            Passed::Repeated => self.send(from, Message::WaveUp { wave, report: Report::default() }),
            Passed::Down(to) => self.control(local, wave, control, to),
        }
    }

    /// Takes in what rank 0 asks of all, and passes it on. An older wave's shares do not count any more.
    fn control(&mut self, local: &mut L, wave: u64, control: &Control, to: Vec<Rank>) {
        let mine = control.shares.iter().find(|share| share.rank == self.me);
        local.hear_wave(mine.map(|share| share.rates));
        for child in to {
            self.send(child, Message::WaveDown { wave, control: control.clone() });
        }
    }

    pub(super) fn begin_wave(&mut self, now: Duration, local: &mut L) {
        if self.me != Rank::ROOT || self.waves.is_gathering() {
            return;
        }
        if self.is_idle(local) {
            self.next_wave = self.next_wave.min(now + self.pause_idle());
        }
        if now < self.next_wave {
            return;
        }
        self.stop = self.stop.max(self.stop_wanted);
        let (wave, to) = self.waves.begin(now, &self.settings);
        let shares = self.ledger.as_mut().map(|ledger| ledger.share_out(now)).unwrap_or_default();
        let control = Control { stop: self.stop, shares, seal: self.cutter.sealed() };
        self.control(local, wave, &control, to);
        self.answer_wave(now, local);
    }

    /// When the children have answered: add the own status, read in one step, and answer.
    pub(super) fn answer_wave(&mut self, now: Duration, local: &mut L) {
        let Some(Gathered { wave, parent, mut total }) = self.waves.gathered(now) else {
            return;
        };
        total.merge(self.status(local));
        match parent {
            Some(parent) => self.send(parent, Message::WaveUp { wave, report: total }),
            None => self.end_wave(now, total),
        }
    }

    fn status(&self, local: &L) -> Report {
        let idle = self.is_idle(local);
        let demand = local.demand().map(|demand| Demand { wants: if idle { [0; 2] } else { demand.wants }, ..demand });
        Report {
            ranks: 1,
            idle_ranks: u32::from(idle),
            sent: self.sent,
            received: self.received,
            queued: local.queued() as u64,
            counters: local.counters(),
            oldest: local.oldest().into_iter().collect(),
            silent: Vec::new(),
            stop: self.stop_wanted,
            demands: demand.into_iter().collect(),
            cut: self.cutter.census(),
        }
    }

    /// Rank 0: a checkpoint goes on as far as the ranks are that answered.
    fn look_at_cut(&mut self, report: &Report) {
        let census = report.cut;
        if census.cut != self.cutter.cut() || !census.is_complete(self.ranks) {
            return;
        }
        if census.kept == self.ranks {
            self.kept = Some(census.cut);
            self.cutter.close();
        } else if self.may_seal {
            self.cutter.seal(census.cut);
        }
    }

    /// Rank 0: the end of a wave, and perhaps of the pass.
    fn end_wave(&mut self, now: Duration, report: Report) {
        let all_idle = report.idle_ranks == self.ranks;
        let quiet = (all_idle && report.sent == report.received).then_some((report.sent, report.received));
        let over = quiet.is_some() && quiet == self.last_quiet;
        self.last_quiet = quiet;
        self.stop_wanted = self.stop_wanted.max(report.stop);
        self.waves.adopt_children_of(&report.silent, &self.settings);
        let starving = self.ledger.as_mut().is_some_and(|ledger| {
            report.demands.iter().for_each(|demand| ledger.hear(now, demand));
            ledger.has_starving()
        });
        let pause = match () {
            // The second look, at once. Were a message on its way, waves without a pause would not hurry it.
            () if quiet.is_some() => Duration::ZERO,
            () if report.idle_ranks > 0 || starving || self.stop_wanted > self.stop => self.pause_idle(),
            () => self.settings.wave_pause_busy,
        };
        self.next_wave = now + pause;
        self.look_at_cut(&report);
        self.news = Some(report);
        if over {
            self.halt();
        }
    }

    /// A wave costs a message per rank, so more ranks wait longer between two of them.
    pub(super) fn pause_idle(&self) -> Duration {
        if self.ranks == 1 {
            return Duration::ZERO;
        }
        let pause = self.settings.wave_pause_idle + Duration::from_micros(20) * self.ranks;
        pause.min(self.settings.wave_pause_busy)
    }

    pub(super) fn halt(&mut self) {
        assert!(self.running == 0);
        assert!(self.inbox.is_empty());
        for child in children(self.me, self.ranks, self.settings.wave_arity) {
            self.send(child, Message::Halt);
        }
        self.over = true;
    }
}
