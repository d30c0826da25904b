//! What holds deletions back: the whole plan is judged before the first name is removed. Numbers only.

use std::collections::{BTreeMap, BTreeSet};

use bincode::{Decode, Encode};

use super::path::TreePath;

/// The default of `--max-delete` never refuses fewer removals than this, nor does `--hold-threshold` hold
/// a subtree that would lose fewer: a small tree may well lose half of its entries.
pub const FEW: u64 = 1_000;

/// The default of `--max-delete`, in percent of the entries of DST.
pub const MAX_DELETE_PERCENT: f64 = 10.0;

/// The default of `--hold-threshold`, in percent of the entries of a subtree.
pub const HOLD_PERCENT: f64 = 50.0;

/// `--max-delete`: how many removals are let through.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum MaxDelete {
    /// The default: a share of the entries of DST, but never refusing a few.
    #[default]
    Usual,
    /// So many.
    Count(u64),
    /// This share of the entries of DST.
    Percent(f64),
}

impl MaxDelete {
    /// The largest number of removals that passes, where DST has `seen` entries.
    pub fn limit(self, seen: u64) -> u64 {
        match self {
            MaxDelete::Usual => share(MAX_DELETE_PERCENT, seen).max(FEW - 1),
            MaxDelete::Count(count) => count,
            MaxDelete::Percent(percent) => share(percent, seen),
        }
    }
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // A share.
fn share(percent: f64, of: u64) -> u64 {
    (of as f64 * percent / 100.0).floor() as u64
}

/// What holds deletions back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guards {
    /// How many removals are let through in all.
    pub max_delete: MaxDelete,
    /// A subtree that would lose more than this share of its entries is held.
    pub hold_percent: f64,
    /// The depth of these subtrees below DST: 1 for the directories in DST itself.
    pub hold_depth: u32,
}

impl Default for Guards {
    fn default() -> Self {
        Self { max_delete: MaxDelete::Usual, hold_percent: HOLD_PERCENT, hold_depth: 1 }
    }
}

/// What the plan saw of a subtree, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct Loss {
    /// Entries of the target.
    pub seen: u64,
    /// Those of them that are to be removed.
    pub planned: u64,
}

impl Loss {
    /// Both together.
    pub fn add(&mut self, other: Loss) {
        self.seen += other.seen;
        self.planned += other.planned;
    }
}

/// The losses of the subtrees that `--hold-threshold` looks at.
pub type Losses = BTreeMap<TreePath, Loss>;

/// The subtree in which a directory's names count: its first `depth` components. `None` for what lies
/// above all of them.
pub fn subtree_of(directory: &TreePath, depth: u32) -> Option<TreePath> {
    directory.ancestor(depth as usize)
}

/// A subtree that is held, with what it would have lost.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct HeldTree {
    /// Below DST.
    pub path: TreePath,
    /// What it would have lost.
    pub loss: Loss,
}

/// What the guards say of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Verdict {
    /// Subtrees in which nothing is removed.
    pub held: Vec<HeldTree>,
    /// More would be removed than is let through: then nothing is.
    pub too_many: Option<TooMany>,
}

/// More removals than `--max-delete` lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct TooMany {
    /// Removals, what is held left aside.
    pub planned: u64,
    /// Entries of DST.
    pub seen: u64,
    /// So many would pass.
    pub limit: u64,
}

/// Judges a plan: first each subtree, then what is left of the whole.
pub fn judge(guards: &Guards, all: Loss, subtrees: &Losses) -> Verdict {
    let is_held = |loss: &Loss| loss.planned >= FEW && exceeds(*loss, guards.hold_percent);
    let held: Vec<HeldTree> = subtrees
        .iter()
        .filter(|(_, loss)| is_held(loss))
        .map(|(path, &loss)| HeldTree { path: path.clone(), loss })
        .collect();
    let held_back: u64 = held.iter().map(|tree| tree.loss.planned).sum();
    let (planned, limit) = (all.planned.saturating_sub(held_back), guards.max_delete.limit(all.seen));
    let too_many = (planned > limit).then_some(TooMany { planned, seen: all.seen, limit });
    Verdict { held, too_many }
}

#[allow(clippy::cast_precision_loss)] // A share.
fn exceeds(loss: Loss, percent: f64) -> bool {
    loss.planned as f64 * 100.0 > percent * loss.seen as f64
}

/// The subtrees that are held, to be asked of every directory of the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    depth: u32,
    paths: BTreeSet<TreePath>,
    everything: bool,
}

impl Held {
    /// These, which all lie at one depth.
    pub fn new(depth: u32, paths: impl IntoIterator<Item = TreePath>) -> Self {
        Self { depth, paths: paths.into_iter().collect(), everything: false }
    }

    /// All of the target: the plan was refused.
    pub fn everything() -> Self {
        Self { everything: true, ..Self::default() }
    }

    /// Whether the path is one of them, or lies in one.
    pub fn has(&self, path: &TreePath) -> bool {
        self.everything
            || !self.paths.is_empty()
                && subtree_of(path, self.depth).is_some_and(|subtree| self.paths.contains(&subtree))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> TreePath {
        TreePath::from(text.as_bytes())
    }

    fn loss(seen: u64, planned: u64) -> Loss {
        Loss { seen, planned }
    }

    #[test]
    fn the_usual_limit_is_a_tenth_but_never_below_a_thousand() {
        assert_eq!(MaxDelete::Usual.limit(100), 999);
        assert_eq!(MaxDelete::Usual.limit(1_000_000), 100_000);
        assert_eq!(MaxDelete::Count(0).limit(1_000_000), 0);
        assert_eq!(MaxDelete::Percent(1.0).limit(250), 2);
    }

    #[test]
    fn the_refusal_tells_the_number_that_would_pass() {
        let verdict = judge(&Guards::default(), loss(20_000, 3_000), &Losses::new());
        assert_eq!(verdict.too_many, Some(TooMany { planned: 3_000, seen: 20_000, limit: 2_000 }));
        let guards = Guards { max_delete: MaxDelete::Count(3_000), ..Guards::default() };
        assert_eq!(judge(&guards, loss(20_000, 3_000), &Losses::new()).too_many, None);
    }

    #[test]
    fn a_subtree_that_loses_most_of_itself_is_held_and_the_rest_goes_on() {
        let subtrees = Losses::from([
            (path("ada"), loss(5_000, 4_000)),
            (path("bob"), loss(5_000, 2_500)),
            (path("eve"), loss(900, 900)),
        ]);
        let verdict = judge(&Guards::default(), loss(80_000, 7_400), &subtrees);
        assert_eq!(verdict.held, [HeldTree { path: path("ada"), loss: loss(5_000, 4_000) }]);
        assert_eq!(verdict.too_many, None);
        let never = Guards { hold_percent: 100.0, ..Guards::default() };
        assert!(judge(&never, loss(80_000, 7_400), &subtrees).held.is_empty());
    }

    #[test]
    fn a_name_lies_in_what_is_held_by_whole_components() {
        let held = Held::new(1, [path("b"), path("b-c")]);
        for inside in ["b", "b/c", "b-c/y/z"] {
            assert!(held.has(&path(inside)), "{inside}");
        }
        for outside in ["", "a", "b2", "bc/d", "c", "a/b"] {
            assert!(!held.has(&path(outside)), "{outside}");
        }
        assert!(!Held::default().has(&path("a")));
        assert!(Held::everything().has(&path("a")));
    }

    proptest! {
        #[test]
        fn what_passes_is_never_more_than_the_limit(seen in 0u64..1 << 40, planned in 0u64..1 << 40, percent in 0.0f64..100.0) {
            let planned = planned.min(seen);
            let guards = Guards { max_delete: MaxDelete::Percent(percent), ..Guards::default() };
            let verdict = judge(&guards, loss(seen, planned), &Losses::new());
            prop_assert_eq!(verdict.too_many.is_none(), planned <= guards.max_delete.limit(seen));
        }
    }
}
