//! A bound on the memory of a program, set by the kernel: a control group.

use crate::skip;
use std::fs;
use std::path::{Path, PathBuf};

/// A control group with a limit; removed when this is dropped, after the programs in it have ended.
#[derive(Debug)]
pub struct MemoryCap {
    group: PathBuf,
    peak: &'static str,
}

impl MemoryCap {
    /// A program in it is killed when it uses more than `bytes`, apart from caches. `None`, with a loud
    /// line, where this user may not set such a limit.
    #[must_use]
    pub fn of(bytes: u64) -> Option<Self> {
        let name = format!("logweir-tests-{}", std::process::id());
        // Of the first version of control groups, and of the second.
        let kinds = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes"),
            ("/sys/fs/cgroup", "memory.max", "memory.peak"),
        ];
        for (parent, limit, peak) in kinds {
            let group = Path::new(parent).join(&name);
            if fs::create_dir(&group).is_err() {
                continue;
            }
            let cap = Self { group, peak };
            if fs::write(cap.group.join(limit), bytes.to_string()).is_ok() {
                return Some(cap);
            }
        }
        skip("no limit of memory can be set here (needs root and a control group)");
        None
    }

    /// What starts a program under the cap, see [`crate::Process::start_within`].
    #[must_use]
    pub fn wrapper(&self) -> Vec<String> {
        let script = "echo $$ > \"$0/cgroup.procs\" && exec \"$@\"";
        let group = self.group.display().to_string();
        ["sh", "-c", script, &group].map(str::to_owned).to_vec()
    }

    /// The most that was used at a time, caches included.
    ///
    /// # Panics
    /// The kernel does not say.
    #[must_use]
    pub fn peak(&self) -> u64 {
        let told = fs::read_to_string(self.group.join(self.peak)).expect("the kernel says");
        told.trim().parse().expect("a number")
    }
}

impl Drop for MemoryCap {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.group);
    }
}
