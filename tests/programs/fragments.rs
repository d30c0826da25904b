//! Two MPI ranks: long messages are cut into fragments, and come whole and in order. `tests/comm_mpi.rs`
//! runs it.
#![allow(clippy::expect_used)]

#[cfg(feature = "mpi")]
fn main() {
    use pmirror::comm::Comm;
    use pmirror::sched::Rank;

    let mut mpi = pmirror::comm::mpi::Mpi::start().expect("MPI with threads");
    mpi.set_fragment_bytes_max(1_000);
    let lengths = [0, 1, 999, 1_000, 1_001, 2_000, 123_456, 5_000_000, 3];
    let message = |length: usize| (0..length).map(|index| (index % 251) as u8).collect::<Vec<u8>>();
    assert_eq!(mpi.ranks(), 2);
    if mpi.rank() == Rank(0) {
        for length in lengths {
            mpi.send(Rank(1), message(length));
        }
    } else {
        for length in lengths {
            let (from, bytes) = loop {
                if let Some(received) = mpi.receive() {
                    break received;
                }
            };
            assert!(from == Rank(0) && bytes == message(length), "a message of {length} bytes came wrong");
        }
    }
    mpi.finish();
    let parts = mpi.gather(vec![7; 10 * mpi.rank().0 as usize]);
    assert_eq!(parts, [vec![], vec![7; 10]]);
    if mpi.rank() == Rank(0) {
        println!("all messages came whole");
    }
}

#[cfg(not(feature = "mpi"))]
fn main() {}
