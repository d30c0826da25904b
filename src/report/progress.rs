//! Progress of a run, on rank 0: a bar on a terminal, a plain line now and then in a log.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{BinaryBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::summary::bytes_done;
use crate::counters::Counters;
use crate::sched::{Oldest, Rank, Report};

/// An operation that has been running for so long is named.
const OLD_AFTER: Duration = Duration::from_secs(30);

/// Shows progress.
pub struct Progress {
    hosts: Vec<String>,
    started: Instant,
    manner: Manner,
    pass: &'static str,
    /// Totals of earlier passes are in the counters, so the rates are those of the last interval.
    last: (Instant, u64, u64),
}

enum Manner {
    Silent,
    Bar(ProgressBar),
    Lines { every: Duration, next: Instant },
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

    fn new(hosts: Vec<String>, manner: Manner) -> Self {
        let now = Instant::now();
        Self { hosts, started: now, manner, pass: "", last: (now, 0, 0) }
    }

    /// The next pass begins.
    pub fn enter(&mut self, pass: &'static str) {
        self.pass = pass;
    }

    /// Shows what a wave has brought, if it is time.
    pub fn observe(&mut self, report: &Report) {
        let due = match &self.manner {
            Manner::Silent => false,
            Manner::Bar(_) => self.last.0.elapsed() > Duration::from_millis(400),
            Manner::Lines { next, .. } => Instant::now() >= *next,
        };
        if !due {
            return;
        }
        let Some(counters) = Counters::from_slice(&report.counters) else { return };
        let (entries, bytes) = (counters.seen(), bytes_done(&counters));
        let seconds = self.last.0.elapsed().as_secs_f64().max(1e-3);
        let rates = Rates {
            entries: per_second(entries, self.last.1, seconds),
            bytes: per_second(bytes, self.last.2, seconds),
        };
        self.last = (Instant::now(), entries, bytes);
        let line = line(self.pass, entries, bytes, &rates, report, &self.hosts);
        let elapsed = self.started.elapsed();
        match &mut self.manner {
            Manner::Silent => {}
            Manner::Bar(bar) => {
                bar.tick();
                bar.set_message(line);
            }
            Manner::Lines { every, next } => {
                *next = Instant::now() + *every;
                super::say(&format!("{} {line}", clock(elapsed)));
            }
        }
    }

    /// Takes the bar away.
    pub fn finish(&mut self) {
        if let Manner::Bar(bar) = &self.manner {
            bar.finish_and_clear();
        }
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

fn line(pass: &str, entries: u64, bytes: u64, rates: &Rates, report: &Report, hosts: &[String]) -> String {
    let done = if pass == "compare" { "compared" } else { "written" };
    let mut line = format!(
        "{pass}: {} entries, {}/s, {} {done}, {}/s, queue {}, idle {} of {} ranks",
        HumanCount(entries),
        HumanCount(rates.entries),
        BinaryBytes(bytes),
        BinaryBytes(rates.bytes),
        HumanCount(report.queued),
        report.idle_ranks,
        hosts.len(),
    );
    if let Some(oldest) = report.oldest.as_ref().filter(|oldest| oldest.age >= OLD_AFTER) {
        line.push_str(&format!("; slow: {}", slow(oldest, hosts)));
    }
    if !report.silent.is_empty() {
        let silent: Vec<String> = report.silent.iter().take(4).map(|&rank| place(rank, hosts)).collect();
        line.push_str(&format!("; no answer from {}", silent.join(", ")));
    }
    line
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

    #[test]
    fn a_line_names_the_oldest_operation_with_its_place() {
        let oldest = Oldest { rank: Rank(1), age: Duration::from_secs(45), what: "copy a/b".to_owned() };
        let report = Report { ranks: 2, idle_ranks: 1, queued: 7, oldest: Some(oldest), ..Report::default() };
        let hosts = ["n1".to_owned(), "n2".to_owned()];
        let line = line("mirror", 1_234_567, 2048, &Rates { entries: 10, bytes: 1024 }, &report, &hosts);
        let expected = "mirror: 1,234,567 entries, 10/s, 2.00 KiB written, 1.00 KiB/s, queue 7, idle 1 of 2 ranks; \
                        slow: copy a/b for 45 s on rank 1 (n2)";
        assert_eq!(line, expected);
    }
}
