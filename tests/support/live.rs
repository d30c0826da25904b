//! Trees that others change meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};

/// Calls `disturb` over and over in another thread while `work` runs.
pub fn while_disturbed<T>(disturb: impl FnMut() + Send, work: impl FnOnce() -> T) -> T {
    let (over, mut disturb) = (AtomicBool::new(false), disturb);
    std::thread::scope(|scope| {
        let disturber = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                disturb();
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::Relaxed);
        disturber.join().unwrap();
        result.unwrap_or_else(|failure| std::panic::resume_unwind(failure))
    })
}
