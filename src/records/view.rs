//! How a run stands, line by line: the same for a terminal, which cuts them, and for plain text. Pure.

use std::time::Duration;

use indicatif::{BinaryBytes, HumanCount};
use jiff::Timestamp;
use unicode_width::UnicodeWidthChar;

use super::ending::Ending;
use super::groups::Fault;
use super::job::whole_seconds;
use super::run::{PREFLIGHT, Seen, State};
use super::status::Shown;
use super::words::{clock, duration, plural, quoted, shown};
use crate::report::live::{Place, Rate, Told};
use crate::report::progress;
use crate::report::screen::Tone;
use crate::report::share::hours_and_minutes;
use crate::tree::path::harmless;

/// A line.
pub type Line = (Tone, String);

/// Letters of the bar.
const BAR: u32 = 30;

/// An operation that has been running for so many seconds is worth a look.
const SLOW_AFTER: u64 = 30;

/// How the lines are drawn.
#[derive(Debug, Clone, Copy)]
pub struct Letters {
    /// The terminal has more than ASCII.
    pub unicode: bool,
}

/// All lines of a run as it stands.
pub fn lines(of: &Shown<'_>, letters: Letters, now: Timestamp) -> Vec<Line> {
    let mut lines = vec![(Tone::Bold, title(of))];
    match (&of.seen.ending, &of.seen.told) {
        (Some(ending), _) => lines.extend(ended(ending, of)),
        (None, told) => {
            lines.extend(state(of, now));
            lines.extend(told.iter().flat_map(|told| told_of(told, of.seen.state, letters)));
        }
    }
    lines.extend(faults(of));
    lines.extend(safety(of, now));
    lines
}

/// Lines cut to the size of a terminal.
pub fn cut(lines: Vec<Line>, (columns, rows): (usize, usize)) -> Vec<Line> {
    let help = (Tone::Plain, "q leaves this view; the run goes on".to_owned());
    let room = rows.saturating_sub(1).max(1);
    let mut lines: Vec<Line> = lines.into_iter().take(room).collect();
    if rows > 1 {
        lines.push(help);
    }
    lines.into_iter().map(|(tone, line)| (tone, cut_line(&harmless(&line), columns))).collect()
}

/// The beginning of a line that fits, by the columns that its letters take.
fn cut_line(line: &str, columns: usize) -> String {
    let width = |letter: char| letter.width().unwrap_or(0);
    if line.chars().map(width).sum::<usize>() <= columns {
        return line.to_owned();
    }
    let (mut text, mut used) = (String::new(), 0);
    for letter in line.chars() {
        used += width(letter);
        // The last column shows that there is more.
        if used + 1 > columns {
            break;
        }
        text.push(letter);
    }
    if columns > 0 { text + ">" } else { text }
}

fn row(word: &str, text: &str) -> Line {
    (Tone::Plain, format!("{word:<8} {text}"))
}

fn alarm(word: &str, text: &str) -> Line {
    (Tone::Alarm, format!("{word:<8} {text}"))
}

fn title(of: &Shown<'_>) -> String {
    let newest = if of.run.is_newest { ", the newest" } else { "" };
    format!("run {} ({}{newest}): {}", of.run.id, of.seen.started.command, of.seen.state.word())
}

/// What there is to say of a run that has not ended, and how old that is.
fn state(of: &Shown<'_>, now: Timestamp) -> Vec<Line> {
    let age = duration(of.seen.age.as_secs());
    let heard = of.seen.heard.map_or_else(String::new, clock);
    // The same command does all tasks of a job again; `resume` those that are left.
    let resumes = of.seen.checkpoint.is_some() || of.seen.started.command == "run";
    let whose = of.seen.told.as_ref().map(|told| &told.whose);
    let process =
        whose.map_or_else(String::new, |whose| format!("; rank 0 was process {} on {}", whose.process.pid, whose.host));
    let job =
        whose.and_then(|whose| whose.job.as_ref()).map(|job| format!("; squeue -j {job} tells")).unwrap_or_default();
    match of.seen.state {
        State::Starting => vec![row("told", &format!("nothing yet; it began {age} ago"))],
        State::Running => vec![row("told", &format!("{age} ago{}", place(&of.seen)))],
        State::Ending => {
            vec![row("told", &format!("{age} ago: the passes are over, it makes all durable and sums up"))]
        }
        State::Silent => {
            let what = if whose.is_some() { "told nothing" } else { "told nothing since it began" };
            vec![alarm("silent", &format!("{what} for {age}, since {heard}: it hangs, or died{process}{job}"))]
        }
        State::Died => vec![
            alarm("died", &format!("last heard of at {heard}, {age} ago{process}")),
            row(
                "go on",
                &match resumes {
                    true => format!("pmirror resume {}", quoted(&of.run.word)),
                    false => "no checkpoint is in force: give the same command again, it does what is left".to_owned(),
                },
            ),
        ],
        State::Ended => vec![row("ended", &clock(now))],
    }
}

fn place(seen: &Seen) -> String {
    let Some(whose) = seen.told.as_ref().map(|told| &told.whose) else { return String::new() };
    let job = whose.job.as_ref().map(|job| format!(", job {job}")).unwrap_or_default();
    let attempt = if whose.attempt > 1 { format!(", attempt {}", whose.attempt) } else { String::new() };
    let memory = match whose.memory_max {
        0 => String::new(),
        bytes => format!(" of {} memory", BinaryBytes(bytes)),
    };
    format!(" by {}{memory}, rank 0 on {}{job}{attempt}", plural(whose.ranks.into(), "rank", "ranks"), whose.host)
}

fn told_of(told: &Told, state: State, letters: Letters) -> Vec<Line> {
    let (standing, live) = (&told.standing, &told.live);
    let elapsed = progress::clock(Duration::from_secs(standing.elapsed_seconds));
    let mut lines = Vec::new();
    let far = standing.percent.map_or_else(
        || "how far is not known".to_owned(),
        |percent| {
            let eta =
                standing.seconds_left.map_or_else(String::new, |left| format!(", ETA {}", hours_and_minutes(left)));
            format!("{percent} %{eta} {}", bar(percent, letters))
        },
    );
    lines.push(row(&standing.pass, &format!("{far}, after {elapsed}")));
    let per_second = |n: u64| HumanCount(n).to_string();
    lines.push(row(
        "entries",
        &format!(
            "{}, {}/s, in this pass {}/s",
            HumanCount(standing.entries),
            per_second(live.rate.entries),
            per_second(live.mean.entries)
        ),
    ));
    let done = if standing.pass == "compare" { "compared" } else { "written" };
    lines.push(row(
        "data",
        &format!(
            "{} {done}, {}/s, in this pass {}/s",
            BinaryBytes(live.moved),
            BinaryBytes(live.rate.bytes),
            BinaryBytes(live.mean.bytes)
        ),
    ));
    if live.recent.len() > 1 {
        let entries: Vec<u64> = live.recent.iter().map(|rate: &Rate| rate.entries).collect();
        let bytes: Vec<u64> = live.recent.iter().map(|rate| rate.bytes).collect();
        lines.push(row("entries", &sparkline(&entries, letters)));
        lines.push(row("data", &sparkline(&bytes, letters)));
    }
    if !live.outcomes.is_empty() {
        let one = |(outcome, n): (&String, &u64)| format!("{} {}", HumanCount(*n), outcome.replace('_', " "));
        lines.push(row("became", &live.outcomes.iter().map(one).collect::<Vec<_>>().join(", ")));
    }
    // A job of many tasks tells nothing of its ranks.
    if state != State::Ending && told.whose.command != "run" {
        let ranks = told.whose.ranks;
        lines.push(row("ranks", &format!("{} of {ranks} idle, queue {}", live.idle_ranks, HumanCount(live.queued))));
    }
    let place_of = |place: &Place| place_of(place, &told.whose.host);
    if live.silent_ranks > 0 {
        let places = live.silent.iter().map(&place_of).collect::<Vec<_>>().join(", ");
        let more = if live.silent_ranks > live.silent.len() as u64 { ", ..." } else { "" };
        lines.push(alarm("silent", &format!("no answer from {places}{more}")));
    }
    for oldest in &live.oldest {
        let line = format!("{} for {} on {}", oldest.what, duration(oldest.seconds), place_of(&oldest.place));
        lines.push(if oldest.seconds >= SLOW_AFTER { alarm("slow", &line) } else { row("oldest", &line) });
    }
    lines.extend(live.stopping.as_ref().map(|why| alarm("stops", &format!("{why}: it ends in order"))));
    lines
}

/// A rank and its node: a run of one rank names it only once.
fn place_of(place: &Place, of_root: &str) -> String {
    let host = if place.host.is_empty() && place.rank == 0 { of_root } else { &place.host };
    if host.is_empty() { format!("rank {}", place.rank) } else { format!("rank {} ({host})", place.rank) }
}

#[allow(clippy::cast_possible_truncation)] // At most BAR.
fn bar(percent: u32, letters: Letters) -> String {
    let full = (percent.min(100) * BAR / 100) as usize;
    let (done, left) = if letters.unicode { ("█", "░") } else { ("#", ".") };
    format!("[{}{}]", done.repeat(full), left.repeat(BAR as usize - full))
}

/// The last intervals, the latest at the right, as parts of the largest.
fn sparkline(rates: &[u64], letters: Letters) -> String {
    let steps: Vec<char> = if letters.unicode { "▁▂▃▄▅▆▇█" } else { "_.-~=+*#" }.chars().collect();
    let most = rates.iter().copied().max().unwrap_or(0).max(1);
    let last = steps.len().saturating_sub(1) as u64;
    let step = |&rate: &u64| {
        let height = (u128::from(rate) * u128::from(last) / u128::from(most)).try_into().unwrap_or(0usize);
        steps.get(height).copied().unwrap_or(' ')
    };
    rates.iter().map(step).collect()
}

fn faults(of: &Shown<'_>) -> Vec<Line> {
    // A task that was refused has none.
    let job = of.seen.ending.as_ref().and_then(|ending| ending.job.as_ref());
    if of.faults == 0 && job.is_none_or(|job| job.tasks.failed + job.tasks.bad_lines == 0) {
        return Vec::new();
    }
    let parked = of.seen.told.as_ref().map_or(0, |told| told.live.parked);
    let parked = if parked > 0 { format!(" ({} had no answer)", HumanCount(parked)) } else { String::new() };
    let explain = format!("pmirror explain {}", quoted(&of.run.word));
    let mut lines = vec![alarm("faults", &format!("{}{parked}: {explain} tells why", HumanCount(of.faults)))];
    let one = |fault: &Fault| {
        let cause = &fault.cause;
        let what = if cause.errno.is_empty() { cause.note.clone() } else { cause.errno.clone() };
        row("", &format!("{} {what} {} {}", cause.outcome, cause.side, shown(&fault.path)))
    };
    lines.extend(of.last.iter().map(one));
    lines
}

/// What is left if it dies, and when it stops by itself.
fn safety(of: &Shown<'_>, now: Timestamp) -> Vec<Line> {
    let mut lines = Vec::new();
    let apart = |a: Timestamp, b: Timestamp| u64::try_from(a.duration_since(b).as_secs()).unwrap_or(0);
    if let Some(made) = of.seen.checkpoint {
        lines.push(row("saved", &format!("a checkpoint is in force, of {} ago", duration(apart(now, made)))));
    }
    let live = of.seen.told.as_ref().map(|told| &told.live).filter(|_| of.seen.state.may_go_on());
    let stops_at: Option<Timestamp> = live.and_then(|live| live.stops_at.as_ref()?.parse().ok());
    if let Some(stop) = stops_at {
        lines.push(row("stops", &format!("by itself at {}, in {}", clock(stop), duration(apart(stop, now)))));
    }
    if of.seen.ending.as_ref().is_some_and(|ending| ending.goes_on) {
        lines.push(row("go on", &format!("pmirror resume {}", quoted(&of.run.word))));
    }
    lines
}

fn ended(ending: &Ending, of: &Shown<'_>) -> Vec<Line> {
    if let Some(verdict) = &ending.verdict {
        let path = shown(of.run.directory.path().join(PREFLIGHT).as_os_str().as_encoded_bytes());
        let text = format!("preflight, verdict {}, exit code {}: see {path}", verdict.word(), ending.exit_code);
        return vec![if ending.exit_code == 0 { row("ended", &text) } else { alarm("ended", &text) }];
    }
    let totals = ending.totals();
    let seen = totals.get("seen").copied().unwrap_or(0);
    let took = progress::clock(whole_seconds(ending.seconds.total));
    let at = ending.ended.parse::<Timestamp>().map_or_else(|_| ending.ended.clone(), clock);
    let text = format!("with exit code {}: {}; at {at}, after {took}", ending.exit_code, meaning(ending.exit_code));
    let mut lines = vec![if ending.exit_code == 0 { row("ended", &text) } else { alarm("ended", &text) }];
    lines.extend(ending.error.as_ref().map(|error| alarm("error", error)));
    if let Some(job) = &ending.job {
        lines.extend(
            job.rows().iter().map(|(word, text, is_bad)| if *is_bad { alarm(word, text) } else { row(word, text) }),
        );
        return lines;
    }
    let attempts = if ending.attempt > 1 { format!(" in {} attempts", ending.attempt) } else { String::new() };
    lines.push(row(
        "entries",
        &format!("{} by {}{attempts}", HumanCount(seen), plural(ending.ranks.len() as u64, "rank", "ranks")),
    ));
    let one = |(outcome, n): (&&str, &u64)| format!("{} {}", HumanCount(*n), outcome.replace('_', " "));
    let became = totals.iter().filter(|&(outcome, &n)| *outcome != "seen" && n > 0).map(one).collect::<Vec<_>>();
    if !became.is_empty() {
        lines.push(row("became", &became.join(", ")));
    }
    let bytes = |what: &str| BinaryBytes(ending.bytes.get(what).copied().unwrap_or(0));
    lines.push(row("data", &format!("{} in files, {} written", bytes("logical"), bytes("written"))));
    lines
}

/// The exit code in words.
fn meaning(exit_code: u8) -> &'static str {
    match exit_code {
        0 => "done",
        3 => "refused, nothing was changed",
        11 => "a root or the state directory failed, or DST is full",
        20 => "stopped by a signal",
        23 => "some entries failed",
        24 => "some sources vanished or changed",
        25 => "deletions were held back",
        26 => "the trees differ",
        70 => "a bug, or the books do not balance",
        75 => "the time was up",
        _ => "ended",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASCII: Letters = Letters { unicode: false };

    #[test]
    fn rates_are_drawn_as_parts_of_the_largest() {
        assert_eq!(sparkline(&[0, 50, 100], ASCII), "_~#");
        assert_eq!(sparkline(&[0, 50, 100], Letters { unicode: true }), "▁▄█");
        assert_eq!(sparkline(&[0, 0], ASCII), "__");
        assert_eq!(sparkline(&[u64::MAX], ASCII), "#");
        assert_eq!(bar(50, ASCII), format!("[{}{}]", "#".repeat(15), ".".repeat(15)));
        assert_eq!(bar(700, ASCII), format!("[{}]", "#".repeat(30)));
    }

    #[test]
    fn a_rank_is_told_with_its_node_where_that_is_known() {
        let place = |rank, host: &str| place_of(&Place { rank, host: host.to_owned() }, "n0");
        assert_eq!([place(0, ""), place(1, ""), place(2, "n2")], ["rank 0 (n0)", "rank 1", "rank 2 (n2)"]);
        assert_eq!(place_of(&Place::default(), ""), "rank 0");
    }

    #[test]
    fn lines_fit_any_terminal_by_the_columns_of_their_letters() {
        let line = |text: &str| (Tone::Plain, text.to_owned());
        for columns in [0, 1, 2, 7, 20] {
            for rows in [0, 1, 3] {
                let lines =
                    cut(vec![line("run größe 漢字漢字漢字漢字"), line("a"), line("b"), line("c")], (columns, rows));
                assert!(lines.len() <= rows.max(1));
                for (_, line) in lines {
                    assert!(line.chars().map(|c| c.width().unwrap()).sum::<usize>() <= columns, "{columns}: {line}");
                }
            }
        }
        assert_eq!(cut_line("abcdef", 4), "abc>");
        assert_eq!(cut_line("abcd", 4), "abcd");
    }
}
