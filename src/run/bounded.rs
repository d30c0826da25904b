//! What the end of a run does to the trees itself: a server that is down must not hold it for ever.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Does it in a thread of its own, and waits for that no longer than `limit`, if there is one. `None`: no
/// answer; the thread ends with the process.
pub fn within<T: Send + 'static>(limit: Option<Duration>, act: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let Some(limit) = limit else { return Some(act()) };
    let (tell, hear) = mpsc::channel();
    let spawned = thread::Builder::new().name("end".to_owned()).spawn(move || {
        // Nobody hears what comes too late.
        let _ = tell.send(act());
    });
    spawned.ok().and_then(|_| hear.recv_timeout(limit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn what_has_no_answer_is_not_waited_for() {
        let started = Instant::now();
        let limit = Some(Duration::from_millis(50));
        assert_eq!(within(limit, || thread::sleep(Duration::from_secs(60))), None);
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn what_has_one_is() {
        assert_eq!(within(Some(Duration::from_secs(60)), || 7), Some(7));
        assert_eq!(within(None, || 7), Some(7));
    }
}
