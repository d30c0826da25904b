//! What all ranks must agree on before anything is written. Every step is a gather: each rank brings
//! its part or its error, and all come to the same verdict.

use bincode::{Decode, Encode};

use crate::comm::Comm;
use crate::fault::Error;
use crate::sched::Rank;
use crate::wire;

/// Where the ranks are.
#[derive(Debug, Clone)]
pub struct Roster {
    /// The node of each rank.
    pub hosts: Vec<String>,
    me: Rank,
}

impl Roster {
    /// Asks all ranks.
    pub fn call(comm: &mut dyn Comm) -> Self {
        let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let hosts = comm.gather(host.into_bytes());
        let hosts = hosts.into_iter().map(|host| String::from_utf8_lossy(&host).into_owned()).collect();
        Self { hosts, me: comm.rank() }
    }

    /// This rank's node.
    pub fn host(&self) -> &str {
        self.hosts.get(self.me.0 as usize).map_or("", String::as_str)
    }

    fn on_this_node(&self) -> impl Iterator<Item = Rank> {
        let here = self.host();
        let same = self.hosts.iter().enumerate().filter(move |(_, host)| *host == here);
        same.filter_map(|(rank, _)| u32::try_from(rank).ok()).map(Rank)
    }

    /// The other ranks of this node.
    pub fn neighbours(&self) -> Vec<Rank> {
        self.on_this_node().filter(|&rank| rank != self.me).collect()
    }

    /// Ranks on this node, this one included.
    pub fn ranks_here(&self) -> u32 {
        u32::try_from(self.on_this_node().count()).unwrap_or(1)
    }

    /// Whether this rank does what is to be done once on each node.
    pub fn leads_node(&self) -> bool {
        self.on_this_node().next() == Some(self.me)
    }

    /// A rank with its node, for messages.
    pub fn name(&self, rank: usize) -> String {
        format!("rank {rank} on {}", self.hosts.get(rank).map_or("?", String::as_str))
    }
}

/// Gives every rank the parts of all, or the first error with the rank that has it.
pub fn agree<T: Encode + Decode<()>>(
    comm: &mut dyn Comm,
    roster: &Roster,
    mine: Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let parts = comm.gather(wire::encode(&mine));
    let mut results: Vec<Result<T, Error>> = Vec::with_capacity(parts.len());
    for (rank, part) in parts.iter().enumerate() {
        let decoded = wire::decode::<Result<T, Error>>("part of an agreement", part);
        let garbage = |garbage| {
            Error::Usage(format!(
                "{} runs another pmirror: {garbage}; install the same one on all nodes",
                roster.name(rank)
            ))
        };
        results.push(decoded.map_err(garbage).and_then(|result| result));
    }
    let errors: Vec<(usize, Error)> =
        results.iter().enumerate().filter_map(|(rank, result)| Some((rank, result.as_ref().err()?.clone()))).collect();
    match errors.first() {
        None => Ok(results.into_iter().filter_map(Result::ok).collect()),
        Some((rank, error)) => Err(blamed(roster, *rank, error, &errors)),
    }
}

/// Names the rank that has an error, unless all have the same.
fn blamed(roster: &Roster, rank: usize, error: &Error, errors: &[(usize, Error)]) -> Error {
    let everywhere = errors.len() == roster.hosts.len() && errors.iter().all(|(_, other)| other == error);
    if everywhere {
        return error.clone();
    }
    let others = errors.len() - 1;
    let more = match others {
        0 => String::new(),
        1 => " (and one other rank)".to_owned(),
        n => format!(" (and {n} other ranks)"),
    };
    let text = format!("{}{more}: {error}", roster.name(rank));
    match error {
        Error::Usage(_) => Error::Usage(text),
        Error::Refused(_) => Error::Refused(text),
        Error::Fatal(_) => Error::Fatal(text),
    }
}

/// Gives every rank what rank 0 has, or its error.
pub fn from_root<T: Encode + Decode<()>>(
    comm: &mut dyn Comm,
    roster: &Roster,
    mine: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let part = if comm.rank() == Rank::ROOT { mine().map(Some) } else { Ok(None) };
    let parts = comm.gather(wire::encode(&part));
    let root = parts.first().map(Vec::as_slice).unwrap_or_default();
    let decoded: Result<Option<T>, Error> = wire::decode("word of rank 0", root).map_err(|garbage| {
        Error::Usage(format!("{} runs another pmirror: {garbage}; install the same one on all nodes", roster.name(0)))
    })?;
    decoded?.ok_or_else(|| Error::Fatal("rank 0 said nothing".to_owned()))
}

/// Refuses ranks whose view of something is not that of rank 0, and names the first.
pub fn same_everywhere<T: PartialEq>(roster: &Roster, parts: &[T], what: &str, remedy: &str) -> Result<(), Error> {
    let differs = |part: &&(usize, &T)| parts.first() != Some(part.1);
    let different: Vec<(usize, &T)> =
        parts.iter().enumerate().collect::<Vec<_>>().iter().filter(differs).copied().collect();
    let Some((rank, _)) = different.first() else {
        return Ok(());
    };
    let more = if different.len() > 1 { format!(" (and {} other ranks)", different.len() - 1) } else { String::new() };
    Err(Error::Refused(format!("{}{more} {what} as {}: {remedy}", roster.name(*rank), roster.name(0))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comm::local;

    fn on_ranks<T: Send + 'static>(ranks: u32, each: impl Fn(&mut dyn Comm) -> T + Copy + Send + 'static) -> Vec<T> {
        let threads: Vec<_> =
            local::ends(ranks).into_iter().map(|mut end| std::thread::spawn(move || each(&mut end))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    }

    #[test]
    fn one_ranks_error_is_everybodys_and_names_it() {
        let verdicts = on_ranks(3, |comm| {
            let roster = Roster::call(comm);
            let mine = if comm.rank() == Rank(1) { Err(Error::Refused("no mount".into())) } else { Ok(7u32) };
            agree(comm, &roster, mine)
        });
        for verdict in verdicts {
            let error = verdict.unwrap_err().to_string();
            assert!(error.starts_with("rank 1 on ") && error.ends_with(": no mount"), "{error}");
        }
    }

    #[test]
    fn an_error_of_all_ranks_names_none() {
        let verdicts = on_ranks(2, |comm| {
            let roster = Roster::call(comm);
            agree::<u32>(comm, &roster, Err(Error::Refused("no such directory".into())))
        });
        assert!(verdicts.iter().all(|verdict| *verdict == Err(Error::Refused("no such directory".into()))));
    }

    #[test]
    fn all_ranks_hear_rank_0() {
        let heard = on_ranks(3, |comm| {
            let roster = Roster::call(comm);
            let word = u64::from(comm.rank().0) + 40;
            from_root(comm, &roster, || Ok(word))
        });
        assert_eq!(heard, [Ok(40), Ok(40), Ok(40)]);
    }
}
