//! What keeps a late worker out. Once its item was given to others, each further system call on the trees
//! is refused before it is made, with ECANCELED. The one that it is in can not be taken back.

use std::cell::OnceCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;

use crate::fault::Side;

/// The fence of one worker.
#[derive(Debug, Default)]
pub struct Fence {
    is_raised: AtomicBool,
    /// The last call was about the source.
    at_source: AtomicBool,
}

thread_local! {
    static MINE: OnceCell<Arc<Fence>> = const { OnceCell::new() };
}

/// From now on this thread asks its fence before each call. A thread that has none is always let through.
pub fn stand_behind(fence: Arc<Fence>) {
    MINE.with(|mine| {
        // Once in its life.
        let _ = mine.set(fence);
    });
}

impl Fence {
    /// The item is no longer its worker's.
    pub fn raise(&self) {
        self.is_raised.store(true, Ordering::Release);
    }

    /// The worker has a new item.
    pub fn lower(&self) {
        self.is_raised.store(false, Ordering::Release);
    }

    /// Whether the item is no longer its worker's.
    pub fn is_raised(&self) -> bool {
        self.is_raised.load(Ordering::Acquire)
    }

    /// Which tree the worker's last call was about; of a call on both, which one it names last.
    pub fn side(&self) -> Side {
        if self.at_source.load(Ordering::Relaxed) { Side::Source } else { Side::Target }
    }
}

/// Whether this thread may go on: asked before each system call on the trees.
pub(super) fn check() -> Result<(), Errno> {
    let is_raised = MINE.with(|mine| mine.get().is_some_and(|fence| fence.is_raised()));
    if is_raised { Err(Errno::ECANCELED) } else { Ok(()) }
}

/// The next call is about this tree.
pub(super) fn note(side: Side) {
    MINE.with(|mine| {
        if let Some(fence) = mine.get() {
            fence.at_source.store(side == Side::Source, Ordering::Relaxed);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::fd::uninterrupted;

    #[test]
    fn behind_a_raised_fence_no_call_is_made() {
        let fence = Arc::<Fence>::default();
        let mine = Arc::clone(&fence);
        std::thread::spawn(move || {
            stand_behind(mine);
            assert_eq!(uninterrupted(|| Ok(1)), Ok(1));
            fence.raise();
            let mut made = 0;
            let refused = uninterrupted(|| {
                made += 1;
                Ok(())
            });
            assert_eq!((refused, made), (Err(Errno::ECANCELED), 0));
            fence.lower();
            assert_eq!(uninterrupted(|| Ok(2)), Ok(2));
        })
        .join()
        .unwrap();
    }

    #[test]
    fn other_threads_are_let_through() {
        Fence::default().raise();
        assert_eq!(uninterrupted(|| Ok(1)), Ok(1));
    }
}
