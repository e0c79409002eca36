//! Workers that stay on a core: what a worker has in the caches of its core is still there when it goes
//! on, and two workers never share one while another idles.
//!
//! Only the worker's own thread is bound. The threads of the Kafka client, which are there already, and
//! those of maintenance and status go where the system puts them.

use anyhow::{Context as _, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores that this process may use, by the system's numbers.
///
/// # Errors
/// The system does not tell.
pub(super) fn cores() -> Result<Vec<usize>> {
    let allowed = sched_getaffinity(None).context("cannot ask which cores may be used")?;
    Ok((0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect())
}

/// Binds the calling thread to `core`.
///
/// # Errors
/// The core has gone, or may not be used any more.
pub(super) fn stay_on(core: usize) -> Result<()> {
    let mut only = CpuSet::new();
    only.set(core);
    sched_setaffinity(None, &only).with_context(|| format!("cannot stay on core {core}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_bound_stays_where_it_is_and_others_do_not() {
        let before = cores().unwrap();
        let last = *before.last().unwrap();
        let bound = std::thread::spawn(move || stay_on(last).map(|()| cores()).unwrap().unwrap());
        assert_eq!(bound.join().unwrap(), [last]);
        assert_eq!(cores().unwrap(), before);
    }
}
