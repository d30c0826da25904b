//! One rank's side of the protocol: stealing, waves and the end of a pass, put together.

mod cuts;
mod waves;

use std::collections::VecDeque;
use std::time::Duration;

use super::cut::{Crossing, Cutter};
use super::line::{Line, Waiting};
use super::message::{Cut, Envelope, Epoch, Message, Oldest, Rank, Report, Stop};
use super::settings::Settings;
use super::share::{Demand, Ledger, Rates, UNLIMITED};
use super::thief::{Ask, Thief};
use super::wave::Waves;

/// What the scheduler needs of its rank: the bag of items, and a status for the waves.
pub trait Local {
    /// The unit of work.
    type Item;
    /// A note to an owner.
    type Note;

    /// Items that wait, spilled ones included.
    fn queued(&self) -> usize;
    /// Adds items.
    fn push(&mut self, items: Vec<Self::Item>);
    /// Takes the newest item.
    fn pop(&mut self) -> Option<Self::Item>;
    /// Takes the oldest half by weight for a thief, at least one and at most `items_max` items.
    /// Called only with 1 <= `items_max` <= `queued()`.
    fn loot(&mut self, items_max: usize) -> Vec<Self::Item>;
    /// The counters of this rank, for the waves.
    fn counters(&self) -> Vec<u64>;
    /// The operation of this rank that has been running longest.
    fn oldest(&self) -> Option<Oldest>;
    /// What this rank uses and would use of what is limited; `None` without limits.
    fn demand(&self) -> Option<Demand> {
        None
    }
    /// A wave came: what this rank may use holds for a while longer, or from now on it is this.
    fn hear_wave(&mut self, _share: Option<Rates>) {}
}

/// What ranks with such a `Local` send each other.
pub type Post<L> = Envelope<<L as Local>::Item, <L as Local>::Note>;

/// The protocol of one rank. See `README.md`.
#[cfg_attr(test, derive(Clone, Hash))]
#[allow(clippy::type_complexity)] // Spelled out, as a derive must see the types of `L`.
pub struct Scheduler<L: Local> {
    me: Rank,
    ranks: u32,
    settings: Settings,
    workers: u32,
    epoch: Epoch,
    over: bool,
    running: u32,
    sent: u64,
    received: u64,
    inbox: VecDeque<L::Note>,
    outgoing: VecDeque<(Rank, Envelope<L::Item, L::Note>)>,
    /// Messages of an epoch that this rank has not entered yet.
    early: Vec<(Rank, Envelope<L::Item, L::Note>)>,
    thief: Thief,
    line: Line,
    waves: Waves,
    /// Rank 0: when the next wave begins.
    next_wave: Duration,
    /// Rank 0: (sent, received) of the last wave, if it was complete and all ranks were idle.
    last_quiet: Option<(u64, u64)>,
    /// Rank 0: what the last wave brought, until it is polled.
    news: Option<Report>,
    /// Rank 0: who may use what, if anything is limited.
    ledger: Option<Ledger>,
    stop_wanted: Option<Stop>,
    stop: Option<Stop>,
    cutter: Cutter,
    /// Rank 0: its own part of the checkpoint is ready to be made durable, as all the others' may be then.
    may_seal: bool,
    /// Rank 0: the checkpoint of which all parts are durable, until it is polled.
    kept: Option<Cut>,
}

impl<L: Local> Scheduler<L> {
    /// A rank before its first pass. `workers` run items at one time; `neighbours` are the other
    /// ranks of this node.
    pub fn new(me: Rank, ranks: u32, workers: u32, neighbours: Vec<Rank>, seed: u64, settings: Settings) -> Self {
        assert!(workers > 0);
        Self {
            me,
            ranks,
            workers,
            epoch: Epoch(0),
            over: true,
            running: 0,
            sent: 0,
            received: 0,
            inbox: VecDeque::new(),
            outgoing: VecDeque::new(),
            early: Vec::new(),
            thief: Thief::new(me, ranks, neighbours, seed),
            line: Line::default(),
            waves: Waves::new(me, ranks),
            next_wave: Duration::ZERO,
            last_quiet: None,
            news: None,
            ledger: (me == Rank::ROOT && settings.limits != [UNLIMITED; 2])
                .then(|| Ledger::new(settings.limits, ranks)),
            stop_wanted: None,
            stop: None,
            cutter: Cutter::default(),
            may_seal: false,
            kept: None,
            settings,
        }
    }

    /// Rank 0: what all ranks together may use from now on, if anything is limited.
    pub fn set_limits(&mut self, limits: Rates) {
        if let Some(ledger) = &mut self.ledger {
            ledger.set_limits(limits);
        }
    }

    /// Begins the next pass with this rank's own first items. What `poll_early` has follows at once.
    pub fn enter_epoch(&mut self, now: Duration, local: &mut L, seeds: Vec<L::Item>) {
        assert!(self.over);
        assert!(self.running == 0);
        assert!(self.inbox.is_empty());
        assert!(self.stop.is_some() || local.queued() == 0);
        self.epoch = Epoch(self.epoch.0 + 1);
        self.over = false;
        self.sent = 0;
        self.received = 0;
        self.last_quiet = None;
        self.thief.enter_epoch(now);
        self.line.enter_epoch();
        self.waves.enter_epoch();
        self.next_wave = now + self.pause_idle();
        self.cutter.enter_epoch();
        (self.may_seal, self.kept) = (false, None);
        local.push(seeds);
    }

    /// The next message of this pass that came before this rank had entered it, to be handled now.
    pub fn poll_early(&mut self) -> Option<(Rank, Post<L>)> {
        (!self.early.is_empty()).then(|| self.early.remove(0))
    }

    /// A worker takes an item. It must call `finish_item` when it is done.
    pub fn take_item(&mut self, local: &mut L) -> Option<L::Item> {
        if self.over || self.stop.is_some() {
            return None;
        }
        let item = local.pop()?;
        self.running += 1;
        Some(item)
    }

    /// A worker is done with an item: what it made enters the rank's state in this one step.
    pub fn finish_item(&mut self, local: &mut L, items: Vec<L::Item>, tells: Vec<(Rank, L::Note)>) {
        assert!(self.running > 0);
        self.running -= 1;
        self.add(local, items, tells);
    }

    /// A note was taken in; it may have made work. Called before anything else after `poll_note`.
    pub fn finish_note(&mut self, local: &mut L, items: Vec<L::Item>, tells: Vec<(Rank, L::Note)>) {
        self.add(local, items, tells);
    }

    fn add(&mut self, local: &mut L, items: Vec<L::Item>, tells: Vec<(Rank, L::Note)>) {
        assert!(!self.over);
        local.push(items);
        for (to, note) in tells {
            assert!(to.0 < self.ranks);
            if to == self.me {
                self.inbox.push_back(note);
            } else {
                self.sent += 1;
                self.send(to, Message::Tell(note));
            }
        }
    }

    /// Notes to this rank that it has not taken in.
    pub fn inbox(&self) -> impl Iterator<Item = &L::Note> {
        self.inbox.iter()
    }

    /// Takes in a message of another rank.
    pub fn handle_message(&mut self, now: Duration, local: &mut L, from: Rank, envelope: Envelope<L::Item, L::Note>) {
        assert!(from != self.me);
        self.thief.heard(from);
        self.waves.heard(from);
        let crossing = self.crossing(&envelope);
        let Envelope { epoch, cut, message } = envelope;
        if epoch > self.epoch {
            assert!(epoch.0 == self.epoch.0 + 1, "a rank is two passes ahead");
            if !self.over {
                // Nobody begins the next pass before this one is over. Our `Halt` may be held up in
                // a stopped rank, and that must not keep us from the next pass.
                self.halt();
            }
            self.early.push((from, Envelope { epoch, cut, message }));
            return;
        }
        if epoch < self.epoch || self.over {
            let counted = matches!(message, Message::Loot { .. } | Message::Tell(_));
            assert!(!counted, "work of a pass that was declared over");
            return;
        }
        assert!(!matches!(crossing, Crossing::FromAfter(_)), "the cut comes before what was sent after it");
        if crossing == Crossing::FromBefore {
            self.cutter.receive_late();
        }
        self.handle_current(now, local, from, message);
    }

    fn handle_current(&mut self, now: Duration, local: &mut L, from: Rank, message: Message<L::Item, L::Note>) {
        match message {
            Message::StealRequest { request, hungry, wait } => {
                let until = if hungry > 0 { now.saturating_add(wait) } else { now };
                self.line.join(Waiting { until, thief: from, request, hungry });
            }
            Message::Loot { request, items } => {
                assert!(!items.is_empty());
                self.received += 1;
                self.thief.looted(now, from, request);
                local.push(items);
            }
            Message::Refusal { request } => self.thief.refused(request),
            Message::Tell(note) => {
                self.received += 1;
                self.inbox.push_back(note);
            }
            Message::WaveDown { wave, control } => self.pass_wave_down(now, local, from, wave, &control),
            Message::WaveUp { wave, report } => self.waves.answered(from, wave, report),
            Message::Halt => self.halt(),
        }
        self.answer_wave(now, local);
    }

    /// Thieves in the line get equal shares, and are refused when their patience ends.
    fn answer_thieves(&mut self, now: Duration, local: &mut L) {
        while let Some(Waiting { until, thief, request, hungry }) = self.line.first() {
            let spare = self.spare(local, hungry);
            if spare > 0 {
                let items = local.loot(spare.div_ceil(self.line.len() + 1));
                assert!(!items.is_empty());
                self.sent += 1;
                self.send(thief, Message::Loot { request, items });
            } else if now >= until || self.stop.is_some() {
                self.send(thief, Message::Refusal { request });
            } else {
                return;
            }
            self.line.leave();
        }
    }

    /// A hungry thief gets what our own idle workers leave; a provident one only of plenty, so that
    /// items do not wander between ranks that are all busy.
    fn spare(&self, local: &L, hungry: u32) -> usize {
        if self.stop.is_some() {
            return 0;
        }
        let kept = if hungry > 0 { self.workers - self.running.min(self.workers) } else { self.workers };
        local.queued().saturating_sub(kept as usize)
    }

    /// Does what is due: ask for work, begin or end a wave. Call it after every other call, and at
    /// `next_wake`.
    pub fn tick(&mut self, now: Duration, local: &mut L) {
        if self.over {
            return;
        }
        self.thief.tick(now, &self.settings);
        if self.wants_work(local)
            && let Some(Ask { victim, request, wait }) = self.thief.ask(now, &self.settings)
        {
            let hungry = self.workers - self.running.min(self.workers);
            self.send(victim, Message::StealRequest { request, hungry, wait });
        }
        self.answer_thieves(now, local);
        self.answer_wave(now, local);
        self.begin_wave(now, local);
    }

    /// Ask when the bag runs low, not when it is dry.
    pub fn wants_work(&self, local: &L) -> bool {
        self.stop.is_none() && local.queued() < self.workers as usize
    }

    fn send(&mut self, to: Rank, message: Message<L::Item, L::Note>) {
        assert!(to != self.me);
        self.outgoing.push_back((to, Envelope { epoch: self.epoch, cut: self.cutter.cut(), message }));
    }

    /// The next message to send.
    pub fn poll_send(&mut self) -> Option<(Rank, Post<L>)> {
        self.outgoing.pop_front()
    }

    /// Whether a thief waits here for items.
    pub fn has_thieves(&self) -> bool {
        self.line.first().is_some()
    }

    /// Whether `poll_send` has a message.
    pub fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Messages that wait to be sent.
    pub fn outgoing(&self) -> usize {
        self.outgoing.len()
    }

    /// The next note to this rank as an owner. `finish_note` follows before any other call.
    pub fn poll_note(&mut self) -> Option<L::Note> {
        self.inbox.pop_front()
    }

    /// Rank 0: what the last wave brought, once.
    pub fn poll_news(&mut self) -> Option<Report> {
        self.news.take()
    }

    /// This rank wants the run to stop: the next wave carries it to rank 0 and then to all.
    pub fn want_stop(&mut self, stop: Stop) {
        self.stop_wanted = self.stop_wanted.max(Some(stop));
        if self.me == Rank::ROOT {
            self.next_wave = Duration::ZERO;
        }
    }

    /// Why the run stops, once rank 0 has said so.
    pub fn stop(&self) -> Option<Stop> {
        self.stop
    }

    /// Nothing to do here. Loot and tells that still wait to be sent need no look: they count as
    /// sent from the moment they are queued. Once stopped, what is left in the bag is no work.
    pub fn is_idle(&self, local: &L) -> bool {
        let queued = if self.stop.is_some() { 0 } else { local.queued() };
        queued == 0 && self.running == 0 && self.inbox.is_empty()
    }

    /// The pass has ended on this rank. `poll_send` may still have the news for others.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Items that workers hold.
    pub fn running(&self) -> u32 {
        self.running
    }

    /// Live steal requests: 0 or 1.
    pub fn live_requests(&self) -> usize {
        self.thief.live_requests()
    }

    /// When `tick` must be called at the latest. `None`: only an event brings work.
    pub fn next_wake(&self, local: &L) -> Option<Duration> {
        if self.over {
            return None;
        }
        let steal = self.wants_work(local).then(|| self.thief.next_wake(&self.settings)).flatten();
        let begin = (self.me == Rank::ROOT && !self.waves.is_gathering()).then_some(self.next_wave);
        let line = self.line.first().map(|waiting| waiting.until);
        [steal, line, begin, self.waves.next_wake()].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bag of numbers.
    #[derive(Default)]
    struct Numbers(Vec<u32>);

    impl Local for Numbers {
        type Item = u32;
        type Note = u32;

        fn queued(&self) -> usize {
            self.0.len()
        }
        fn push(&mut self, items: Vec<u32>) {
            self.0.extend(items);
        }
        fn pop(&mut self) -> Option<u32> {
            self.0.pop()
        }
        fn loot(&mut self, items_max: usize) -> Vec<u32> {
            self.0.drain(..items_max).collect()
        }
        fn counters(&self) -> Vec<u64> {
            Vec::new()
        }
        fn oldest(&self) -> Option<Oldest> {
            None
        }
    }

    fn entered(me: u32, items: Vec<u32>) -> (Scheduler<Numbers>, Numbers) {
        let mut scheduler = Scheduler::new(Rank(me), 2, 1, Vec::new(), 1, Settings::default());
        let mut bag = Numbers::default();
        scheduler.enter_epoch(Duration::ZERO, &mut bag, items);
        (scheduler, bag)
    }

    fn in_epoch(epoch: u32, message: Message<u32, u32>) -> Envelope<u32, u32> {
        Envelope { epoch: Epoch(epoch), cut: Cut(0), message }
    }

    #[test]
    fn waves_do_not_hurry_while_a_note_is_on_its_way() {
        let (mut root, mut bag) = entered(0, vec![7]);
        assert_eq!(root.take_item(&mut bag), Some(7));
        root.finish_item(&mut bag, Vec::new(), vec![(Rank(1), 8)]);
        let now = Duration::from_secs(1);
        root.tick(now, &mut bag);
        let report = Report { ranks: 1, idle_ranks: 1, ..Report::default() };
        root.handle_message(now, &mut bag, Rank(1), in_epoch(1, Message::WaveUp { wave: 1, report }));
        root.tick(now, &mut bag);
        let mut sent = std::iter::from_fn(|| root.poll_send());
        assert!(!sent.any(|(_, letter)| matches!(letter.message, Message::WaveDown { wave: 2, .. })));
    }

    #[test]
    fn each_pass_needs_two_quiet_waves_of_its_own() {
        let mut root = Scheduler::<Numbers>::new(Rank(0), 1, 1, Vec::new(), 1, Settings::default());
        let (now, mut bag) = (Duration::ZERO, Numbers::default());
        for _pass in 0..2 {
            root.enter_epoch(now, &mut bag, Vec::new());
            root.tick(now, &mut bag);
            assert!(root.poll_news().is_some() && !root.is_over());
            root.tick(now, &mut bag);
            assert!(root.is_over());
        }
    }

    /// Rank 0 of three with one busy worker; ranks 1 and 2 wait for items.
    fn with_two_thieves() -> (Scheduler<Numbers>, Numbers) {
        let mut victim = Scheduler::new(Rank(0), 3, 1, Vec::new(), 1, Settings::default());
        let mut bag = Numbers::default();
        victim.enter_epoch(Duration::ZERO, &mut bag, vec![0]);
        assert_eq!(victim.take_item(&mut bag), Some(0));
        for thief in [1, 2] {
            let request = Message::StealRequest { request: 1, hungry: 1, wait: Duration::from_secs(1) };
            victim.handle_message(Duration::ZERO, &mut bag, Rank(thief), in_epoch(1, request));
        }
        victim.tick(Duration::ZERO, &mut bag);
        assert!(victim.has_thieves());
        (victim, bag)
    }

    #[test]
    fn thieves_in_the_line_and_the_victim_get_equal_shares() {
        let (mut victim, mut bag) = with_two_thieves();
        victim.finish_item(&mut bag, (1..10).collect(), Vec::new());
        assert_eq!(victim.take_item(&mut bag), Some(9));
        victim.tick(Duration::ZERO, &mut bag);
        let sent: Vec<_> = std::iter::from_fn(|| victim.poll_send()).collect();
        let shares: Vec<usize> = sent
            .iter()
            .filter_map(|(_, letter)| match &letter.message {
                Message::Loot { items, .. } => Some(items.len()),
                _ => None,
            })
            .collect();
        assert_eq!((shares, bag.queued()), (vec![3, 3], 2));
    }

    #[test]
    fn nobody_waits_in_the_line_from_one_pass_to_the_next() {
        let (mut victim, mut bag) = with_two_thieves();
        victim.finish_item(&mut bag, Vec::new(), Vec::new());
        victim.handle_message(Duration::ZERO, &mut bag, Rank(1), in_epoch(1, Message::Halt));
        victim.enter_epoch(Duration::ZERO, &mut bag, Vec::new());
        assert!(!victim.has_thieves());
    }

    #[test]
    fn a_message_of_the_next_pass_tells_that_this_one_is_over() {
        let (mut rank, mut bag) = entered(1, Vec::new());
        rank.handle_message(Duration::ZERO, &mut bag, Rank(0), in_epoch(2, Message::Tell(9)));
        assert!(rank.is_over());
        rank.enter_epoch(Duration::ZERO, &mut bag, Vec::new());
        let (from, early) = rank.poll_early().unwrap();
        rank.handle_message(Duration::ZERO, &mut bag, from, early);
        assert_eq!(rank.poll_note(), Some(9));
    }
}
