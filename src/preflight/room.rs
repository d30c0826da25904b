//! Whether it fits: bytes and inodes of SRC against what DST has free.

use super::facts::{Quota, Room, Volumes};
use super::{Finding, Verdict, amount, count, plural};
use crate::tree::Kind;
use crate::tree::census::Census;

/// Less than that of DST, in percent, should not be left.
const LEFT_PERCENT_MIN: u64 = 5;

/// What SRC needs of something, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Counted.
    Counted(u64),
    /// The file system that holds SRC has so much in use, and SRC is all of it.
    Whole(u64),
    /// The same, but it holds other things too: SRC has less.
    AtMost(u64),
}

/// How the room on DST compares with what is needed.
struct Scale<'s> {
    check: &'static str,
    /// What is counted, in words, and how it is written.
    what: &'s str,
    shown: fn(u64) -> String,
    free: u64,
    total: u64,
}

/// Bytes.
pub fn bytes(volumes: &Volumes, census: Option<&Census>) -> Finding {
    let target = &volumes.target;
    let need = match census {
        Some(census) => Need::Counted(census.bytes_needed()),
        None => of_source(volumes, volumes.source.used_bytes),
    };
    let scale =
        Scale { check: "space", what: "bytes", shown: amount, free: target.free_bytes, total: target.total_bytes };
    let mut finding = scale.weigh(need, volumes);
    if target.reserved_bytes > 0 {
        finding.what.push_str(&format!("; {} more are kept for root", amount(target.reserved_bytes)));
    }
    finding
}

/// Inodes.
pub fn inodes(volumes: &Volumes, census: Option<&Census>) -> Finding {
    let check = "inodes";
    let Some(target) = volumes.target.inodes else {
        return Finding::good(check, "DST does not count inodes: it makes them as they are needed");
    };
    let need = match (census, volumes.source.inodes) {
        (Some(census), _) => Need::Counted(census.entries()),
        (None, Some(source)) => of_source(volumes, source.used),
        (None, None) => {
            let what = format!("SRC does not count its inodes, DST has {} free", count(target.free));
            return Finding::warning(check, what, "count them: --walk");
        }
    };
    let scale = Scale { check, what: "inodes", shown: count, free: target.free, total: target.used + target.free };
    scale.weigh(need, volumes)
}

fn of_source(volumes: &Volumes, used: u64) -> Need {
    if volumes.source_is_whole && volumes.mounts_in_source == 0 { Need::Whole(used) } else { Need::AtMost(used) }
}

impl Scale<'_> {
    fn weigh(&self, need: Need, volumes: &Volumes) -> Finding {
        let (Need::Counted(needed) | Need::Whole(needed) | Need::AtMost(needed)) = need;
        let (needed_text, free_text) = ((self.shown)(needed), (self.shown)(self.free));
        let what = match need {
            Need::Counted(_) => format!("SRC has {needed_text} {}, DST has {free_text} free", self.what()),
            Need::Whole(_) => format!("SRC uses {needed_text} {}, DST has {free_text} free", self.what()),
            Need::AtMost(_) => {
                let what = self.what();
                format!("the file system of SRC uses {needed_text} {what} for SRC and others, DST has {free_text} free")
            }
        };
        if needed <= self.free {
            return self.fits(needed, what);
        }
        // What is there already need not come again, and what is compressed takes less.
        let may_be_less = !volumes.target_is_empty || volumes.target_may_compress && self.check == "space";
        let counts_more =
            matches!(need, Need::AtMost(_)) || volumes.mounts_in_source > 0 && !matches!(need, Need::Counted(_));
        let (verdict, remedy) = match (counts_more, may_be_less) {
            (true, _) => (Verdict::Warning, "count what lies in SRC: --walk"),
            (false, true) => (Verdict::Warning, "see that what DST holds already, or compresses, makes up for it"),
            (false, false) => {
                (Verdict::NoGo, "make room on DST, leave something out with --exclude, or take another DST")
            }
        };
        Finding::new(self.check, verdict, what, remedy)
    }

    /// Amounts of bytes have their unit already.
    fn what(&self) -> &str {
        if self.check == "space" { "of data" } else { self.what }
    }

    fn fits(&self, needed: u64, what: String) -> Finding {
        let left = self.free - needed;
        let is_little = u128::from(left) * 100 < u128::from(self.total) * u128::from(LEFT_PERCENT_MIN);
        if is_little && needed > 0 {
            let what = format!("{what}: {} would be left", (self.shown)(left));
            let remedy = "make room: a file system that is nearly full is slow, and users may fill it meanwhile";
            return Finding::warning(self.check, what, remedy);
        }
        Finding::good(self.check, what)
    }
}

/// The quota of the user that we are; root has none.
pub fn quota(quota: &Result<Option<Quota>, String>, volumes: &Volumes, census: Option<&Census>) -> Finding {
    let check = "quota";
    let left = match quota {
        Ok(None) => {
            return Finding::good(check, "root's own writing has no quota; those of the owners are not looked at");
        }
        Err(why) => return Finding::good(check, format!("quotas are not checked: {why}")),
        Ok(Some(left)) => left,
    };
    let limits = [left.bytes.map(|n| format!("{} ", amount(n))), left.inodes.map(|n| format!("{} inodes ", count(n)))];
    let shown = limits.iter().flatten().cloned().collect::<Vec<_>>().join("and ");
    if shown.is_empty() {
        return Finding::good(check, "no quota limits you on DST, as far as the file system tells");
    }
    let what = format!("your quota on DST leaves {}", shown.trim_end());
    let (bytes, inodes) = match census {
        Some(census) => (Some(census.bytes_needed()), Some(census.entries())),
        None => (whole(volumes, volumes.source.used_bytes), volumes.source.inodes.and_then(|n| whole(volumes, n.used))),
    };
    let is_short =
        |left: Option<u64>, need: Option<u64>| matches!((left, need), (Some(left), Some(need)) if need > left);
    if !is_short(left.bytes, bytes) && !is_short(left.inodes, inodes) {
        return Finding::good(check, what);
    }
    let verdict = if volumes.target_is_empty && census.is_some() { Verdict::NoGo } else { Verdict::Warning };
    Finding::new(
        check,
        verdict,
        format!("{what}: less than SRC has"),
        "ask for more, or leave something out with --exclude",
    )
}

fn whole(volumes: &Volumes, used: u64) -> Option<u64> {
    matches!(of_source(volumes, used), Need::Whole(_)).then_some(used)
}

/// How much the largest directory of a census holds, and how large the tree is: for people.
pub fn entries(census: &Census) -> String {
    let kinds = Kind::ALL.iter().filter(|&&kind| census.of_kind(kind) > 0);
    let kinds = kinds.map(|&kind| {
        let (word, many) = (kind.word().replace('_', " "), if kind == Kind::Directory { "directories" } else { "" });
        let many = if many.is_empty() { format!("{word}s") } else { many.to_owned() };
        plural(census.of_kind(kind), &word, &many)
    });
    let kinds = kinds.collect::<Vec<_>>().join(", ");
    format!(
        "{} entries ({kinds}), {} in files, {} allocated",
        count(census.entries()),
        amount(census.bytes),
        amount(census.allocated)
    )
}

/// Whether anything can be written at all.
pub fn read_only(target: &Room) -> Option<Finding> {
    let remedy = "mount DST for writing on all nodes";
    target.is_read_only.then(|| Finding::no_go("write", "the file system of DST is mounted read-only", remedy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::facts::Inodes;

    fn room(used: u64, free: u64) -> Room {
        let inodes = Some(Inodes { used, free });
        Room { total_bytes: used + free, used_bytes: used, free_bytes: free, inodes, ..Room::default() }
    }

    fn volumes(used: u64, free: u64) -> Volumes {
        let (source, target) = (room(used, 0), room(0, free));
        Volumes { source, source_is_whole: true, target, target_is_empty: true, ..Volumes::default() }
    }

    #[test]
    fn what_does_not_fit_is_a_no_go_only_where_that_is_certain() {
        use Verdict::{Good, NoGo, Warning};
        let fits = volumes(1_000, 2_000);
        let full = volumes(1_000, 900);
        let partly = Volumes { source_is_whole: false, ..full.clone() };
        let filled = Volumes { target_is_empty: false, ..full.clone() };
        let mounts = Volumes { mounts_in_source: 1, ..full.clone() };
        let tight = volumes(990, 1_000);
        let table = [
            (&fits, Good),
            (&full, NoGo),
            (&partly, Warning),
            (&filled, Warning),
            (&mounts, Warning),
            (&tight, Warning),
        ];
        for (volumes, verdict) in table {
            let found = [bytes(volumes, None), inodes(volumes, None)];
            assert!(found.iter().all(|found| found.verdict == verdict), "{verdict:?}: {found:?}");
            assert!(found.iter().all(|found| (found.verdict == Good) == found.remedy.is_empty()));
        }
        let compressed = Volumes { target_may_compress: true, ..full };
        assert_eq!((bytes(&compressed, None).verdict, inodes(&compressed, None).verdict), (Warning, NoGo));
    }

    #[test]
    fn a_census_tells_what_the_file_system_does_not() {
        let partly = Volumes { source_is_whole: false, ..volumes(1_000, 900) };
        let counted =
            |bytes| Census { bytes, allocated: bytes, kinds: [bytes, 0, 0, 0, 0, 0, 0, 0], ..Census::default() };
        assert_eq!(bytes(&partly, Some(&counted(100))).verdict, Verdict::Good);
        assert_eq!(bytes(&partly, Some(&counted(950))).verdict, Verdict::NoGo);
        assert_eq!(inodes(&partly, Some(&counted(950))).verdict, Verdict::NoGo);
    }

    #[test]
    fn inodes_that_are_not_counted_need_no_room() {
        let mut volumes = volumes(1_000, 900);
        volumes.target.inodes = None;
        assert_eq!(inodes(&volumes, None).verdict, Verdict::Good);
        volumes.target.inodes = Some(Inodes { used: 0, free: 5 });
        volumes.source.inodes = None;
        assert_eq!(inodes(&volumes, None).verdict, Verdict::Warning);
    }

    #[test]
    fn a_quota_is_held_against_what_is_known_of_src() {
        let left = |bytes| Ok(Some(Quota { bytes, inodes: None }));
        let volumes = volumes(1_000, 9_000);
        let verdict = |quota: Result<Option<Quota>, String>| super::quota(&quota, &volumes, None).verdict;
        assert_eq!(verdict(left(None)), Verdict::Good);
        assert_eq!(verdict(left(Some(2_000))), Verdict::Good);
        assert_eq!(verdict(left(Some(500))), Verdict::Warning);
        let census = Census { bytes: 900, allocated: 900, ..Census::default() };
        assert_eq!(super::quota(&left(Some(500)), &volumes, Some(&census)).verdict, Verdict::NoGo);
        let unknown = super::quota(&Err("the kernel is too old".to_owned()), &volumes, None);
        assert!(unknown.what.contains("not checked"), "{unknown:?}");
    }
}
