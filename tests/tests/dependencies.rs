//! What the agent may not carry: it runs on every host and must build in minutes.

use std::process::Command;

/// Crates of the store and of the console.
const UNWANTED: [&str; 10] = [
    "arrow",
    "parquet",
    "delta_kernel",
    "deltalake",
    "datafusion",
    "object_store",
    "axum",
    "askama",
    "ureq",
    "logweir-store",
];

fn dependencies_of(package: &str) -> Vec<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--package", package, "--edges", "normal,build", "--prefix", "none"])
        .args(["--format", "{p}", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    listed.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

fn unwanted_of(package: &str) -> Vec<String> {
    let unwanted = |name: &String| {
        UNWANTED.iter().any(|crate_| {
            name.strip_prefix(crate_)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
        })
    };
    dependencies_of(package).into_iter().filter(unwanted).collect()
}

#[test]
fn the_agent_carries_no_crate_of_the_store_or_the_console() {
    assert_eq!(unwanted_of("logweir-agent"), Vec::<String>::new());
}

#[test]
fn the_same_look_finds_them_in_the_central_program() {
    let found = unwanted_of("logweir");
    for crate_ in ["arrow", "parquet"] {
        assert!(found.iter().any(|name| name.starts_with(crate_)), "{crate_} is not in {found:?}");
    }
}
