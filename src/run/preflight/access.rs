//! The right to try things out on the target: its lock, and the private directory in it, which goes again.

use std::ffi::CString;

use bincode::{Decode, Encode};
use nix::errno::Errno;

use super::places::Places;
use crate::comm::Comm;
use crate::fault::{Error, Failure};
use crate::fs::private::{self, Private};
use crate::fs::{Fd, open};
use crate::pass::temporary::Attempt;
use crate::run::agree::{agree, from_root};
use crate::run::begin::random;
use crate::run::crew::Crew;
use crate::run::end;
use crate::run::holder::Holder;
use crate::run::lock::{Ending, Lock};

const NONCE: &std::ffi::CStr = c"nonce";

/// What may be done on the target.
pub struct Access {
    /// What all ranks know of it.
    pub state: State,
    /// A rank does not see what rank 0 has written there.
    pub unseen: Option<String>,
    /// Rank 0: the lock.
    held: Option<(Private, Lock)>,
}

/// What all ranks know of it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum State {
    /// It is ours. With the number that every rank must find, and whether a dead run left a doubt.
    Ours(u64, bool),
    /// A run holds it.
    Held(String),
    /// Nothing can be written.
    Unwritable(String),
}

impl Access {
    /// Rank 0 takes the lock, as a run would.
    pub fn take(crew: &Crew<'_>, comm: &mut dyn Comm, places: &Places) -> Result<Self, Error> {
        let mut held = None;
        let state = from_root(comm, &crew.roster, || {
            Ok(match take_lock(crew, places) {
                Ok((private, lock, nonce)) => {
                    let doubt = lock.doubt().is_some();
                    held = Some((private, lock));
                    State::Ours(nonce, doubt)
                }
                // Whoever holds the lock is named; all else is a failed call.
                Err(Error::Refused(text)) => State::Held(text),
                Err(error) => State::Unwritable(error.to_string()),
            })
        })?;
        Ok(Self { state, unseen: None, held })
    }

    /// Whether something may be tried.
    pub fn is_ours(&self) -> bool {
        matches!(self.state, State::Ours(..))
    }

    /// Every rank reads what rank 0 has written: then all see one target. Where nothing could be written nobody knows.
    pub fn is_seen_by_all(&mut self, crew: &Crew<'_>, comm: &mut dyn Comm, places: &Places) -> Result<bool, Error> {
        let State::Ours(nonce, _) = self.state else { return Ok(true) };
        let site = site(places, nonce);
        let found = site.and_then(|site| Private::open(&site)?.read(NONCE)).unwrap_or_default();
        let is_same = found == text_of(nonce).as_bytes();
        let mine =
            if is_same { Ok(()) } else { Err(Error::Refused("does not see what rank 0 wrote in DST".to_owned())) };
        match agree(comm, &crew.roster, mine) {
            Ok(_) => Ok(true),
            Err(Error::Refused(text)) => {
                self.unseen = Some(text);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Rank 0: the private directory. All ranks: what they see of it.
    pub fn private(&self, places: &Places) -> Option<Private> {
        let State::Ours(nonce, _) = self.state else { return None };
        site(places, nonce).and_then(|site| Private::open(&site)).ok()
    }

    /// The lock goes, and with it the private directory. What a dead run left stays for the next one.
    pub fn give_back(&mut self, places: &Places) {
        let State::Ours(nonce, _) = self.state else { return };
        if let (Some((private, lock)), Ok(site)) = (self.held.take(), site(places, nonce)) {
            // What another rank could not take away any more.
            let _ = private.clear_except(c"lock");
            leave(private, lock, places, (site, nonce));
        }
    }
}

fn text_of(nonce: u64) -> String {
    format!("{nonce:016x}")
}

/// In the directory that would hold a DST which is missing: its `.pmirror`, if it has one, is none of ours.
fn apart(nonce: u64) -> CString {
    CString::new(format!(".pmirror-preflight-{}", text_of(nonce))).unwrap_or_default()
}

/// Where the private directory is.
fn site(places: &Places, nonce: u64) -> Result<Fd, Failure> {
    let name = if places.is_missing { apart(nonce) } else { c".".to_owned() };
    open::child_directory(&places.bench, &name)
}

fn leave(private: Private, lock: Lock, places: &Places, (site, nonce): (Fd, u64)) {
    end::give_back(private, lock, &site, Ending::Partly);
    if places.is_missing {
        let _ = private::remove_apart(&places.bench, &apart(nonce));
    }
}

fn take_lock(crew: &Crew<'_>, places: &Places) -> Result<(Private, Lock, u64), Error> {
    let uid = nix::unistd::geteuid().as_raw();
    let attempt = Attempt(random());
    let made =
        if places.is_missing { private::make_apart(&places.bench, &apart(attempt.0)) } else { site(places, attempt.0) };
    let site = made.map_err(unwritable)?;
    let job = crew.job.as_ref().map_or("", |job| job.job_id.as_str());
    let holder = Holder::this_process(attempt, &crew.config.run_id, crew.roster.host(), job, None);
    let (private, lock) = Lock::take(|| Private::make(&site, uid).map_err(unwritable), holder)?;
    let prepared =
        private.clear_except(c"lock").and_then(|()| private.create(NONCE, text_of(attempt.0).as_bytes()).map(drop));
    if let Err(failure) = prepared {
        leave(private, lock, places, (site, attempt.0));
        return Err(unwritable(failure));
    }
    Ok((private, lock, attempt.0))
}

fn unwritable(failure: Failure) -> Error {
    let errno = Errno::from_raw(failure.errno);
    Error::Fatal(format!("nothing can be written: {}: {} ({errno:?})", failure.operation, errno.desc()))
}
