//! The end of a job in which a rank is silent for too long: at once, and on all ranks.

use crate::comm::Comm;
use crate::report;
use crate::sched::Rank;
use crate::sched::vigil::Lost;

/// As for a root that failed: the ranks can not go on.
const EXIT_CODE: u8 = 11;

/// Says who is lost, and ends the job as a crash would: a job that hangs is worse. What is on the disk is what
/// any crash may leave, so the next run goes on from it.
pub fn end_job(comm: &mut dyn Comm, hosts: &[String], lost: Lost) -> ! {
    let name = |rank: Rank| format!("rank {} on {}", rank.0, hosts.get(rank.0 as usize).map_or("?", String::as_str));
    let (who, whom) = (name(lost.rank), name(comm.rank()));
    report::say_last(&format!(
        "{who} has not answered {whom} for {} s (--rank-timeout): the job ends. Look after that node; the same \
         command goes on from here",
        lost.silence.as_secs()
    ));
    comm.abort(EXIT_CODE)
}
