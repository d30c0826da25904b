//! Times and durations on the command line.

use std::time::Duration;

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp, Zoned};

const MOMENT_REMEDY: &str = "say 18:30, +2h30m or 2026-05-01T06:00:00+02:00";
const DURATION_REMEDY: &str = "say 90s, 10m, 1h30m or 7d";

/// A duration with its unit.
pub fn duration(text: &str) -> Result<Duration, String> {
    let span: Span = text.trim().parse().map_err(|_| format!("no duration: {DURATION_REMEDY}"))?;
    let days_have_24_hours = SpanRelativeTo::days_are_24_hours();
    let duration = span.to_duration(days_have_24_hours).map_err(|_| format!("no fixed duration: {DURATION_REMEDY}"))?;
    Duration::try_from(duration).map_err(|_| format!("a duration is not negative: {DURATION_REMEDY}"))
}

/// A duration of a second or more.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration < Duration::from_secs(1) {
        return Err(format!("a second at least: {DURATION_REMEDY}"));
    }
    Ok(duration)
}

/// A duration, or nothing of the kind: `0` or `none`.
pub fn or_none(text: &str) -> Result<Duration, String> {
    if matches!(text.trim(), "0" | "none") { Ok(Duration::ZERO) } else { duration(text) }
}

/// The same, but no part of a second.
pub fn seconds_or_none(text: &str) -> Result<Duration, String> {
    let duration = or_none(text)?;
    if duration.is_zero() { Ok(duration) } else { seconds(text) }
}

/// A point in time: of today or tomorrow, from now, or with its date.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    moment_after(text.trim(), &Zoned::now())
}

fn moment_after(text: &str, now: &Zoned) -> Result<Timestamp, String> {
    let beyond = || format!("no time that a clock can show: {MOMENT_REMEDY}");
    if let Some(ahead) = text.strip_prefix('+') {
        let ahead = duration(ahead).map_err(|_| format!("no time: {MOMENT_REMEDY}"))?;
        return now.timestamp().checked_add(ahead).map_err(|_| beyond());
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(timestamp);
    }
    if let Some(time) = time_of_day(text) {
        let on = |date: jiff::civil::Date| date.to_datetime(time).to_zoned(now.time_zone().clone());
        let today = on(now.date()).map_err(|_| beyond())?;
        let next = if today > *now { Ok(today) } else { now.date().tomorrow().and_then(on) };
        return next.map(|next| next.timestamp()).map_err(|_| beyond());
    }
    local(text, now.time_zone()).ok_or_else(|| format!("no time: {MOMENT_REMEDY}"))
}

/// `HH:MM` or `HH:MM:SS`, and nothing else: the library would take a date with it, and forget that.
fn time_of_day(text: &str) -> Option<Time> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b':') && text.contains(':');
    text.parse().ok().filter(|_| is_plain)
}

/// A date and a time as the clock on the wall shows it, such as Slurm prints.
pub fn local(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let time: DateTime = text.parse().ok().filter(|_| text.contains('T'))?;
    time.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-21T17:30:00+01:00[Europe/Berlin]";

    fn found(text: &str) -> String {
        let now: Zoned = NOW.parse().unwrap();
        moment_after(text, &now).map(|time| time.to_string()).unwrap_or_else(|error| error)
    }

    #[test]
    fn a_time_of_day_is_today_or_tomorrow() {
        assert_eq!(found("18:00"), "2026-11-21T17:00:00Z");
        assert_eq!(found("17:30:01"), "2026-11-21T16:30:01Z");
        assert_eq!(found("17:30"), "2026-11-22T16:30:00Z");
        assert_eq!(found("06:00"), "2026-11-22T05:00:00Z");
    }

    #[test]
    fn a_time_may_be_told_from_now_or_with_its_date() {
        assert_eq!(found("+2h30m"), "2026-11-21T19:00:00Z");
        assert_eq!(found("+90s"), "2026-11-21T16:31:30Z");
        assert_eq!(found("2026-12-01T06:00:00+02:00"), "2026-12-01T04:00:00Z");
        assert_eq!(found("2026-12-01T06:00:00Z"), "2026-12-01T06:00:00Z");
        assert_eq!(found("2026-12-01T06:00:00"), "2026-12-01T05:00:00Z");
        assert_eq!(found("2020-01-01T00:00:00Z"), "2020-01-01T00:00:00Z");
    }

    #[test]
    fn what_is_no_time_is_refused_with_examples() {
        let bad = ["", "25:00", "6", "1830", "noon", "2h", "+", "+-2h", "+1mo", "2026-12-01", "18:30 2026", "N/A"];
        for text in bad {
            assert!(found(text).ends_with(MOMENT_REMEDY), "{text}: {}", found(text));
        }
        assert!(found("+99999999h").contains(MOMENT_REMEDY));
    }

    #[test]
    fn a_duration_has_a_unit() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("1h30m", 5400), ("1d", 86_400), ("0s", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "10", "-5m", "1mo", "soon", "5x"] {
            assert!(duration(bad).unwrap_err().ends_with(DURATION_REMEDY), "{bad}");
        }
        assert!(seconds("0s").is_err() && seconds("900ms").is_err());
        assert_eq!(seconds("1s"), Ok(Duration::from_secs(1)));
    }

    #[test]
    fn nothing_of_the_kind_is_a_duration_too() {
        for none in ["0", "none", "0s"] {
            assert_eq!((or_none(none), seconds_or_none(none)), (Ok(Duration::ZERO), Ok(Duration::ZERO)), "{none}");
        }
        assert_eq!(or_none("300ms"), Ok(Duration::from_millis(300)));
        assert!(seconds_or_none("300ms").is_err() && or_none("soon").is_err() && seconds_or_none("10").is_err());
    }
}
