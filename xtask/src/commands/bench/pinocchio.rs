//! The program that times Pinocchio: how it is built and which robots it is given.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::peer_process::{PeerError, run};
use super::robots::Robot;
use crate::progress::tell;

/// Packages without which it cannot be built.
pub(super) const NEEDS: [&str; 3] = ["pin", "cmeel-eigen", "cmeel-urdfdom-headers"];

/// Source and program.
const SOURCE: &str = "pinocchio_times.cpp";
const PROGRAM: &str = "pinocchio_times";

/// Rows that it measures too, by robot and ends of names.
const ROBOTS: [Robot; 3] = [Robot::Arm, Robot::Quadruped, Robot::Humanoid];
const ALGORITHMS: [&str; 5] = ["rnea", "crba", "aba", "rnea-derivatives", "aba-derivatives"];

/// Flags of the compiler before folders and files. The limits are those with which the library is
/// made; for the alignment see the source.
const FLAGS: [&str; 15] = [
    "-O3",
    "-march=native",
    "-DNDEBUG",
    "-std=c++17",
    "-w",
    "-DEIGEN_MAX_ALIGN_BYTES=16",
    "-DEIGEN_MALLOC_ALREADY_ALIGNED=1",
    "-DBOOST_MPL_LIMIT_LIST_SIZE=30",
    "-DBOOST_MPL_LIMIT_VECTOR_SIZE=30",
    "-DBOOST_MPL_CFG_NO_PREPROCESSED_HEADERS",
    "-DBOOST_FUSION_INVOKE_MAX_ARITY=12",
    "-DPINOCCHIO_WITH_URDFDOM",
    "-DPINOCCHIO_URDFDOM_HEADERS_MAJOR_VERSION=3",
    "-DPINOCCHIO_URDFDOM_HEADERS_MINOR_VERSION=0",
    "-DPINOCCHIO_URDFDOM_HEADERS_PATCH_VERSION=0",
];

/// The folder of an environment into which its C++ packages are installed.
pub(super) fn prefix(venv: &Path) -> Option<PathBuf> {
    let pythons = fs::read_dir(venv.join("lib")).ok()?.flatten();
    let mut prefixes = pythons.map(|python| python.path().join("site-packages/cmeel.prefix"));
    prefixes.find(|prefix| prefix.is_dir())
}

/// Cases and robots for the rows that it measures too; nothing where there are none. The arm's file
/// lies beside the scripts, the others in the folder `robots`.
pub(super) fn arguments(
    rows: &[&str],
    scripts: &Path,
    robots: Option<&Path>,
) -> Option<Vec<String>> {
    let (mut only, mut files) = (Vec::new(), Vec::new());
    for robot in ROBOTS {
        let (base, file) = match (robot, robots) {
            (Robot::Arm, _) => ("fixed", Some(scripts.join("iiwa14.urdf"))),
            (_, Some(folder)) => ("floating", robot.path(folder)),
            (_, None) => continue,
        };
        let cases = ALGORITHMS.map(|algorithm| format!("{}-{algorithm}", robot.name()));
        let cases = cases.into_iter().filter(|case| rows.contains(&case.as_str()));
        let before = only.len();
        only.extend(cases.flat_map(|case| ["--only".to_owned(), case]));
        if let Some(file) = file.filter(|_| only.len() > before) {
            files.extend([robot.name(), base.to_owned(), file.display().to_string()]);
        }
    }
    (!only.is_empty()).then(|| [only, files].concat())
}

/// The program, compiled if it is not there or older than its source.
///
/// # Errors
/// A compiler that is not there or fails.
pub(super) fn build(venv: &Path, scripts: &Path) -> Result<PathBuf, PeerError> {
    let (source, program) = (scripts.join(SOURCE), venv.join("bin").join(PROGRAM));
    let changed = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    if changed(&program).is_some_and(|built| changed(&source).is_some_and(|source| source < built))
    {
        return Ok(program);
    }
    tell("peers: compiling pinocchio_times.cpp, which takes minutes");
    let prefix = prefix(venv).unwrap_or_default();
    let (include, lib) = (prefix.join("include"), prefix.join("lib"));
    let mut command = Command::new("g++");
    command.args(FLAGS).arg("-I").arg(&include);
    for inner in ["eigen3", "urdfdom", "urdfdom_headers"] {
        command.arg("-I").arg(include.join(inner));
    }
    command.arg(&source).arg("-o").arg(&program).arg("-L").arg(&lib);
    command.arg(format!("-Wl,-rpath,{}", lib.display()));
    command.args(["-lpinocchio_default", "-lpinocchio_parsers"]);
    run("g++ pinocchio_times.cpp", &mut command)?;
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_robots_with_rows_and_files_are_passed_on() {
        let rows = ["arm-aba", "arm-aba-differences", "humanoid-crba", "chain-2-aba"];
        let scripts = Path::new("scripts");
        let found = arguments(&rows, scripts, None).unwrap();
        assert_eq!(found, ["--only", "arm-aba", "arm", "fixed", "scripts/iiwa14.urdf"]);
        let found = arguments(&rows, scripts, Some(Path::new("robots"))).unwrap().join(" ");
        assert!(found.starts_with("--only arm-aba --only humanoid-crba arm fixed"), "{found}");
        assert!(found.ends_with("humanoid floating robots/talos_data/robots/talos_reduced.urdf"));
        assert_eq!(arguments(&["chain-2-aba"], scripts, None), None);
    }
}
