//! Times as file systems hold them.

use bincode::{Decode, Encode};

/// A point in time: seconds since 1970 and nanoseconds, as statx(2) gives them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Time {
    /// Seconds since 1970-01-01, negative before.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

impl Time {
    /// The time so many nanoseconds later.
    pub fn plus(self, nanoseconds: u64) -> Self {
        let sum = u64::from(self.nanoseconds) + nanoseconds % NANOSECONDS;
        let carry = nanoseconds / NANOSECONDS + sum / NANOSECONDS;
        Self {
            seconds: self.seconds.saturating_add_unsigned(carry),
            nanoseconds: u32::try_from(sum % NANOSECONDS).unwrap_or(0),
        }
    }

    /// The time so many nanoseconds earlier.
    pub fn minus(self, nanoseconds: u64) -> Self {
        let seconds = self.seconds.saturating_sub_unsigned(nanoseconds.div_ceil(NANOSECONDS));
        let whole = Self { seconds, nanoseconds: self.nanoseconds };
        whole.plus((NANOSECONDS - nanoseconds % NANOSECONDS) % NANOSECONDS)
    }
}

const NANOSECONDS: u64 = 1_000_000_000;

/// The times that a file system can hold: measured once, see `fs::probe`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct TimeLimits {
    /// Earliest whole second (ext4: 1901-12-13).
    pub earliest: i64,
    /// Latest whole second (ext4: 2446-05-10).
    pub latest: i64,
    /// Times are multiples of this many nanoseconds (1 on local file systems, 10^9 on Lustre).
    pub granularity: u64,
}

impl TimeLimits {
    /// A file system that holds every time exactly.
    pub const EXACT: Self = Self { earliest: i64::MIN, latest: i64::MAX, granularity: 1 };

    /// The time that a file system with these limits gives back when it was asked to keep `time`.
    /// At both ends of the range ext4 and XFS also drop the nanoseconds.
    pub fn held(&self, time: Time) -> Time {
        if time.seconds <= self.earliest {
            return Time { seconds: self.earliest, nanoseconds: 0 };
        }
        if time.seconds >= self.latest {
            return Time { seconds: self.latest, nanoseconds: 0 };
        }
        if self.granularity <= 1 {
            return time;
        }
        if self.granularity <= NANOSECONDS {
            let excess = u64::from(time.nanoseconds) % self.granularity;
            let nanoseconds = u64::from(time.nanoseconds) - excess;
            return Time { nanoseconds: u32::try_from(nanoseconds).unwrap_or(0), ..time };
        }
        let whole = i64::try_from(self.granularity / NANOSECONDS).unwrap_or(i64::MAX);
        Time { seconds: time.seconds - time.seconds.rem_euclid(whole), nanoseconds: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: i64, nanoseconds: u32) -> Time {
        Time { seconds, nanoseconds }
    }

    #[test]
    fn whole_second_file_systems_drop_nanoseconds() {
        let lustre = TimeLimits { granularity: 1_000_000_000, ..TimeLimits::EXACT };
        assert_eq!(lustre.held(at(7, 999_999_999)), at(7, 0));
        assert_eq!(lustre.held(at(-7, 5)), at(-7, 0));
    }

    #[test]
    fn two_second_file_systems_round_down() {
        let fat = TimeLimits { granularity: 2_000_000_000, ..TimeLimits::EXACT };
        assert_eq!(fat.held(at(7, 5)), at(6, 0));
        assert_eq!(fat.held(at(-7, 5)), at(-8, 0));
    }

    proptest! {
        #[test]
        fn what_is_held_once_stays(seconds in any::<i64>(), nanoseconds in 0u32..1_000_000_000, power in 0u32..10) {
            let limits = TimeLimits { earliest: -2_147_483_648, latest: 15_032_385_535, granularity: 10u64.pow(power) };
            let held = limits.held(at(seconds, nanoseconds));
            prop_assert_eq!(limits.held(held), held);
        }

        #[test]
        fn adding_agrees_with_wide_arithmetic(seconds in -1_000_000i64..1_000_000, nanoseconds in 0u32..1_000_000_000, add in 0u64..1 << 60) {
            let sum = at(seconds, nanoseconds).plus(add);
            let wide = |t: Time| i128::from(t.seconds) * 1_000_000_000 + i128::from(t.nanoseconds);
            prop_assert_eq!(wide(sum), wide(at(seconds, nanoseconds)) + i128::from(add));
        }

        #[test]
        fn earlier_and_later_again_is_the_same(seconds in -1_000_000i64..1_000_000, nanoseconds in 0u32..1_000_000_000, n in 0u64..1 << 60) {
            prop_assert_eq!(at(seconds, nanoseconds).minus(n).plus(n), at(seconds, nanoseconds));
        }
    }
}
