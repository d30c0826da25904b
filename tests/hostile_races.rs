//! Users swap what lies in their trees while root mirrors it: whatever they swap and whatever runs, nothing outside the
//! target is written, nothing outside the source is read, and no FIFO or device is opened.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use support::hostile::{Attack, Command, Effort, How, breach};
use support::weaken::Weakness;

const SWAPS: Effort = Effort { swaps: 10_000, runs: 3 };

/// A weakened run is slow, and must be caught long before.
const UNTIL_CAUGHT: Effort = Effort { swaps: 0, runs: 60 };

const ATTACKS: &[Attack] = &[
    Attack::SourceDirectory,
    Attack::SourceAbove,
    Attack::SourceFile,
    Attack::TargetDirectory,
    Attack::TargetAbove,
    Attack::TargetFile,
    Attack::Fifo,
    Attack::Device,
    Attack::TargetHardLink,
    Attack::SourceMovedOut,
    Attack::TargetMovedOut,
];

fn assert_safe(command: Command, attacks: &[Attack], effort: Effort) {
    for attack in attacks {
        let breach = breach(*attack, command, How::AsItIs, effort);
        assert_eq!(breach, None, "{attack:?} while {command:?} runs");
    }
}

fn assert_caught(command: Command, attack: Attack, how: How) {
    let breach = breach(attack, command, how, UNTIL_CAUGHT);
    assert!(breach.is_some(), "{attack:?} while {command:?} runs, {how:?}: these tests would not see a breach");
}

#[test]
fn sync_stays_in_the_trees() {
    assert_safe(Command::Sync, ATTACKS, SWAPS);
}

#[test]
fn sync_with_delete_stays_in_the_trees() {
    assert_safe(Command::SyncDelete, ATTACKS, SWAPS);
}

#[test]
fn rm_stays_in_the_trees() {
    assert_safe(Command::Rm, ATTACKS, SWAPS);
}

#[test]
fn rm_of_a_whole_tree_stays_in_it() {
    let of_the_target = [Attack::TargetDirectory, Attack::TargetAbove, Attack::TargetFile, Attack::TargetMovedOut];
    assert_safe(Command::RmTree, &of_the_target, SWAPS);
}

#[test]
fn mtimes_stays_in_the_trees() {
    assert_safe(Command::Mtimes, ATTACKS, SWAPS);
}

#[test]
fn cmp_stays_in_the_trees() {
    assert_safe(Command::Cmp, ATTACKS, SWAPS);
}

#[test]
fn temporary_files_that_are_swapped_for_links_are_not_written_through() {
    assert_safe(Command::Sync, &[Attack::Temporaries], SWAPS);
}

#[test]
fn a_sync_that_follows_links_is_caught() {
    for attack in [
        Attack::SourceDirectory,
        Attack::SourceAbove,
        Attack::SourceFile,
        Attack::TargetDirectory,
        Attack::TargetAbove,
        Attack::TargetFile,
    ] {
        assert_caught(Command::Sync, attack, How::Weakened(Weakness::FollowsLinks));
    }
}

#[test]
fn other_commands_that_follow_links_are_caught() {
    let how = How::Weakened(Weakness::FollowsLinks);
    assert_caught(Command::Mtimes, Attack::SourceDirectory, how);
    assert_caught(Command::Mtimes, Attack::TargetDirectory, how);
    assert_caught(Command::Cmp, Attack::SourceFile, how);
    assert_caught(Command::Cmp, Attack::TargetDirectory, how);
    assert_caught(Command::Rm, Attack::TargetDirectory, how);
    assert_caught(Command::RmTree, Attack::TargetDirectory, how);
}

#[test]
fn opening_a_fifo_or_a_device_is_caught() {
    let how = How::Weakened(Weakness::OpensAnything);
    for attack in [Attack::Fifo, Attack::Device] {
        assert_caught(Command::Sync, attack, how);
        assert_caught(Command::Cmp, attack, how);
    }
}

#[test]
fn writing_into_a_file_with_a_name_outside_is_caught() {
    assert_caught(Command::Sync, Attack::TargetHardLink, How::InPlace);
}

#[test]
#[ignore = "minutes: 100,000 swaps of each kind"]
fn a_hundred_thousand_swaps_of_each_kind_lead_nowhere() {
    let effort = Effort { swaps: 100_000, runs: 30 };
    for command in [Command::Sync, Command::SyncDelete, Command::Rm, Command::Mtimes, Command::Cmp] {
        assert_safe(command, ATTACKS, effort);
    }
    assert_safe(Command::Sync, &[Attack::Temporaries], effort);
}
