//! A clock that jumps for one program: `clock.c` in front of the C library. Only the wall clock does;
//! what tells how much time has passed goes on.

use crate::process::target_directory;
use std::path::{Path, PathBuf};
use std::process::Command;

/// See the module's description.
#[derive(Debug)]
pub struct Clock {
    library: PathBuf,
    /// Holds by how many seconds the clock is wrong; read at every look at the clock.
    file: PathBuf,
}

impl Clock {
    /// A clock that is right, kept in `directory`.
    ///
    /// # Panics
    /// `clock.c` does not build, or the directory cannot be written.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        let library =
            target_directory().join("tmp").join(format!("clock-{}.so", std::process::id()));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/clock.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl");
        let output = compiler.output().expect("a C compiler is there, as for the build");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let clock = Self { library, file: directory.join("clock") };
        clock.set(0);
        clock
    }

    /// From now on the clock is wrong by so many seconds.
    ///
    /// # Panics
    /// The file cannot be written.
    pub fn set(&self, seconds: i64) {
        let draft = self.file.with_extension("draft");
        std::fs::write(&draft, seconds.to_string()).expect("the test's directory can be written");
        std::fs::rename(&draft, &self.file).expect("the test's directory can be written");
    }

    /// What starts a program with this clock, see [`crate::Process::start_within`].
    #[must_use]
    pub fn wrapper(&self) -> Vec<String> {
        let set = |name: &str, path: &Path| format!("{name}={}", path.display());
        vec!["env".to_owned(), set("LD_PRELOAD", &self.library), set("LOGWEIR_CLOCK", &self.file)]
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.library);
    }
}
