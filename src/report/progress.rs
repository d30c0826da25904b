//! Progress of a run, on rank 0: a bar on a terminal, a plain line now and then in a log.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{BinaryBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::board::Cell;
use super::live::{LAST_PASS, Live, Rates as KeptRates, Told, Whose};
use super::progress_file::{ProgressFile, shown};
use super::share::{Share, Standing, Total, hours_and_minutes};
use super::summary::bytes_done;
use crate::counters::{Counters, Number};
use crate::fs::operator::RunDirectory;
use crate::headway::Headway;
use crate::sched::{Oldest, Rank, Report, Stop};
use crate::tree::Fate;
use crate::tree::path::harmless;

/// An operation that has been running for so long is named.
const OLD_AFTER: Duration = Duration::from_secs(30);

/// A new one is named at once, but not more often than this.
const NAMED_EVERY: Duration = Duration::from_secs(10);

/// Shows progress.
pub struct Progress {
    hosts: Vec<String>,
    started: Instant,
    manner: Manner,
    file: Option<ProgressFile>,
    kept: Kept,
    total: Option<Total>,
    /// What earlier attempts had done.
    before: Headway,
    pass: Pass,
    share: Share,
    /// The operation that was named last.
    named: Option<(Rank, String)>,
    /// Why the run ends early, once that was said.
    stop: Option<Stop>,
    /// Totals of earlier passes are in the counters, so the rates are those of the last interval.
    last: (Instant, u64, u64),
}

/// When the run will stop by itself, as far as that is known by then.
pub type Deadline = Box<dyn Fn() -> Option<jiff::Timestamp>>;

/// What the file has beside how far the run is.
#[derive(Default)]
struct Kept {
    whose: Whose,
    deadline: Option<Deadline>,
    rates: KeptRates,
    last: Option<Told>,
}

/// The pass that is under way.
struct Pass {
    name: &'static str,
    began: Instant,
    /// What had been done before.
    share: Share,
}

enum Manner {
    Silent,
    Bar(ProgressBar),
    Lines {
        every: Duration,
        next: Instant,
    },
    /// One of several runs of a job: all of them are shown together.
    Told(Cell),
}

impl Progress {
    /// Shows nothing: ranks other than 0, and `--quiet`.
    pub fn silent() -> Self {
        Self::new(Vec::new(), Manner::Silent)
    }

    /// A bar on a terminal, else a line after each interval.
    pub fn to_stderr(hosts: Vec<String>, every: Duration) -> Self {
        let manner = if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise} {wide_msg}") {
                bar.set_style(style);
            }
            Manner::Bar(bar)
        } else {
            Manner::Lines { every, next: Instant::now() + every }
        };
        Self::new(hosts, manner)
    }

    /// Tells it to who shows the whole job.
    pub fn told_to(cell: Cell, hosts: Vec<String>) -> Self {
        Self::new(hosts, Manner::Told(cell))
    }

    fn new(hosts: Vec<String>, manner: Manner) -> Self {
        let now = Instant::now();
        let share = Share::default();
        let pass = Pass { name: "", began: now, share };
        Self {
            hosts,
            started: now,
            manner,
            file: None,
            kept: Kept::default(),
            total: None,
            before: Headway::default(),
            pass,
            share,
            named: None,
            stop: None,
            last: (now, 0, 0),
        }
    }

    /// With a percentage of this total, if it is known.
    pub fn of(self, total: Option<Total>) -> Self {
        Self { total, ..self }
    }

    /// Keeps it in the run's directory too.
    pub fn kept_in(self, directory: RunDirectory, whose: Whose, deadline: Deadline) -> Self {
        let kept = Kept { whose, deadline: Some(deadline), ..Kept::default() };
        Self { file: ProgressFile::new(directory), kept, ..self }
    }

    /// So much had been done when this attempt began.
    pub fn go_on_from(&mut self, before: Headway) {
        self.before = before;
    }

    /// The next pass begins.
    pub fn enter(&mut self, pass: &'static str) {
        self.pass = Pass { name: pass, began: Instant::now(), share: self.share };
    }

    /// Shows what a wave has brought, if it is time.
    pub fn observe(&mut self, report: &Report) {
        self.tell_stop(report.stop);
        let names = self.last.0.elapsed() >= NAMED_EVERY && is_news(report.oldest.first(), self.named.as_ref());
        let shows = match &self.manner {
            Manner::Silent => false,
            Manner::Told(cell) => {
                if let Some(counters) = Counters::from_slice(&report.counters) {
                    cell.tell(counters.seen(), bytes_done(&counters));
                }
                false
            }
            Manner::Bar(_) => self.last.0.elapsed() > Duration::from_millis(400),
            Manner::Lines { next, .. } => names || Instant::now() >= *next,
        };
        let is_line = shows && matches!(self.manner, Manner::Lines { .. });
        let keeps = self.file.as_ref().is_some_and(|file| is_line || file.is_due());
        if !shows && !keeps {
            return;
        }
        let Some(counters) = Counters::from_slice(&report.counters) else { return };
        let standing = self.standing(&counters);
        if shows {
            self.show(report, bytes_done(&counters), &standing);
        }
        if keeps {
            self.keep(report, &counters, standing);
        }
    }

    /// Has the file tell of it.
    fn keep(&mut self, report: &Report, counters: &Counters, standing: Standing) {
        let Some(file) = &mut self.file else { return };
        let mut live = Live::of(counters, report, &self.hosts);
        let counted = (self.started.elapsed().as_secs_f64(), standing.entries, live.moved);
        self.kept.rates.observe(&standing.pass, counted, &mut live);
        live.at = shown(jiff::Timestamp::now());
        live.stops_at = self.kept.deadline.as_ref().and_then(|deadline| deadline()).map(shown);
        let told = Told { comment: standing.in_words(), standing, whose: self.kept.whose.clone(), live };
        self.kept.last = Some(told.clone());
        file.keep(told);
    }

    /// Says once that the run ends early: the workers may need a while for what they have in hand.
    fn tell_stop(&mut self, stop: Option<Stop>) {
        if stop <= self.stop {
            return;
        }
        self.stop = stop;
        let why = match stop {
            Some(Stop::Signal) => "a signal came",
            Some(Stop::Time) => "the time is up",
            Some(Stop::Halt | Stop::Error) | None => return,
        };
        let text = format!("stopping, as {why}");
        match &self.manner {
            Manner::Silent | Manner::Told(_) => {}
            Manner::Bar(bar) => bar.suspend(|| super::say(&text)),
            Manner::Lines { .. } => super::say(&text),
        }
    }

    fn standing(&mut self, counters: &Counters) -> Standing {
        let share = self.total.as_ref().map(|total| Share::of(total, counters));
        self.share = share.unwrap_or_default();
        let left = share.and_then(|share| share.time_left(self.pass.share, self.pass.began.elapsed()));
        Standing {
            pass: self.pass.name.into(),
            elapsed_seconds: self.started.elapsed().as_secs(),
            entries: entries(self.pass.name, counters),
            bytes: counters.number(Number::BytesLogical),
            changed: Headway::of(counters).changed.saturating_sub(self.before.changed),
            percent: share.map(Share::percent),
            seconds_left: left.map(|left| left.as_secs()),
        }
    }

    fn show(&mut self, report: &Report, bytes: u64, standing: &Standing) {
        let entries = standing.entries;
        let seconds = self.last.0.elapsed().as_secs_f64().max(1e-3);
        let rates = Rates {
            entries: per_second(entries, self.last.1, seconds),
            bytes: per_second(bytes, self.last.2, seconds),
        };
        self.last = (Instant::now(), entries, bytes);
        let old = report.oldest.first().filter(|oldest| oldest.age >= OLD_AFTER);
        self.named = old.map(|oldest| (oldest.rank, oldest.what.clone()));
        let line = line(standing, bytes, &rates, report, &self.hosts);
        let elapsed = self.started.elapsed();
        match &mut self.manner {
            Manner::Silent | Manner::Told(_) => {}
            Manner::Bar(bar) => {
                bar.tick();
                bar.set_message(harmless(&line));
            }
            Manner::Lines { every, next } => {
                *next = Instant::now() + *every;
                super::say(&format!("{} {line}", clock(elapsed)));
            }
        }
    }

    /// The passes are over, and no wave comes any more: the bar goes, and the file says so. What is left is to make all
    /// durable and to sum up, which may take long.
    pub fn end_passes(&mut self) {
        if let Manner::Bar(bar) = &self.manner {
            bar.finish_and_clear();
        }
        if let (Some(file), Some(mut told)) = (&mut self.file, self.kept.last.take()) {
            told.standing.pass = LAST_PASS.into();
            told.live.at = shown(jiff::Timestamp::now());
            file.keep(told);
        }
    }

    /// Takes the file away: the summary tells more.
    pub fn finish(&mut self) {
        if let Some(file) = self.file.take() {
            file.remove();
        }
    }
}

/// What a pass goes through: the source, or what is to be removed from the target.
fn entries(pass: &str, counters: &Counters) -> u64 {
    match pass {
        "plan" => counters.number(Number::TargetSeen),
        "remove" => Fate::ALL.iter().map(|&fate| counters.removals(fate)).sum(),
        _ => counters.seen(),
    }
}

struct Rates {
    entries: u64,
    bytes: u64,
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Rates for people.
fn per_second(now: u64, before: u64, seconds: f64) -> u64 {
    (now.saturating_sub(before) as f64 / seconds) as u64
}

/// Hours, minutes and seconds.
pub fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn line(standing: &Standing, bytes: u64, rates: &Rates, report: &Report, hosts: &[String]) -> String {
    let done = if standing.pass == "compare" { "compared" } else { "written" };
    let far = standing.percent.map_or(String::new(), |percent| format!("{percent} %, "));
    let left = standing.seconds_left.map_or(String::new(), |left| format!("ETA {}, ", hours_and_minutes(left)));
    let mut line = format!(
        "{}: {far}{left}{} entries, {}/s, {} {done}, {}/s, queue {}, idle {} of {} ranks",
        standing.pass,
        HumanCount(standing.entries),
        HumanCount(rates.entries),
        BinaryBytes(bytes),
        BinaryBytes(rates.bytes),
        HumanCount(report.queued),
        report.idle_ranks,
        hosts.len(),
    );
    if let Some(oldest) = report.oldest.first().filter(|oldest| oldest.age >= OLD_AFTER) {
        line.push_str(&format!("; slow: {}", slow(oldest, hosts)));
    }
    if !report.silent.is_empty() {
        let silent: Vec<String> = report.silent.iter().take(4).map(|&rank| place(rank, hosts)).collect();
        line.push_str(&format!("; no answer from {}", silent.join(", ")));
    }
    line
}

/// Whether an operation has been running for long and was not named yet.
fn is_news(oldest: Option<&Oldest>, named: Option<&(Rank, String)>) -> bool {
    let is_named = |oldest: &Oldest| named.is_some_and(|(rank, what)| (*rank, what) == (oldest.rank, &oldest.what));
    oldest.is_some_and(|oldest| oldest.age >= OLD_AFTER && !is_named(oldest))
}

fn slow(oldest: &Oldest, hosts: &[String]) -> String {
    format!("{} for {} s on {}", oldest.what, oldest.age.as_secs(), place(oldest.rank, hosts))
}

fn place(rank: Rank, hosts: &[String]) -> String {
    let host = hosts.get(rank.0 as usize).map_or("?", String::as_str);
    format!("rank {} ({host})", rank.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Slot;
    use crate::tree::Kind;

    const RATES: Rates = Rates { entries: 10, bytes: 1024 };

    fn standing(percent: Option<u32>, seconds_left: Option<u64>) -> Standing {
        Standing {
            pass: "mirror".into(),
            elapsed_seconds: 9,
            entries: 1_234_567,
            bytes: 5_000,
            changed: 0,
            percent,
            seconds_left,
        }
    }

    #[test]
    fn a_line_names_the_oldest_operation_with_its_place() {
        let oldest = Oldest { rank: Rank(1), age: Duration::from_secs(45), what: "copy a/b".to_owned() };
        let report = Report { ranks: 2, idle_ranks: 1, queued: 7, oldest: vec![oldest], ..Report::default() };
        let hosts = ["n1".to_owned(), "n2".to_owned()];
        let line = line(&standing(None, None), 2048, &RATES, &report, &hosts);
        let expected = "mirror: 1,234,567 entries, 10/s, 2.00 KiB written, 1.00 KiB/s, queue 7, idle 1 of 2 ranks; \
                        slow: copy a/b for 45 s on rank 1 (n2)";
        assert_eq!(line, expected);
    }

    #[test]
    fn an_operation_is_named_after_half_a_minute_and_once() {
        let oldest = |seconds, what: &str| {
            Some(Oldest { rank: Rank(1), age: Duration::from_secs(seconds), what: what.to_owned() })
        };
        assert!(!is_news(oldest(29, "copy a").as_ref(), None));
        assert!(is_news(oldest(30, "copy a").as_ref(), None));
        let named = (Rank(1), "copy a".to_owned());
        assert!(!is_news(oldest(45, "copy a").as_ref(), Some(&named)));
        assert!(is_news(oldest(45, "copy b").as_ref(), Some(&named)));
        assert!(!is_news(None, Some(&named)));
    }

    #[test]
    fn deletions_are_counted_where_they_are_planned_and_where_they_are_done() {
        let mut counters = Counters::default();
        counters.count(Number::TargetSeen, 7);
        counters.add(Slot::Seen(Kind::File), 5);
        counters.add(Slot::Removal(Kind::File, Fate::Removed), 2);
        counters.add(Slot::Removal(Kind::Directory, Fate::Kept), 1);
        assert_eq!(["mirror", "plan", "remove"].map(|pass| entries(pass, &counters)), [5, 7, 3]);
    }

    #[test]
    fn a_line_tells_how_far_the_run_is_where_that_is_known() {
        let begin = |percent, left| {
            let line = line(&standing(percent, left), 0, &RATES, &Report::default(), &[]);
            line.split(" entries").next().unwrap().to_owned()
        };
        assert_eq!(begin(Some(61), Some(9600)), "mirror: 61 %, ETA 02:40, 1,234,567");
        assert_eq!(begin(Some(99), None), "mirror: 99 %, 1,234,567");
    }
}
