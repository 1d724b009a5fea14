//! What the numbers were made with.

use std::fs;
use std::process::Command;

use crate::report::RunInfo;

/// Machine, versions and instruction path, as far as they can be found out.
pub(crate) fn describe() -> RunInfo {
    let line = |file: &str, key: &str| -> String {
        let text = fs::read_to_string(file).unwrap_or_default();
        let found = text.lines().find_map(|line| {
            let (name, value) = line.split_once([':', '='])?;
            (name.trim() == key).then(|| value.trim().trim_matches('"').to_owned())
        });
        found.unwrap_or_default()
    };
    RunInfo {
        cpu: line("/proc/cpuinfo", "model name"),
        cores: n_cores().to_string(),
        memory: memory(&line("/proc/meminfo", "MemTotal")),
        os: format!("{} {}", line("/etc/os-release", "PRETTY_NAME"), std::env::consts::ARCH),
        rustc: output("rustc", &["--version"]),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: commit(),
        instruction_path: critics::instruction_path().to_owned(),
        ..RunInfo::default()
    }
}

/// Cores that this process may use; 1 where the system does not say.
pub(crate) fn n_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// `24575 kB` as `23.4 GiB`.
fn memory(text: &str) -> String {
    let kib: Option<f64> = text.split_whitespace().next().and_then(|number| number.parse().ok());
    kib.map_or_else(String::new, |kib| format!("{:.1} GiB", kib / 1024.0 / 1024.0))
}

fn commit() -> String {
    let hash = output("git", &["rev-parse", "--short=12", "HEAD"]);
    let changed = !output("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty();
    if changed && !hash.is_empty() { format!("{hash} with local changes") } else { hash }
}

/// Standard output of a program, or nothing if it is not there.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
