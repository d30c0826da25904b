//! What the system lets this process have of the memory.
// Files of the kernel, which no user can put anything in the way of.
#![allow(clippy::disallowed_methods)]

use std::path::Path;

/// The memory of this node; `None` if the kernel does not tell.
pub fn of_node() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1 << 10)
}

/// The limit of our control group, or the smallest of those above it, in the old hierarchy or the new one (cgroups(7)).
pub fn of_control_group() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    limit(&groups, |file| std::fs::read_to_string(Path::new("/sys/fs/cgroup").join(file)).ok())
}

/// The smallest limit of the groups in a text as `/proc/self/cgroup` has it. `read` reads a file of the hierarchy.
fn limit(groups: &str, read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let mut limits = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(number), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let (hierarchy, file) = match controllers {
            "" if number == "0" => ("", "memory.max"),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                ("memory/", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        // In a container the path may be that of the host: then only the groups near the root are there.
        for group in Path::new(path.trim_start_matches('/')).ancestors() {
            let group = group.to_str().filter(|group| !group.is_empty()).map(|group| format!("{group}/"));
            let text = read(&format!("{hierarchy}{}{file}", group.unwrap_or_default()));
            limits.extend(text.and_then(|text| text.trim().parse::<u64>().ok()));
        }
    }
    // "max" of the new hierarchy is no number; "none" of the old one is the largest multiple of a page.
    let none = 1 << 60;
    limits.into_iter().filter(|&limit| limit > 0 && limit < none).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(groups: &str, files: &[(&str, &str)]) -> Option<u64> {
        limit(groups, |file| files.iter().find(|(name, _)| *name == file).map(|(_, text)| (*text).to_owned()))
    }

    #[test]
    fn the_smallest_limit_on_the_way_to_the_root_counts() {
        let groups = "0::/system.slice/slurmstepd.scope/job_7/step_0/user/task_0\n";
        let job = ("system.slice/slurmstepd.scope/job_7/memory.max", "4294967296\n");
        let step = ("system.slice/slurmstepd.scope/job_7/step_0/memory.max", "max\n");
        let slice = ("system.slice/memory.max", "8589934592\n");
        assert_eq!(found(groups, &[slice, step, job]), Some(4 << 30));
    }

    #[test]
    fn the_old_hierarchy_has_its_own_file_and_a_large_number_for_none() {
        let groups = "9:cpu,cpuacct:/\n4:memory:/slurm/job_7\n0::/\n";
        let none = ("memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(found(groups, &[none]), None);
        assert_eq!(found(groups, &[none, ("memory/slurm/job_7/memory.limit_in_bytes", "1073741824\n")]), Some(1 << 30));
    }

    #[test]
    fn what_says_nothing_limits_nothing() {
        assert_eq!(found("", &[]), None);
        assert_eq!(found("0::/\nnonsense\n4:memory\n", &[("memory.max", "garbage")]), None);
    }

    #[test]
    fn this_node_has_some_memory() {
        assert!(of_node().is_some_and(|bytes| bytes > 64 << 20));
    }
}
