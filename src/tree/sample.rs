//! A sample of files, and what it proves of all of them.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::path::TreePath;

/// Files chosen by a hash of their path: the same files on any number of ranks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    percent: f64,
    seed: u64,
}

/// How sure a statement from a sample is.
pub const CONFIDENCE: f64 = 0.95;

impl Sample {
    /// About `percent` of 100 files; another seed gives other files.
    pub fn new(percent: f64, seed: u64) -> Self {
        Self { percent, seed }
    }

    /// Whether a file is in the sample.
    #[allow(clippy::cast_precision_loss)] // 53 bits are enough to choose by.
    pub fn takes(&self, path: &TreePath) -> bool {
        let place = (xxh3_64_with_seed(path.as_bytes(), self.seed) >> 11) as f64 / (1u64 << 53) as f64;
        place * 100.0 < self.percent
    }

    /// The percentage asked for.
    pub fn percent(&self) -> f64 {
        self.percent
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }
}

/// With 95 % confidence no larger share of `all` files differs, when of `read` files chosen at random
/// `different` were found to: the one-sided limit of Clopper and Pearson, which for no difference is
/// nearly 3 / `read` (the rule of three).
#[allow(clippy::cast_precision_loss)] // Counts of files, for a share.
pub fn share_max(all: u64, read: u64, different: u64) -> f64 {
    if all == 0 {
        return 0.0;
    }
    if read >= all {
        return different as f64 / all as f64;
    }
    if different >= read {
        return 1.0;
    }
    // The share at which so few differences, or fewer, would be found once in twenty times:
    // P(X <= d) = I(1 - share; n - d, d + 1).
    let (a, b) = ((read - different) as f64, different as f64 + 1.0);
    let (mut low, mut high) = (different as f64 / read as f64, 1.0);
    let halvings = 60;
    for _ in 0..halvings {
        let middle = f64::midpoint(low, high);
        if statrs::function::beta::beta_reg(a, b, 1.0 - middle) > 1.0 - CONFIDENCE {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MANY: u64 = 1 << 40;

    #[test]
    fn without_a_difference_the_share_is_that_of_the_rule_of_three() {
        for read in [30u64, 100, 300, 10_000, 1_000_000] {
            let exact = 1.0 - 0.05f64.powf(1.0 / read as f64);
            let share = share_max(MANY, read, 0);
            assert!((share - exact).abs() < 1e-9, "{read}: {share} {exact}");
            assert!((share * read as f64 - 3.0).abs() < 0.15, "{read}: {share}");
        }
    }

    #[test]
    fn the_figures_of_a_table_of_clopper_and_pearson() {
        for (read, different, share) in [(10, 1, 0.394_163), (20, 3, 0.343_664), (100, 5, 0.102_251)] {
            assert!((share_max(MANY, read, different) - share).abs() < 1e-5, "{read} {different}");
        }
    }

    #[test]
    fn all_files_read_leave_no_doubt() {
        assert_eq!(share_max(7, 7, 0), 0.0);
        assert_eq!(share_max(8, 8, 2), 0.25);
        assert_eq!(share_max(0, 0, 0), 0.0);
        assert_eq!(share_max(5, 0, 0), 1.0);
    }

    proptest! {
        #[test]
        fn at_that_share_so_few_are_found_once_in_twenty_times(read in 1u64..60, different in 0u64..60) {
            prop_assume!(different < read);
            let share = share_max(MANY, read, different);
            let choose = |k: u64| (1..=k).fold(1.0, |sum, i| sum * (read - k + i) as f64 / i as f64);
            let chance = |k: u64| choose(k) * share.powi(k as i32) * (1.0 - share).powi((read - k) as i32);
            let found: f64 = (0..=different).map(chance).sum();
            prop_assert!((found - 0.05).abs() < 1e-6, "{}", found);
        }

        #[test]
        fn a_larger_sample_holds_the_smaller_one(names in proptest::collection::vec("[a-z]{1,9}", 1..50), seed in any::<u64>(), small in 0.0..50.0f64) {
            for name in names {
                let path = TreePath::from(name.as_bytes());
                prop_assert!(Sample::new(100.0, seed).takes(&path));
                prop_assert!(!Sample::new(0.0, seed).takes(&path));
                if Sample::new(small, seed).takes(&path) {
                    prop_assert!(Sample::new(small * 2.0, seed).takes(&path));
                }
            }
        }
    }

    #[test]
    fn about_as_many_are_taken_as_were_asked_for() {
        let taken = |seed| {
            let sample = Sample::new(10.0, seed);
            (0..10_000).filter(|n| sample.takes(&TreePath::from(format!("dir/{n}").as_bytes()))).count()
        };
        assert!((800..1_200).contains(&taken(1)) && (800..1_200).contains(&taken(2)));
        assert_ne!(taken(1), taken(2));
    }
}
