//! How ranks share what the whole job may use a second: pure, on rank 0, in step with the waves.

use std::time::Duration;

use bincode::{Decode, Encode};

use super::message::Rank;

/// Units a second of each thing that can be limited. The scheduler does not know what they are.
pub type Rates = [u64; 2];

/// No limit.
pub const UNLIMITED: u64 = u64::MAX;

/// A rank that hears no wave for so long uses nothing until it is given a share again.
pub const SHARE_HOLDS_FOR: Duration = Duration::from_secs(5);

/// A rank that was not heard for so long has lost its share: others may have it. Longer than
/// `SHARE_HOLDS_FOR`, as the rank counts from the last wave and rank 0 from the last answer.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);

/// What a rank answers a wave.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Demand {
    /// Who speaks.
    pub rank: Rank,
    /// What it may use now.
    pub holds: Rates,
    /// What it would use: `UNLIMITED` if it had to wait.
    pub wants: Rates,
}

/// What a rank may use from now on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Share {
    /// Who is meant.
    pub rank: Rank,
    /// So much.
    pub rates: Rates,
}

/// What every rank may use before the first wave has come.
pub fn first_share(limits: Rates, ranks: u32) -> Rates {
    limits.map(|limit| if limit == UNLIMITED { UNLIMITED } else { limit / u64::from(ranks.max(1)) })
}

/// Rank 0's account of who may use what. A rank that is told to use less is believed only when it says
/// so; until then nobody gets what it gives up. So the ranks together never have more than the limit,
/// whatever message is late or lost. Only a rank that was stopped for long may find, when it goes on,
/// that its share has been given away, and that for one wave at most.
#[derive(Debug, Clone, Hash)]
pub struct Ledger {
    limits: Rates,
    accounts: Vec<Account>,
}

#[derive(Debug, Clone, Copy, Hash)]
struct Account {
    /// The most that the rank may be using.
    most: Rates,
    /// What it said last that it holds.
    holds: Rates,
    wants: Rates,
    heard: Duration,
}

impl Ledger {
    /// Before the first wave.
    pub fn new(limits: Rates, ranks: u32) -> Self {
        let most = first_share(limits, ranks);
        let account = Account { most, holds: most, wants: [0; 2], heard: Duration::ZERO };
        Self { limits, accounts: vec![account; ranks as usize] }
    }

    /// From now on there is so much. What was not limited stays so.
    pub fn set_limits(&mut self, limits: Rates) {
        for (limit, new) in self.limits.iter_mut().zip(limits).filter(|(limit, _)| **limit != UNLIMITED) {
            *limit = new;
        }
    }

    /// A rank has answered the last wave, with what it holds since it got that.
    pub fn hear(&mut self, heard: Duration, demand: &Demand) {
        if let Some(account) = self.accounts.get_mut(demand.rank.0 as usize) {
            *account = Account { most: demand.holds, holds: demand.holds, wants: demand.wants, heard };
        }
    }

    /// Whether a rank that holds nothing would use something: not a state to leave it in for long.
    pub fn has_starving(&self) -> bool {
        let starves =
            |account: &Account| account.holds.iter().zip(account.wants).any(|(&has, want)| has == 0 && want > 0);
        self.accounts.iter().any(starves)
    }

    /// What the next wave tells the ranks: nothing to those that hold what they are to have.
    pub fn share_out(&mut self, now: Duration) -> Vec<Share> {
        let nothing = self.limits.map(|limit| if limit == UNLIMITED { UNLIMITED } else { 0 });
        for account in self.accounts.iter_mut().filter(|account| now > account.heard + FORGOTTEN_AFTER) {
            *account = Account { most: nothing, holds: nothing, wants: [0; 2], heard: account.heard };
        }
        let mut next: Vec<Rates> = self.accounts.iter().map(|account| account.holds).collect();
        for (resource, limit) in self.limits.into_iter().enumerate() {
            if limit != UNLIMITED {
                self.share_out_one(resource, limit, &mut next);
            }
        }
        let changed = |(_, (account, rates)): &(u32, (&Account, Rates))| account.holds != *rates;
        let all = (0..).zip(self.accounts.iter().zip(next));
        all.filter(changed).map(|(rank, (_, rates))| Share { rank: Rank(rank), rates }).collect()
    }

    fn share_out_one(&mut self, resource: usize, limit: u64, next: &mut [Rates]) {
        let of = |rates: &Rates| rates.get(resource).copied().unwrap_or(0);
        let wants: Vec<u64> = self.accounts.iter().map(|account| of(&account.wants)).collect();
        let used = self.accounts.iter().map(|account| of(&account.most)).fold(0, u64::saturating_add);
        // More only when a rank comes back whose share was given away.
        let mut free = limit.saturating_sub(used);
        for ((account, rates), fair) in self.accounts.iter_mut().zip(next).zip(fair_shares(limit, &wants)) {
            let (Some(most), Some(rate)) = (account.most.get_mut(resource), rates.get_mut(resource)) else { continue };
            if fair > *most {
                let more = (fair - *most).min(free);
                free -= more;
                *most += more;
            }
            *rate = fair.min(*most);
        }
    }
}

/// Who wants little gets it, the others get equal parts of the rest. What nobody wants is dealt out
/// too, so that a rank can begin before the next wave.
fn fair_shares(limit: u64, wants: &[u64]) -> Vec<u64> {
    let mut by_want: Vec<(u64, usize)> = wants.iter().copied().zip(0..).collect();
    by_want.sort_unstable();
    let mut shares = vec![0; wants.len()];
    let mut left = limit;
    let mut ranks = wants.len() as u64;
    for (want, index) in by_want {
        let given = want.min(left / ranks);
        left -= given;
        ranks -= 1;
        if let Some(share) = shares.get_mut(index) {
            *share = given;
        }
    }
    let spare = left / (wants.len() as u64).max(1);
    shares.iter_mut().for_each(|share| *share += spare);
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    fn want() -> impl Strategy<Value = u64> {
        prop_oneof![Just(0), Just(UNLIMITED), 0u64..2_000]
    }

    proptest! {
        #[test]
        fn shares_are_fair_and_add_up(limit in 1u64..1_000_000, wants in proptest::collection::vec(want(), 1..40)) {
            let shares = fair_shares(limit, &wants);
            let sum: u64 = shares.iter().sum();
            prop_assert!(sum <= limit && limit - sum < wants.len() as u64, "{} of {} is dealt out", sum, limit);
            for (a, b) in (0..wants.len()).flat_map(|a| (0..wants.len()).map(move |b| (a, b))) {
                prop_assert!(shares[a] >= wants[a].min(shares[b].saturating_sub(1)), "{} could have some of {}'s", a, b);
            }
        }

        /// Messages of a wave reach some ranks and not others, answers are lost, demands change.
        #[test]
        fn ranks_never_have_more_than_the_limit(
            limit in 1u64..100_000,
            ranks in 1usize..12,
            waves in proptest::collection::vec((proptest::collection::vec((want(), 0u8..6), 12), any::<bool>()), 1..60),
        ) {
            let mut ledger = Ledger::new([limit, UNLIMITED], ranks as u32);
            let mut held = vec![first_share([limit, UNLIMITED], ranks as u32); ranks];
            for (demands, _) in waves {
                let shares = ledger.share_out(Duration::ZERO);
                let mut answers = VecDeque::new();
                for (index, &(want, luck)) in demands.iter().take(ranks).enumerate() {
                    // 0: the wave is lost. 1: its answer is.
                    if luck > 0 {
                        let rank = Rank(index as u32);
                        if let Some(share) = shares.iter().find(|share| share.rank == rank) {
                            held[index] = share.rates;
                        }
                        if luck > 1 {
                            answers.push_back(Demand { rank, holds: held[index], wants: [want, 0] });
                        }
                    }
                    prop_assert!(held.iter().map(|held| held[0]).sum::<u64>() <= limit);
                    prop_assert!(held.iter().all(|held| held[1] == UNLIMITED));
                }
                answers.iter().for_each(|demand| ledger.hear(Duration::ZERO, demand));
            }
        }
    }

    #[test]
    fn a_rank_that_works_alone_has_all_of_it_after_two_waves() {
        let mut ledger = Ledger::new([1_000, UNLIMITED], 4);
        let mut held = [250; 4];
        for _ in 0..3 {
            for share in ledger.share_out(Duration::ZERO) {
                held[share.rank.0 as usize] = share.rates[0];
            }
            for (rank, &holds) in (0..).zip(&held) {
                let wants = [if rank == 2 { UNLIMITED } else { 0 }, 0];
                ledger.hear(Duration::ZERO, &Demand { rank: Rank(rank), holds: [holds, UNLIMITED], wants });
            }
        }
        assert_eq!(held, [0, 0, 1_000, 0]);
        assert!(ledger.share_out(Duration::ZERO).is_empty(), "nothing is left to say");
    }

    #[test]
    fn what_a_silent_rank_holds_is_given_to_others_after_a_while() {
        let mut ledger = Ledger::new([1_000, UNLIMITED], 2);
        let mut held = 500;
        for second in 0..20 {
            let now = Duration::from_secs(second);
            for share in ledger.share_out(now).iter().filter(|share| share.rank == Rank(0)) {
                held = share.rates[0];
            }
            ledger.hear(now, &Demand { rank: Rank(0), holds: [held, UNLIMITED], wants: [UNLIMITED, 0] });
            assert_eq!(held, if second > 10 { 1_000 } else { 500 }, "after {second} s");
        }
        let stale = Demand { rank: Rank(1), holds: [500, UNLIMITED], wants: [UNLIMITED, 0] };
        ledger.hear(Duration::from_secs(20), &stale);
        let back = ledger.share_out(Duration::from_secs(20));
        assert_eq!(back, [Share { rank: Rank(0), rates: [500, UNLIMITED] }]);
    }
}
