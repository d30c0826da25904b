//! What the main thread of a rank does while lanes work: it moves their messages.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Pump, Sort, TRAILER_BYTES, deliver, lock};
use crate::comm::Comm;
use crate::sched::Rank;

/// Shortest and longest sleep between two looks at the network, which can not wake the pump; lanes can.
const SLEEP_MIN: Duration = Duration::from_micros(50);
const SLEEP_MAX: Duration = Duration::from_millis(1);
/// Where there is no network to look at.
const SLEEP_ALONE: Duration = Duration::from_millis(100);

/// Moves the messages of all lanes until the last one of this rank is closed. `turn` is called now and then.
pub fn pump(comm: &mut dyn Comm, pump: &Pump, turn: &mut dyn FnMut()) {
    let office = &pump.office;
    let (shortest, longest) = if comm.ranks() > 1 { (SLEEP_MIN, SLEEP_MAX) } else { (SLEEP_ALONE, SLEEP_ALONE) };
    let mut sleep = shortest;
    loop {
        office.turned.store(office.now(), Ordering::Relaxed);
        let sent = send_all(comm, pump);
        let received = receive_all(comm, pump);
        office.unsent_bytes.store(comm.unsent(), Ordering::Relaxed);
        turn();
        sleep = if sent || received { shortest } else { (sleep * 2).min(longest) };
        let outbox = lock(&office.outbox);
        if let Some(code) = outbox.abort {
            drop(outbox);
            comm.abort(code);
        }
        if outbox.letters.is_empty() {
            if outbox.lanes == 0 {
                return;
            }
            drop(office.posted.wait_timeout(outbox, sleep).unwrap_or_else(PoisonError::into_inner));
        }
    }
}

/// Returns whether there was anything.
fn send_all(comm: &mut dyn Comm, pump: &Pump) -> bool {
    let letters = std::mem::take(&mut lock(&pump.office.outbox).letters);
    let any = !letters.is_empty();
    for (to, bytes) in letters {
        let length = bytes.len();
        comm.send(to, bytes);
        // It counts in the network before it does no more here: nobody ever sees less than there is.
        pump.office.unsent_bytes.store(comm.unsent(), Ordering::Relaxed);
        pump.office.posted_bytes.fetch_sub(length, Ordering::Relaxed);
    }
    any
}

fn receive_all(comm: &mut dyn Comm, pump: &Pump) -> bool {
    let mut any = false;
    while let Some((from, bytes)) = comm.receive() {
        any = true;
        hand_out(pump, from, bytes);
    }
    any
}

/// Gives a message to its lane.
#[allow(clippy::panic)]
fn hand_out(pump: &Pump, from: Rank, mut bytes: Vec<u8>) {
    let trailer = bytes.split_off(bytes.len().saturating_sub(TRAILER_BYTES));
    let known = match trailer[..] {
        [low, high, sort] => {
            let inbox = pump.office.inboxes.get(usize::from(u16::from_le_bytes([low, high])));
            inbox.zip(Sort::ALL.into_iter().find(|known| *known as u8 == sort))
        }
        _ => None,
    };
    match known {
        Some((inbox, sort)) => deliver(inbox, from, sort, bytes),
        // Bytes of another program among our ranks: nothing that follows can be trusted.
        None => panic!("rank {} sent a message of no lane", from.0),
    }
}
