//! File systems of a test's own, which go with it, and a disk whose power can be cut.

use crate::skip;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const OWN_MOUNTS: &str = "LOGWEIR_TEST_HAS_OWN_MOUNTS";

/// Whether this is a process with mounts of its own that runs only the test `name`. Where it is not,
/// starts one and waits for it, and the test is done.
///
/// # Panics
/// The test fails there.
#[must_use]
pub fn has_own_mounts(name: &str) -> bool {
    if std::env::var_os(OWN_MOUNTS).is_some() {
        return true;
    }
    if !Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|s| s.success()) {
        skip("no mounts of one's own here (needs root)");
        return false;
    }
    let test = std::env::current_exe().expect("a running program has a path");
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--mount"]).arg(test);
    command.args(["--exact", name, "--nocapture"]).env(OWN_MOUNTS, "1");
    // What it says of a skipped test goes on; how many tests it ran is not to be counted twice.
    let output = command.stderr(Stdio::inherit()).output().expect("unshare was there just now");
    let said = String::from_utf8_lossy(&output.stdout);
    said.lines().for_each(|line| println!("| {line}"));
    assert!(said.contains("1 passed") && output.status.success(), "{name} failed, see above");
    false
}

/// Mounts a file system in memory, which ends with the process.
///
/// # Panics
/// It cannot be mounted.
pub fn mount_in_memory(options: &str, place: &Path) {
    std::fs::create_dir_all(place).expect("the test's directory can be written");
    let mut mount = Command::new("mount");
    succeed(mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(place)).expect("it is allowed");
}

/// What of the journal is written when the power is cut; of other things nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Journal {
    Lost,
    /// So there may be names and lengths of files whose content is not there.
    Written,
}

/// A disk in a file, with a file system that is mounted.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    place: PathBuf,
}

impl Disk {
    /// A disk with the file system `kind`, in `directory`, mounted at `place`. `None`, with a loud
    /// line, where that cannot be.
    ///
    /// # Panics
    /// The directory cannot be written.
    #[must_use]
    pub fn mounted(kind: &str, directory: &Path, place: &Path) -> Option<Self> {
        let disk = Self { image: directory.join("disk.img"), place: place.to_owned() };
        let file = std::fs::File::create(&disk.image).expect("the test's directory can be written");
        // The least that xfs takes is 300 MB; what is not written takes no room.
        file.set_len(400 << 20).expect("the test's directory can be written");
        std::fs::create_dir_all(place).expect("the test's directory can be written");
        let made = succeed(Command::new(format!("mkfs.{kind}")).arg("-q").arg(&disk.image));
        if let Err(reason) = made.and_then(|_| disk.try_mount()) {
            skip(&format!("no {kind} on a loop device here: {reason}"));
            return None;
        }
        Some(disk)
    }

    fn try_mount(&self) -> Result<Output, String> {
        succeed(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.place))
    }

    /// From now on nothing reaches the disk, and every call for it fails.
    ///
    /// # Panics
    /// The file system cannot do it.
    pub fn cut_power(&self, journal: Journal) {
        // EXT4_IOC_SHUTDOWN, which is XFS_IOC_GOINGDOWN: ext4.h and xfs_fs.h.
        let script = "import fcntl, os, struct, sys\n\
            how = struct.pack('I', int(sys.argv[2]))\n\
            fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, how)";
        let how = if journal == Journal::Lost { "2" } else { "1" };
        let mut python = Command::new("python3");
        succeed(python.args(["-c", script]).arg(&self.place).arg(how)).expect("ext4 and xfs can");
    }

    /// Mounts it again, as after the power has come back. Nothing may have a file of it open.
    ///
    /// # Panics
    /// It cannot be mounted.
    pub fn power_back(&self) {
        succeed(Command::new("umount").arg(&self.place)).expect("nobody uses it");
        self.try_mount().expect("it was mounted before");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whatever has a file of it open: else the test's directory could not go.
        let _ = Command::new("umount").arg("--lazy").arg(&self.place).output();
    }
}

fn succeed(command: &mut Command) -> Result<Output, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(output),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}
