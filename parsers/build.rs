//! Lists the packs in `rules/`, so that they are part of the program.

use std::fmt::Write as _;
use std::path::Path;

fn main() {
    let root = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let rules = Path::new(&root).join("rules");
    println!("cargo::rerun-if-changed={}", rules.display());
    let mut files: Vec<_> = std::fs::read_dir(&rules)
        .expect("the rules directory is part of the source")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    let mut source = String::from(
        "/// The packs inside the program: (name, text).\nconst SHIPPED: &[(&str, &str)] = &[\n",
    );
    for path in &files {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let _ = writeln!(source, "    ({:?}, include_str!({path:?})),", format!("shipped:{name}"));
        println!("cargo::rerun-if-changed={}", path.display());
    }
    source.push_str("];\n");
    let out = std::env::var("OUT_DIR").expect("cargo sets it");
    std::fs::write(Path::new(&out).join("shipped.rs"), source)
        .expect("the output directory is ours");
}
