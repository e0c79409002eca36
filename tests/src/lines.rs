//! Numbered lines, written as loggers write: many at a time, with cuts anywhere.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Line `number` of the writer `name`: a syslog line that the oracle can read the number from.
#[must_use]
pub fn line(name: &str, number: usize) -> String {
    let pid = 1000 + number % 7;
    let filling = "x".repeat(number % 61);
    format!("Nov 28 03:00:00 web1 numbered[{pid}]: line {number:08} of {name} {filling}\n")
}

/// Appends bytes to a file, which is made if it is not there.
///
/// # Panics
/// The file cannot be written.
pub fn append(path: &Path, bytes: &[u8]) {
    let mut file = File::options().create(true).append(true).open(path).expect("can be written");
    file.write_all(bytes).expect("can be written");
}

/// A writer of numbered lines into a file that it keeps open, as a daemon does.
#[derive(Debug)]
pub struct Lines {
    name: String,
    path: PathBuf,
    file: File,
    next: usize,
}

impl Lines {
    /// Begins at line 0 of the file at `path`; `name` is part of each line.
    ///
    /// # Panics
    /// The file cannot be made.
    #[must_use]
    pub fn new(name: &str, path: &Path) -> Self {
        Self { name: name.to_owned(), path: path.to_owned(), file: open(path), next: 0 }
    }

    /// Who has written how many lines, for the oracle.
    #[must_use]
    pub fn tally(&self) -> (&str, usize) {
        (&self.name, self.next)
    }

    /// How many lines have been written.
    #[must_use]
    pub fn written(&self) -> usize {
        self.next
    }

    /// Writes `count` more lines, in two writes that cut a line in the middle.
    ///
    /// # Panics
    /// The file cannot be written.
    pub fn write(&mut self, count: usize) {
        let text: String = (self.next..self.next + count).map(|n| line(&self.name, n)).collect();
        let cut = text.len() - text.len().min(20);
        self.file.write_all(&text.as_bytes()[..cut]).expect("can be written");
        self.file.write_all(&text.as_bytes()[cut..]).expect("can be written");
        self.next += count;
    }

    /// Renames the file to `path.suffix` and goes on in a new one, as logrotate's `create` does;
    /// `before_reopening` is how many lines still go into the renamed file.
    ///
    /// # Panics
    /// The file cannot be renamed.
    pub fn rotate_by_rename(&mut self, suffix: &str, before_reopening: usize) {
        std::fs::rename(&self.path, self.rotated(suffix)).expect("can be renamed");
        self.write(before_reopening);
        self.file = open(&self.path);
    }

    /// Copies the file to `path.suffix` and empties it, as logrotate's `copytruncate` does.
    ///
    /// # Panics
    /// The file cannot be copied or emptied.
    pub fn rotate_by_copytruncate(&mut self, suffix: &str) {
        std::fs::copy(&self.path, self.rotated(suffix)).expect("can be copied");
        self.file.set_len(0).expect("can be emptied");
    }

    fn rotated(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".");
        name.push(suffix);
        PathBuf::from(name)
    }
}

fn open(path: &Path) -> File {
    File::options().create(true).append(true).open(path).expect("can be written")
}

/// Random numbers that can be had again: splitmix64 (Steele, Lea and Flood, OOPSLA 2014).
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// From `LOGWEIR_SEED`, else from the clock. The seed is printed, so that a failing test shows
    /// it.
    ///
    /// # Panics
    /// `LOGWEIR_SEED` is not a number.
    #[must_use]
    pub fn seeded() -> Self {
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
        let seed = match std::env::var("LOGWEIR_SEED") {
            Ok(text) => text.parse().expect("LOGWEIR_SEED is a number"),
            Err(_) => clock() as u64,
        };
        println!("random points from LOGWEIR_SEED={seed}");
        Self(seed)
    }

    /// From a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed, as long as nothing was drawn.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.0
    }

    /// A number below `limit`, which is at least 1.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }

    /// `count` points between a tenth and nine tenths of `whole`, the highest first.
    pub fn points(&mut self, count: usize, whole: usize) -> Vec<usize> {
        let mut points: Vec<usize> =
            (0..count).map(|_| whole / 10 + self.below(whole * 8 / 10)).collect();
        points.sort_unstable_by_key(|point| std::cmp::Reverse(*point));
        points
    }
}

/// How often a randomised test repeats: `LOGWEIR_RUNS`, else `default`, which is few enough for
/// every run of all tests.
///
/// # Panics
/// `LOGWEIR_RUNS` is not a number.
#[must_use]
pub fn runs(default: usize) -> usize {
    match std::env::var("LOGWEIR_RUNS") {
        Ok(text) => text.parse().expect("LOGWEIR_RUNS is a number"),
        Err(_) => default,
    }
}
