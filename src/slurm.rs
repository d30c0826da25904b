//! What the environment tells of the launcher and of the Slurm job.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

/// The environment, as far as it is looked at.
pub type Environment = BTreeMap<String, String>;

/// How the program was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Launch {
    /// By hand or in a batch script without `srun`: one rank, no MPI. The text is a warning.
    Alone(Option<String>),
    /// By a launcher that our MPI library knows: so many ranks, if it tells.
    Mpi {
        /// Processes that the launcher started.
        tasks: Option<u32>,
    },
    /// In a way that would start every task as a run of its own.
    Refused {
        /// What to do.
        message: String,
        /// Only one of the tasks says it.
        speaks: bool,
    },
}

/// The MPI libraries that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// Open MPI.
    OpenMpi,
    /// MPICH and what descends from it (Intel MPI, Cray MPICH, MVAPICH).
    Mpich,
    /// Any other.
    Other,
    /// The program was built without MPI.
    None,
}

impl Library {
    /// By what the library calls itself.
    pub fn of(name: &str) -> Self {
        let name = name.to_lowercase();
        if name.contains("open mpi") {
            Library::OpenMpi
        } else if ["mpich", "intel", "mvapich"].iter().any(|word| name.contains(word)) {
            Library::Mpich
        } else if name.is_empty() {
            Library::None
        } else {
            Library::Other
        }
    }
}

fn number(environment: &Environment, name: &str) -> Option<u32> {
    environment.get(name)?.parse().ok()
}

/// Whether this process says what all of them would: of many with one command line the first. Where mpirun starts
/// programs with several (`mpirun A : B`), each speaks for itself.
pub fn speaks(environment: &Environment) -> bool {
    let ranks = ["SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"];
    let rank = ranks.into_iter().find_map(|name| number(environment, name)).unwrap_or(0);
    rank == 0 || number(environment, "OMPI_NUM_APP_CTX").is_some_and(|programs| programs > 1)
}

/// Finds out how the program was started, before the MPI library is: Open MPI prints thirty lines a
/// rank when it finds no launcher it knows.
pub fn launch(environment: &Environment, library: Library) -> Launch {
    let has = |name: &str| environment.contains_key(name);
    let open_mpi_starts = has("OMPI_COMM_WORLD_SIZE") || has("PMIX_RANK");
    let mpich_starts = has("PMI_RANK") || has("PMI_FD") || has("PMIX_RANK");
    let step_tasks = number(environment, "SLURM_STEP_NUM_TASKS").filter(|_| has("SLURM_PROCID"));
    let tasks = number(environment, "OMPI_COMM_WORLD_SIZE").or(number(environment, "PMI_SIZE")).or(step_tasks);
    let several = tasks.is_some_and(|tasks| tasks > 1);
    let known = match library {
        Library::OpenMpi => open_mpi_starts,
        Library::Mpich => mpich_starts,
        Library::Other => open_mpi_starts || mpich_starts,
        Library::None => false,
    };
    if known {
        return Launch::Mpi { tasks };
    }
    if several {
        return Launch::Refused { message: refusal(library, tasks, step_tasks.is_some()), speaks: speaks(environment) };
    }
    Launch::Alone(forgotten_srun(environment))
}

fn refusal(library: Library, tasks: Option<u32>, by_slurm: bool) -> String {
    let tasks = tasks.unwrap_or(0);
    let why = format!("{tasks} tasks were started, but they can not find each other: each would mirror the whole tree");
    let remedy = match (library, by_slurm) {
        (Library::None, _) => "this pmirror was built without MPI; build it with the feature \"mpi\"",
        (Library::Mpich, true) => "start it with srun --mpi=pmi2 (or --mpi=pmix, if your MPICH was built with PMIx)",
        (_, true) => "start it with srun --mpi=pmix",
        (Library::Mpich, false) => "start it with the mpiexec of MPICH, with which it was built",
        (_, false) => "start it with the mpirun of Open MPI, with which it was built",
    };
    format!("{why}. {remedy}")
}

/// A batch script with several tasks that forgot `srun`.
fn forgotten_srun(environment: &Environment) -> Option<String> {
    let in_step = environment.contains_key("SLURM_PROCID") && environment.contains_key("SLURM_STEP_NUM_TASKS");
    let tasks = number(environment, "SLURM_NTASKS").filter(|&tasks| tasks > 1)?;
    let in_batch_script = environment.contains_key("SLURM_JOB_ID");
    (in_batch_script && (!in_step || number(environment, "SLURM_STEP_NUM_TASKS") == Some(1))).then(|| {
        format!("this job has {tasks} tasks, but only this process runs: start pmirror with srun to use them all")
    })
}

/// After MPI has started: a world of one where the launcher started several means that the library
/// does not belong to the launcher.
pub fn refuse_lonely_world(world: u32, tasks: Option<u32>, library: &str) -> Option<String> {
    let tasks = tasks.filter(|&tasks| tasks > 1 && world == 1)?;
    Some(format!(
        "{tasks} tasks were started, but MPI ({library}) sees only one: each would mirror the whole tree. Use the \
         launcher of that MPI (srun --mpi=pmix, or its own mpirun)"
    ))
}

/// The Slurm job, for the summary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Job {
    /// SLURM_JOB_ID.
    pub job_id: String,
    /// SLURM_JOB_NAME.
    pub job_name: String,
    /// SLURM_JOB_NODELIST.
    pub nodes: String,
    /// SLURM_RESTART_COUNT.
    pub restarts: u32,
}

/// The Slurm job that we run in.
pub fn job(environment: &Environment) -> Option<Job> {
    let text = |name: &str| environment.get(name).cloned().unwrap_or_default();
    Some(Job {
        job_id: environment.get("SLURM_JOB_ID")?.clone(),
        job_name: text("SLURM_JOB_NAME"),
        nodes: text("SLURM_JOB_NODELIST"),
        restarts: number(environment, "SLURM_RESTART_COUNT").unwrap_or(0),
    })
}

/// What a job is granted of the memory of a node, and for the CPUs of one of its tasks, in bytes. Slurm tells
/// mebibytes, one of both, and 0 for all that there is.
pub fn memory(environment: &Environment) -> (Option<u64>, Option<u64>) {
    let granted = |name| number(environment, name).filter(|&mebibytes| mebibytes > 0).map(|it| u64::from(it) << 20);
    let cpus = number(environment, "SLURM_CPUS_PER_TASK").unwrap_or(1);
    let of_task = granted("SLURM_MEM_PER_CPU").map(|bytes| bytes.saturating_mul(u64::from(cpus)));
    (granted("SLURM_MEM_PER_NODE"), of_task)
}

/// When the allocation ends, as far as the environment tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEnd {
    /// There is none.
    None,
    /// SLURM_JOB_END_TIME, which Slurm sets since 23.02.
    At(Timestamp),
    /// Slurm knows when this job ends.
    Ask(String),
}

/// When the job ends that we run in.
pub fn job_end(environment: &Environment) -> JobEnd {
    let Some(job) = environment.get("SLURM_JOB_ID") else { return JobEnd::None };
    let told = environment.get("SLURM_JOB_END_TIME").and_then(|text| text.parse().ok());
    match told.and_then(|second| Timestamp::from_second(second).ok()) {
        Some(end) => JobEnd::At(end),
        None => JobEnd::Ask(job.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn is_refused(pairs: &[(&str, &str)], library: Library, remedy: &str) {
        match launch(&environment(pairs), library) {
            Launch::Refused { message, .. } => assert!(message.contains(remedy), "{message}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_a_launcher_there_is_one_rank() {
        assert_eq!(launch(&environment(&[]), Library::OpenMpi), Launch::Alone(None));
    }

    #[test]
    fn srun_with_pmix_starts_mpi() {
        let seen = environment(&[("PMIX_RANK", "3"), ("SLURM_PROCID", "3"), ("SLURM_STEP_NUM_TASKS", "8")]);
        assert_eq!(launch(&seen, Library::OpenMpi), Launch::Mpi { tasks: Some(8) });
    }

    #[test]
    fn srun_without_mpi_is_refused_and_the_fix_is_named() {
        is_refused(&[("SLURM_PROCID", "0"), ("SLURM_STEP_NUM_TASKS", "4")], Library::OpenMpi, "srun --mpi=pmix");
        is_refused(&[("SLURM_PROCID", "0"), ("SLURM_STEP_NUM_TASKS", "4")], Library::None, "built without MPI");
    }

    #[test]
    fn one_task_without_mpi_is_one_rank() {
        let seen = environment(&[("SLURM_PROCID", "0"), ("SLURM_STEP_NUM_TASKS", "1")]);
        assert_eq!(launch(&seen, Library::OpenMpi), Launch::Alone(None));
    }

    #[test]
    fn the_launcher_of_another_library_is_refused() {
        is_refused(&[("PMI_RANK", "0"), ("PMI_SIZE", "4")], Library::OpenMpi, "mpirun of Open MPI");
        is_refused(&[("OMPI_COMM_WORLD_SIZE", "4")], Library::Mpich, "mpiexec of MPICH");
    }

    #[test]
    fn a_batch_script_that_forgot_srun_is_told() {
        let seen = environment(&[("SLURM_JOB_ID", "7"), ("SLURM_NTASKS", "16")]);
        assert!(matches!(launch(&seen, Library::OpenMpi), Launch::Alone(Some(text)) if text.contains("srun")));
    }

    #[test]
    fn memory_is_granted_to_nodes_or_to_cpus() {
        let told = |pairs: &[(&str, &str)]| memory(&environment(pairs));
        assert_eq!(told(&[("SLURM_MEM_PER_NODE", "2048")]), (Some(2 << 30), None));
        assert_eq!(told(&[("SLURM_MEM_PER_CPU", "512"), ("SLURM_CPUS_PER_TASK", "4")]), (None, Some(2 << 30)));
        assert_eq!(told(&[("SLURM_MEM_PER_NODE", "0")]), (None, None));
        assert_eq!(told(&[]), (None, None));
    }

    #[test]
    fn the_end_of_the_job_is_told_by_newer_slurm_and_asked_for_of_older() {
        let end = |pairs: &[(&str, &str)]| job_end(&environment(pairs));
        assert_eq!(end(&[("SLURM_JOB_END_TIME", "1763746200")]), JobEnd::None);
        let told = [("SLURM_JOB_ID", "7"), ("SLURM_JOB_END_TIME", "1763746200")];
        assert_eq!(end(&told), JobEnd::At("2025-11-21T17:30:00Z".parse().unwrap()));
        for useless in ["", "Unknown", "99999999999999999"] {
            assert_eq!(end(&[("SLURM_JOB_ID", "7"), ("SLURM_JOB_END_TIME", useless)]), JobEnd::Ask("7".to_owned()));
        }
    }

    #[test]
    fn a_world_of_one_among_many_is_refused() {
        assert!(refuse_lonely_world(1, Some(4), "x").is_some());
        assert!(refuse_lonely_world(4, Some(4), "x").is_none());
        assert!(refuse_lonely_world(1, Some(1), "x").is_none());
        assert!(refuse_lonely_world(1, None, "x").is_none());
    }
}
