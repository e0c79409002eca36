//! Packs the rule files in `rules/` into one compressed text, and the table of ECS and the schema of packs
//! into others, so that they are part of the program.

use flate2::Compression;
use flate2::write::DeflateEncoder;
use std::fmt::Write as _;
use std::io::Write as _;
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
    let mut list = String::from(
        "/// The packs inside the program: (name, length of the text).\n\
         const FILES: &[(&str, usize)] = &[\n",
    );
    let mut packed = DeflateEncoder::new(Vec::new(), Compression::best());
    for path in &files {
        println!("cargo::rerun-if-changed={}", path.display());
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let text = std::fs::read_to_string(path).expect("a rule file is text in UTF-8");
        packed.write_all(text.as_bytes()).expect("memory takes it");
        let _ = writeln!(list, "    ({:?}, {}),", format!("shipped:{name}"), text.len());
    }
    list.push_str("];\n");
    let deflated = |source: &str| {
        let path = Path::new(&root).join(source);
        println!("cargo::rerun-if-changed={}", path.display());
        let mut deflated = DeflateEncoder::new(Vec::new(), Compression::best());
        let text = std::fs::read(&path).expect("it is part of the source");
        deflated.write_all(&text).expect("memory takes it");
        deflated.finish().expect("memory takes it")
    };
    let out = std::env::var("OUT_DIR").expect("cargo sets it");
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(Path::new(&out).join(name), bytes).expect("the output directory is ours");
    };
    write("shipped.rs", list.as_bytes());
    write("fields.deflate", &deflated("src/ecs/fields.tsv"));
    write("schema.deflate", &deflated("src/schema.json"));
    write("shipped.deflate", &packed.finish().expect("memory takes it"));
}
