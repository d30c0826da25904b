//! What the nodes and their kernels can do.

use super::facts::{Node, Trials};
use super::{Finding, amount, count};

/// Files that a rank may want to have open: two for each file of the flush groups of 32 workers, and some more.
const FILES_MIN: u64 = 4_096;

/// The ranks by what they have, as `name` calls one: who lacks something, and how many more do.
fn who<T: PartialEq>(hosts: &[String], has: impl Fn(usize) -> Option<T>) -> Vec<(String, T)> {
    let mut sorts: Vec<(usize, u64, T)> = Vec::new();
    for rank in 0..hosts.len() {
        let Some(what) = has(rank) else { continue };
        match sorts.iter_mut().find(|(.., known)| *known == what) {
            Some((_, others, _)) => *others += 1,
            None => sorts.push((rank, 0, what)),
        }
    }
    let ranks = hosts.len() as u64;
    let name = |(rank, others, what): (usize, u64, T)| {
        let host = hosts.get(rank).map_or("?", String::as_str);
        let name = match others {
            _ if others + 1 == ranks => "all ranks".to_owned(),
            0 => format!("rank {rank} on {host}"),
            n => format!("rank {rank} on {host} and {n} more"),
        };
        (name, what)
    };
    sorts.into_iter().map(name).collect()
}

/// What the kernels lack that makes a run quicker or safer.
pub fn kernels(hosts: &[String], nodes: &[Node]) -> Finding {
    let check = "kernel";
    let of = |rank: usize| nodes.get(rank);
    let lacks = who(hosts, |rank| of(rank).map(|node| node.lacks.clone()).filter(|lacks| !lacks.is_empty()));
    if !lacks.is_empty() {
        let each = lacks.iter().map(|(name, lacks)| format!("{name}: {}", lacks.join(", ")));
        let what = each.collect::<Vec<_>>().join("; ");
        return Finding::warning(
            check,
            what,
            "a run does without, more slowly; a newer kernel or seccomp profile has it",
        );
    }
    let releases = who(hosts, |rank| of(rank).map(|node| node.kernel.clone()));
    let releases = releases.iter().map(|(_, release)| release.as_str()).collect::<Vec<_>>().join(", ");
    Finding::good(check, format!("Linux {releases}: all that pmirror uses is there"))
}

/// `--sandbox`: no run needs it.
pub fn sandbox(hosts: &[String], nodes: &[Node]) -> Finding {
    let lacks =
        who(hosts, |rank| nodes.get(rank).map(|node| node.sandbox_lacks.clone()).filter(|lacks| !lacks.is_empty()));
    if lacks.is_empty() {
        return Finding::good("sandbox", "--sandbox can have all it asks for");
    }
    let each = lacks.iter().map(|(name, lacks)| format!("{name}: {}", lacks.join(", ")));
    Finding::good("sandbox", format!("--sandbox would lack, on {}", each.collect::<Vec<_>>().join("; ")))
}

/// Limits of the processes.
pub fn limits(hosts: &[String], nodes: &[Node]) -> Vec<Finding> {
    let check = "limits";
    let few = who(hosts, |rank| nodes.get(rank).map(|node| node.files_max).filter(|&files| files < FILES_MIN));
    let small = who(hosts, |rank| nodes.get(rank).and_then(|node| node.file_bytes_max));
    let mut found: Vec<Finding> = Vec::new();
    for (name, files) in few {
        let what = format!("{name} may have {} files open", count(files));
        found.push(Finding::warning(check, what, format!("ulimit -n {FILES_MIN}, or fewer --threads")));
    }
    for (name, bytes) in small {
        let what = format!("{name} may write files of {} only", amount(bytes));
        found.push(Finding::no_go(check, what, "ulimit -f unlimited: the kernel ends a process that writes more"));
    }
    if found.is_empty() {
        let files = nodes.iter().map(|node| node.files_max).min().unwrap_or_default();
        found.push(Finding::good(check, format!("each rank may have {} files open, of any size", count(files))));
    }
    found
}

/// What the kernel or the file system copies for us. No run needs it.
pub fn engine(trials: &Trials) -> Option<Finding> {
    let how = match trials.engine? {
        "reflink" => "files of SRC can share their blocks with DST (reflink)",
        "copy_file_range" => "the kernel copies from SRC to DST (copy_file_range)",
        _ => "content is read and written: the file systems do not copy by themselves",
    };
    Some(Finding::good("copying", how))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::Verdict;

    fn hosts(n: usize) -> Vec<String> {
        (0..n).map(|n| format!("n{n}")).collect()
    }

    fn node() -> Node {
        Node { kernel: "6.1".into(), files_max: 1 << 20, ..Node::default() }
    }

    #[test]
    fn the_ranks_that_lack_something_are_named() {
        let poor = Node { lacks: vec!["openat2".into()], ..node() };
        let all = [poor.clone(), poor.clone(), poor.clone()];
        assert_eq!(kernels(&hosts(2), &[node(), node()]).verdict, Verdict::Good);
        assert!(kernels(&hosts(3), &all).what.starts_with("all ranks: openat2"));
        let some = kernels(&hosts(3), &[node(), poor.clone(), poor]);
        assert!(some.verdict == Verdict::Warning && some.what.starts_with("rank 1 on n1 and 1 more: "), "{some:?}");
    }

    #[test]
    fn a_limit_on_the_size_of_files_would_kill_a_run() {
        let (few, small) = (Node { files_max: 256, ..node() }, Node { file_bytes_max: Some(1 << 30), ..node() });
        let of =
            |nodes: &[Node]| limits(&hosts(nodes.len()), nodes).iter().map(|found| found.verdict).collect::<Vec<_>>();
        assert_eq!(of(&[node(), node()]), [Verdict::Good]);
        assert_eq!(of(&[node(), few.clone()]), [Verdict::Warning]);
        assert_eq!(of(&[few, small]), [Verdict::Warning, Verdict::NoGo]);
    }
}
