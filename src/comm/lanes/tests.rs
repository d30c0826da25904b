//! Lanes over ranks that are threads.

use super::*;
use crate::comm::local::{self, Local};

/// Runs a story in each lane of each rank; all must end.
fn in_lanes(ranks: u32, lanes: u16, story: impl Fn(&mut Lane) + Sync) {
    in_lanes_with(ranks, lanes, story, &|_| ());
}

fn in_lanes_with(ranks: u32, lanes: u16, story: impl Fn(&mut Lane) + Sync, turn: &(impl Fn(Rank) + Sync)) {
    let rank = |mut comm: Local| {
        let (ends, office) = ends(&comm, lanes);
        std::thread::scope(|scope| {
            for mut lane in ends {
                let story = &story;
                scope.spawn(move || {
                    let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| story(&mut lane)));
                    // The others would wait for this lane for ever.
                    told.unwrap_or_else(|_| fs::leave(101));
                    lane.close();
                });
            }
            let me = comm.rank();
            pump(&mut comm, &office, &mut || turn(me));
        });
        comm.finish();
        assert!(comm.receive().is_none(), "a message of no lane");
    };
    std::thread::scope(|scope| {
        for comm in local::ends(ranks) {
            scope.spawn(|| rank(comm));
        }
    });
}

fn next(lane: &mut Lane) -> (Rank, Vec<u8>) {
    loop {
        if let Some(message) = lane.receive() {
            return message;
        }
        std::thread::yield_now();
    }
}

#[test]
fn each_lane_gathers_its_own_parts_in_order_again_and_again() {
    for ranks in [1, 2, 3, 11] {
        in_lanes(ranks, 3, |lane| {
            for round in 0..20u8 {
                let part = |rank: u32| vec![lane.number() as u8 + 1; usize::from(round) + rank as usize];
                let expected: Vec<Vec<u8>> = (0..ranks).map(part).collect();
                let mine = expected[lane.rank().0 as usize].clone();
                assert_eq!(lane.gather(mine), expected);
            }
        });
    }
}

#[test]
fn messages_keep_to_their_lane_and_their_order() {
    in_lanes(3, 4, |lane| {
        let number = lane.number() as u8;
        for count in 0..100u8 {
            for to in (0..3).map(Rank) {
                lane.send(to, vec![number, count]);
            }
        }
        let mut counts = [0u8; 3];
        for _ in 0..300 {
            let (from, bytes) = next(lane);
            let count = &mut counts[from.0 as usize];
            assert_eq!(bytes, [number, *count]);
            *count += 1;
        }
        assert_eq!(lane.receive(), None);
    });
}

#[test]
fn what_was_said_in_one_story_is_not_heard_in_the_next() {
    in_lanes(4, 2, |lane| {
        for story in 0..50u8 {
            // Nobody listens to what would be taken for a message of the next story.
            for to in (0..4).map(Rank) {
                lane.send(to, vec![story + 1, 2]);
            }
            lane.end_story();
            let to = Rank((lane.rank().0 + 1) % 4);
            lane.send(to, vec![story, 1]);
            // Others may be ahead, but none is behind.
            loop {
                let heard = next(lane).1;
                assert_ne!(heard, [story, 2], "of an older story");
                if heard == [story, 1] {
                    break;
                }
            }
        }
    });
}

#[test]
fn a_lane_whose_pump_is_held_up_waits_for_it() {
    let held_up = AtomicU64::new(0);
    let hold_up_once = |rank: Rank| {
        if rank == Rank::ROOT && held_up.compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            std::thread::sleep(DEAF_AFTER * 3);
            held_up.store(2, Ordering::Relaxed);
        }
    };
    let story = |lane: &mut Lane| {
        if lane.rank() == Rank::ROOT {
            while held_up.load(Ordering::Relaxed) == 0 {
                std::thread::yield_now();
            }
            std::thread::sleep(DEAF_AFTER * 2);
            lane.receive();
            assert_eq!(held_up.load(Ordering::Relaxed), 2, "it did not wait");
        }
    };
    in_lanes_with(2, 1, story, &hold_up_once);
}

#[test]
fn what_is_on_its_way_counts_as_unsent() {
    let comm = local::ends(2).remove(0);
    let (mut lanes, office) = ends(&comm, 1);
    let mut lane = lanes.remove(0);
    lane.send(Rank(1), vec![0; 1000]);
    assert_eq!(lane.unsent(), 1000 + TRAILER_BYTES);
    lane.close();
    pump(&mut { comm }, &office, &mut || ());
    assert_eq!(office.office.posted_bytes.load(Ordering::Relaxed), 0);
}
