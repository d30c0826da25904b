//! How well the stealing spreads the work. Prints the tables of `README.md`; asserts nothing.
//!
//! `cargo test --release -- --ignored --nocapture figures`

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use super::super::message::Rank;
use super::plan::{Kind, Plan, Trouble};
use super::trees::Shape;
use super::watch::Outcome;
use super::world::run;

const ITEM_TIME: Duration = Duration::from_millis(10);

/// A world with work for about two seconds.
fn plan(workload: &str, ranks: u32) -> Plan {
    let items = ranks * 2 * 200;
    let shape = match workload {
        "one huge directory" => Shape::Wide { children: items },
        "deep chain" => Shape::Chain { length: 200 },
        "power law" => Shape::PowerLaw { children: items / 3 },
        "long listing" => Shape::Listing { parts: 200, batches: 100 },
        _ => Shape::Split { items },
    };
    let mut plan = Plan::calm(1, ranks, shape, ITEM_TIME);
    match workload {
        "uneven tree, notes" => plan.tree.tells_per_mille = 300,
        "uneven tree, a few long items" => plan.tree.heavy_items = true,
        "uneven tree, one rank hangs for 1 s" => {
            let from = Duration::from_millis(500);
            plan.troubles.push(Trouble { rank: Rank(0), kind: Kind::Hung, from, to: from + Duration::from_secs(1) });
        }
        _ => {}
    }
    plan
}

/// The time that one bag shared by all workers would need, without any message: nobody can steal
/// better than that. (Notes and hung ranks are left out.)
fn shared_bag_time(plan: &Plan) -> Duration {
    let tree = &plan.tree;
    let mut bag = VecDeque::from([tree.first(1, Rank::ROOT)]);
    let mut working = BinaryHeap::new();
    let (mut now, mut idle) = (Duration::ZERO, plan.ranks * plan.workers);
    let mut running = Vec::new();
    loop {
        while idle > 0
            && let Some(item) = bag.pop_front()
        {
            idle -= 1;
            working.push(Reverse((now + tree.time(&item), running.len())));
            running.push(item);
        }
        let Some(Reverse((time, index))) = working.pop() else { return now };
        now = time;
        idle += 1;
        let made = tree.outcome(&running[index]);
        bag.extend(made.items);
        bag.extend(made.tells.iter().flat_map(|(_, note)| tree.note_outcome(note).items));
    }
}

fn row(workload: &str, plan: &Plan, outcome: &Outcome) {
    let capacity = plan.ranks * plan.workers;
    let ideal = shared_bag_time(plan);
    let percent = |time: Duration| 100.0 * time.as_secs_f64() / outcome.last_work.as_secs_f64();
    println!(
        "| {workload} | {} | {} | {:.2} | {:.2} | {:.0} % | {:.0} % | {:.2} | {:.2} | {:.0} |",
        plan.ranks,
        outcome.items,
        ideal.as_secs_f64(),
        outcome.last_work.as_secs_f64(),
        percent(outcome.work / capacity),
        percent(ideal),
        outcome.tally.messages() as f64 / outcome.items as f64,
        outcome.tally.items_moved as f64 / outcome.items as f64,
        (outcome.over - outcome.last_work).as_secs_f64() * 1e3,
    );
}

#[test]
#[ignore = "takes a minute and prints tables; run it by name"]
fn figures() {
    println!(
        "| workload | ranks | items | shared bag s | took s | busy | of shared bag | messages/item | moves/item | to over ms |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let workloads = [
        "one huge directory",
        "uneven tree",
        "power law",
        "deep chain",
        "long listing",
        "uneven tree, notes",
        "uneven tree, a few long items",
        "uneven tree, one rank hangs for 1 s",
    ];
    for workload in workloads {
        for ranks in [16, 256, 4096] {
            let plan = plan(workload, ranks);
            match run(&plan) {
                Ok(outcome) => row(workload, &plan, &outcome),
                Err(violation) => println!("| {workload} | {ranks} | {violation} |"),
            }
        }
    }
}
