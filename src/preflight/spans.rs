//! Whether DST holds the times and the sizes of SRC.

use super::facts::Trials;
use super::{Finding, Verdict, amount, plural};
use crate::tree::TimeLimits;
use crate::tree::census::{Census, Trouble};

/// Range and steps of times. `source`: those of SRC, as far as its type tells.
pub fn times(trials: &Trials, is_asked: bool, source: &TimeLimits, census: Option<&Census>) -> Finding {
    let check = "times";
    if !is_asked {
        return Finding::good(check, "not asked for (--no-times)");
    }
    let held = &trials.times;
    let beyond = census.map_or(0, |census| census.cases(Trouble::Time));
    if beyond > 0 {
        let what =
            format!("{} times that DST can not hold ({})", plural(beyond, "entry has", "entries have"), range(held));
        return Finding::warning(
            check,
            what,
            "they get the nearest that DST holds, and count as equal: touch them, if that matters",
        );
    }
    let steps = steps(held.granularity);
    if held.granularity > source.granularity {
        let what = format!("DST keeps times in steps of {steps}, SRC in finer ones");
        return Finding::warning(
            check,
            what,
            "times are cut, and compared as DST holds them: nothing to do for pmirror",
        );
    }
    let is_narrower = census.is_none() && (held.earliest > source.earliest || held.latest < source.latest);
    if is_narrower {
        let what = format!("DST holds fewer times than SRC may have: {}", range(held));
        return Finding::warning(check, what, "see whether SRC has others: --walk");
    }
    Finding::good(check, format!("DST holds times {}, in steps of {steps}", range(held)))
}

fn range(held: &TimeLimits) -> String {
    let year = |seconds: i64| 1970 + seconds.div_euclid(31_556_952);
    match (held.earliest, held.latest) {
        (i64::MIN, i64::MAX) => "of any year".to_owned(),
        (i64::MIN, latest) => format!("up to {}", year(latest)),
        (earliest, i64::MAX) => format!("from {} on", year(earliest)),
        (earliest, latest) => format!("from {} to {}", year(earliest), year(latest)),
    }
}

fn steps(granularity: u64) -> String {
    match granularity {
        1 => "1 ns".to_owned(),
        n if n < 1_000_000 => format!("{} us", n / 1_000),
        n if n < 1_000_000_000 => format!("{} ms", n / 1_000_000),
        n => format!("{} s", n / 1_000_000_000),
    }
}

/// The largest file.
pub fn file_size(trials: &Trials, census: Option<&Census>) -> Finding {
    let (check, max) = ("file_size", trials.file_bytes_max);
    match census.map(|census| &census.most.file) {
        Some(largest) if largest.value > max => Finding::no_go(
            check,
            format!("DST takes files of {}, SRC has one of {}", amount(max), amount(largest.value)),
            "leave it out with --max-size, or take another DST",
        ),
        // A few files of an ordinary tree are larger than that.
        None if max < 8 << 40 => Finding::warning(
            check,
            format!("DST takes no files beyond {}", amount(max)),
            "see whether SRC has larger ones: --walk",
        ),
        _ => Finding::good(check, format!("DST takes files of {}", amount(max))),
    }
}

/// Holes.
pub fn holes(trials: &Trials, census: Option<&Census>) -> Finding {
    let check = "holes";
    if trials.keeps_holes {
        return Finding::good(check, "holes of files take no room on DST");
    }
    let saved = census.map(|census| census.bytes.saturating_sub(census.allocated));
    let what = "holes of files take room on DST".to_owned();
    match saved {
        Some(0) => Finding::good(check, format!("{what}; SRC has none")),
        Some(saved) => Finding::new(
            check,
            Verdict::Warning,
            format!("{what}; SRC saves {} by them", amount(saved)),
            "see that DST has that room too",
        ),
        None => Finding::warning(check, what, "see what SRC saves by them: --walk"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::entries::tests::able;
    use crate::tree::census::{Largest, Most};

    const EXACT: TimeLimits = TimeLimits::EXACT;

    #[test]
    fn times_that_dst_bends_are_told_and_stop_nothing() {
        let ext4 = TimeLimits { earliest: -(1 << 31), latest: 15_032_385_535, granularity: 1 };
        let coarse = Trials { times: TimeLimits { granularity: 2_000_000_000, ..EXACT }, ..able() };
        let narrow = Trials { times: ext4, ..able() };
        assert_eq!(times(&able(), true, &EXACT, None).verdict, Verdict::Good);
        assert_eq!(times(&narrow, true, &ext4, None).verdict, Verdict::Good);
        assert!(
            times(&narrow, true, &ext4, None).what.contains("from 1901 to 2446"),
            "{:?}",
            times(&narrow, true, &ext4, None)
        );
        assert_eq!(times(&narrow, true, &EXACT, None).verdict, Verdict::Warning);
        assert_eq!(times(&coarse, true, &EXACT, None).verdict, Verdict::Warning);
        assert_eq!(times(&coarse, false, &EXACT, None).verdict, Verdict::Good);
        let mut census = Census::default();
        assert_eq!(times(&narrow, true, &EXACT, Some(&census)).verdict, Verdict::Good);
        census.find(Trouble::Time, &crate::tree::TreePath::root());
        assert_eq!(times(&narrow, true, &ext4, Some(&census)).verdict, Verdict::Warning);
    }

    #[test]
    fn a_file_that_is_too_large_is_a_no_go_once_it_was_seen() {
        let small = Trials { file_bytes_max: (4 << 30) - 1, ..able() };
        let has = |value| Census {
            most: Largest { file: Most { value, ..Most::default() }, ..Largest::default() },
            ..Census::default()
        };
        assert_eq!(
            (file_size(&able(), None).verdict, file_size(&small, None).verdict),
            (Verdict::Good, Verdict::Warning)
        );
        assert_eq!(file_size(&small, Some(&has(1 << 30))).verdict, Verdict::Good);
        assert_eq!(file_size(&small, Some(&has(4 << 30))).verdict, Verdict::NoGo);
    }

    #[test]
    fn holes_that_take_room_are_told_with_what_they_save() {
        let dense = Trials { keeps_holes: false, ..able() };
        let census = |allocated| Census { bytes: 10 << 20, allocated, ..Census::default() };
        assert_eq!((holes(&able(), None).verdict, holes(&dense, None).verdict), (Verdict::Good, Verdict::Warning));
        assert_eq!(holes(&dense, Some(&census(10 << 20))).verdict, Verdict::Good);
        assert!(
            holes(&dense, Some(&census(3 << 20))).what.contains("7.0 MiB"),
            "{:?}",
            holes(&dense, Some(&census(3 << 20)))
        );
    }
}
