//! Other libraries on the same cases: runs the scripts of `bench/peers` and reads what they print.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::peer_process::{PeerError, read};
use super::pinocchio;
use super::stats::median;
use crate::progress::tell;

/// Peers of `updates.py`, and the packages that each needs.
const UPDATES_PEERS: [(&str, &[&str]); 2] =
    [("pytorch", &["torch", "numpy"]), ("jax", &["jax", "jaxlib", "torch", "numpy"])];
/// Case of the scripts, and our row.
const UPDATES: [(&str, &str); 4] = [
    ("sac_update", "sac-update"),
    ("vg_sac_update", "vg-sac-update"),
    ("sobolev_epoch", "sobolev-epoch"),
    ("policy_forward", "policy-eval"),
];
/// Case of `steps.py`, our row, whether it needs whole roll-outs, and the packages that it needs.
const STEPS: [(&str, &str, bool, &[&str]); 3] = [
    ("sb3_sac", "sac-step", false, &["stable-baselines3", "torch", "gymnasium"]),
    ("sbx_sac", "sac-step", false, &["sbx-rl", "jax", "torch", "gymnasium"]),
    ("sb3_ppo", "ppo-step", true, &["stable-baselines3", "torch", "gymnasium"]),
];
/// Rows of `mujoco_steps.py`, and the packages that it needs.
const MUJOCO_ROWS: [&str; 4] =
    ["hopper-step", "hopper-jacobians", "halfcheetah-step", "halfcheetah-jacobians"];
const MUJOCO_NEEDS: [&str; 3] = ["mujoco", "gymnasium", "numpy"];
/// Rows of `crocoddyl_times.py`, our rows, and the packages that it needs.
const CROCODDYL_ROWS: [(&str, &str); 10] = [
    ("arm_t100_calc_per_knot", "ddp-arm-calc"),
    ("arm_t100_calc_diff_per_knot", "ddp-arm-calc-diff"),
    ("arm_t100_backward_per_knot", "ddp-arm-backward"),
    ("arm_t100_forward_per_knot", "ddp-arm-roll-out"),
    ("arm_t200_solve_fddp", "ddp-arm-solve"),
    ("unicycle_t20_iteration_fddp", "ddp-unicycle-20"),
    ("unicycle_t50_iteration_fddp", "ddp-unicycle-50"),
    ("unicycle_t100_iteration_fddp", "ddp-unicycle-100"),
    ("unicycle_t200_iteration_fddp", "ddp-unicycle-200"),
    ("unicycle_t50_tick_1", "ddp-unicycle-tick"),
];
const CROCODDYL_NEEDS: [&str; 3] = ["crocoddyl", "pin", "numpy"];
/// Steps between two marks of `steps.py`, with roll-outs and without.
const ROLL_OUT: usize = 1024;
const INTERVAL: usize = 200;

/// One row as a script prints it.
#[derive(Debug, Deserialize)]
struct ScriptRow {
    name: String,
    peer: String,
    #[serde(default = "one")]
    threads: usize,
    #[serde(flatten)]
    numbers: Numbers,
    n: usize,
}

/// Threads of a row that does not tell them.
fn one() -> usize {
    1
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Numbers {
    Times {
        milliseconds_median: f64,
        milliseconds_min: f64,
    },
    ShortTimes {
        microseconds_median: f64,
        microseconds_min: f64,
    },
    Rates {
        steps_per_second_median: f64,
        steps_per_second_max: f64,
    },
    /// Microseconds.
    Spread {
        median: f64,
        min: f64,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Printed {
    List(Vec<ScriptRow>),
    One(ScriptRow),
}

/// What one peer reached in one row, alternation by alternation.
#[derive(Debug, Clone, Default)]
pub(super) struct PeerSeries {
    /// Median of each alternation.
    pub(super) medians: Vec<f64>,
    /// Best sample of each alternation.
    pub(super) bests: Vec<f64>,
    /// Samples together.
    pub(super) n: usize,
}

impl PeerSeries {
    /// The median of the alternations' medians.
    pub(super) fn median(&self) -> f64 {
        median(&self.medians)
    }
}

/// Row, threads and peer.
type PeerKey = (String, usize, String);

/// One virtual environment.
struct Environment {
    venv: PathBuf,
    /// Packages that count and are not installed.
    missing: Vec<String>,
}

impl Environment {
    fn python(&self) -> PathBuf {
        self.venv.join("bin").join("python")
    }

    /// The folder of robot descriptions, if it is installed.
    fn robots(&self) -> Option<PathBuf> {
        let folder = pinocchio::prefix(&self.venv)?.join("share/example-robot-data/robots");
        folder.is_dir().then_some(folder)
    }
}

/// The peers' environments and what has been measured in them.
pub(super) struct Peers {
    environments: Vec<Environment>,
    scripts: PathBuf,
    /// Version of every package that counts; all versions where environments differ.
    pub(super) versions: BTreeMap<String, String>,
    /// Packages that count and are not installed: their rows have no peer.
    pub(super) missing: Vec<String>,
    /// Results so far.
    series: BTreeMap<PeerKey, PeerSeries>,
}

impl Peers {
    /// The environments in folders that `bench/peers/setup.sh` made, with all peers or a part of
    /// them.
    ///
    /// # Errors
    /// A folder without interpreter or without any peer.
    pub(super) fn open(venvs: &[PathBuf]) -> Result<Self, PeerError> {
        let mut peers = Self {
            environments: Vec::new(),
            scripts: Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/peers"),
            versions: BTreeMap::new(),
            missing: Vec::new(),
            series: BTreeMap::new(),
        };
        for venv in venvs {
            let mut environment = Environment { venv: venv.clone(), missing: Vec::new() };
            let python = environment.python();
            if !python.exists() {
                let [venv, python] = [venv, &python].map(|path| path.display().to_string());
                return Err(PeerError::NoPython { venv, python });
            }
            let found: BTreeMap<String, Option<String>> =
                peers.ask(&environment, "versions.py", &[])?;
            let n = found.len();
            for (name, version) in found {
                match version {
                    Some(version) => peers.add_version(name, &version),
                    None => environment.missing.push(name),
                }
            }
            if environment.missing.len() == n {
                let (venv, missing) = (venv.display().to_string(), environment.missing);
                return Err(PeerError::Packages { venv, missing });
            }
            peers.environments.push(environment);
        }
        let names = peers.environments.iter().flat_map(|environment| &environment.missing);
        let missing: BTreeSet<_> =
            names.filter(|name| !peers.versions.contains_key(*name)).collect();
        peers.missing = missing.into_iter().cloned().collect();
        if !peers.missing.is_empty() {
            tell(&format!("not installed among the peers: {}", peers.missing.join(", ")));
        }
        Ok(peers)
    }

    fn add_version(&mut self, name: String, version: &str) {
        let all = self.versions.entry(name).or_default();
        if !all.split(" and ").any(|known| known == version) {
            *all += if all.is_empty() { "" } else { " and " };
            *all += version;
        }
    }

    /// The folder of robot descriptions, if it is installed.
    pub(super) fn robots(&self) -> Option<PathBuf> {
        self.environments.iter().find_map(Environment::robots)
    }

    /// The first environment that has all these packages.
    fn having(&self, packages: &[&str]) -> Option<&Environment> {
        let has = |environment: &&Environment| {
            !environment.missing.iter().any(|name| packages.contains(&name.as_str()))
        };
        self.environments.iter().find(has)
    }

    /// Compiles what the given rows need, so that it is done before anything is measured.
    ///
    /// # Errors
    /// A compiler that is not there or fails.
    pub(super) fn prepare(&self, rows: &[&str]) -> Result<(), PeerError> {
        let arguments = pinocchio::arguments(rows, &self.scripts, self.robots().as_deref());
        if let Some(environment) = self.having(&pinocchio::NEEDS).filter(|_| arguments.is_some()) {
            pinocchio::build(&environment.venv, &self.scripts)?;
        }
        Ok(())
    }

    /// Measures once the cases that are among `rows` (name and threads).
    ///
    /// # Errors
    /// A script that fails or prints something else than results.
    pub(super) fn measure(
        &mut self,
        rows: &[(String, usize)],
        quick: bool,
    ) -> Result<(), PeerError> {
        let mut threads: Vec<usize> = rows.iter().map(|(_, threads)| *threads).collect();
        threads.sort_unstable();
        threads.dedup();
        for threads in threads {
            let has = |row: &str| rows.iter().any(|(name, n)| name == row && *n == threads);
            let count = threads.to_string();
            let samples = if quick { "1" } else { "3" };
            let cases = UPDATES.iter().filter(|(_, row)| has(row));
            let cases: Vec<&str> = cases.flat_map(|(case, _)| ["--only", case]).collect();
            let mut printed = Vec::new();
            for environment in &self.environments {
                let here = |(_, needs): &&(&str, &[&str])| {
                    self.having(needs).is_some_and(|first| std::ptr::eq(first, environment))
                };
                let installed = UPDATES_PEERS.iter().filter(here);
                let installed: Vec<&str> = installed.map(|(peer, _)| *peer).collect();
                let peer = match installed[..] {
                    [] => None,
                    [only] => Some(only),
                    _ => Some("all"),
                };
                if let Some(peer) = peer.filter(|_| !cases.is_empty()) {
                    let arguments =
                        ["--threads", &count, "--samples", samples, "--json", "--peer", peer];
                    let arguments = [&arguments[..], &cases].concat();
                    printed.push(self.ask(environment, "updates.py", &arguments)?);
                }
            }
            printed.into_iter().for_each(|rows| self.add(rows));
            for (case, row, whole_roll_outs, needs) in STEPS {
                let Some(environment) = self.having(needs).filter(|_| has(row)) else { continue };
                // The script leaves out what lies before the first mark.
                let interval = if whole_roll_outs { ROLL_OUT } else { INTERVAL };
                let marks = if quick { 2 } else { 5 };
                let steps = (marks * interval).to_string();
                let arguments = ["--case", case, "--threads", &count, "--steps", &steps];
                let printed = self.ask(environment, "steps.py", &arguments)?;
                self.add(printed);
            }
        }
        let names: Vec<&str> = rows.iter().map(|(name, _)| name.as_str()).collect();
        let windows = if quick { "2" } else { "60" };
        let cases = names.iter().filter(|name| MUJOCO_ROWS.contains(name));
        let cases: Vec<&str> = cases.flat_map(|case| ["--only", case]).collect();
        if let Some(environment) = self.having(&MUJOCO_NEEDS).filter(|_| !cases.is_empty()) {
            let arguments = [&["--windows", windows], &cases[..]].concat();
            let printed = self.ask(environment, "mujoco_steps.py", &arguments)?;
            self.add(printed);
        }
        let cases = CROCODDYL_ROWS.iter().filter(|(_, row)| names.contains(row));
        let cases: Vec<&str> = cases.flat_map(|(case, _)| ["--only", case]).collect();
        if let Some(environment) = self.having(&CROCODDYL_NEEDS).filter(|_| !cases.is_empty()) {
            // Half a second for each row, which is two arguments.
            let seconds = if quick { 0.01 } else { 0.25 * cases.len() as f64 }.to_string();
            let arguments = [&["--seconds", &seconds], &cases[..]].concat();
            let printed = self.ask(environment, "crocoddyl_times.py", &arguments)?;
            self.add(printed);
        }
        if let Some(arguments) =
            pinocchio::arguments(&names, &self.scripts, self.robots().as_deref())
            && let Some(environment) = self.having(&pinocchio::NEEDS)
        {
            let program = pinocchio::build(&environment.venv, &self.scripts)?;
            let arguments = [vec!["--windows".to_owned(), windows.to_owned()], arguments].concat();
            let printed = read("pinocchio_times", Command::new(program).args(arguments))?;
            self.add(printed);
        }
        Ok(())
    }

    /// What a peer (as the scripts call it) reached in a row, if it was measured.
    pub(super) fn of(&self, row: &str, threads: usize, peer: &str) -> Option<&PeerSeries> {
        self.series.get(&(row.to_owned(), threads, peer.to_owned()))
    }

    fn add(&mut self, printed: Printed) {
        let rows = match printed {
            Printed::List(rows) => rows,
            Printed::One(row) => vec![row],
        };
        for row in rows {
            let name = our_name(&row.name);
            // Where a script counts in another unit than we do.
            let scale = match name.as_str() {
                "policy-eval" => 1e3,
                "ddp-arm-solve" => 1e-3,
                _ => 1.0,
            };
            let (median, best) = match row.numbers {
                Numbers::Times { milliseconds_median, milliseconds_min } => {
                    (scale * milliseconds_median, scale * milliseconds_min)
                }
                Numbers::ShortTimes { microseconds_median, microseconds_min } => {
                    (microseconds_median, microseconds_min)
                }
                Numbers::Spread { median, min } => (scale * median, scale * min),
                Numbers::Rates { steps_per_second_median, steps_per_second_max } => {
                    (steps_per_second_median, steps_per_second_max)
                }
            };
            let series = self.series.entry((name, row.threads, row.peer)).or_default();
            series.medians.push(median);
            series.bests.push(best);
            series.n += row.n;
        }
    }

    /// Runs a script and reads the value that it ends with.
    fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        environment: &Environment,
        script: &str,
        arguments: &[&str],
    ) -> Result<T, PeerError> {
        let command = [&[script], arguments].concat().join(" ");
        tell(&format!("peers: {command}"));
        read(
            &command,
            Command::new(environment.python()).arg(self.scripts.join(script)).args(arguments),
        )
    }
}

/// Our row for a name that a script prints; the newer scripts print our names.
fn our_name(printed: &str) -> String {
    let ours = match printed {
        "sac_step" => "sac-step",
        "ppo_step" => "ppo-step",
        _ => UPDATES
            .iter()
            .chain(&CROCODDYL_ROWS)
            .find(|(case, _)| *case == printed)
            .map_or(printed, |(_, row)| row),
    };
    ours.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers() -> Peers {
        Peers {
            environments: Vec::new(),
            scripts: PathBuf::new(),
            versions: BTreeMap::new(),
            missing: Vec::new(),
            series: BTreeMap::new(),
        }
    }

    #[test]
    fn alternations_are_combined_row_by_row_and_peer_by_peer() {
        let mut peers = peers();
        for median in [5.0, 9.0, 6.0] {
            let text = format!(
                r#"[{{"name": "policy_forward", "peer": "jax", "threads": 1,
                "milliseconds_median": {median}, "milliseconds_min": 4.0, "n": 3}},
                {{"name": "sac_update", "peer": "pytorch", "threads": 2,
                "milliseconds_median": 1.0, "milliseconds_min": 0.5, "n": 3}}]"#
            );
            peers.add(serde_json::from_str(&text).unwrap());
        }
        let found = peers.of("policy-eval", 1, "jax").unwrap();
        assert_eq!((found.median(), found.n), (6e3, 9));
        assert!(peers.of("sac-update", 1, "pytorch").is_none());
        assert!(peers.of("sac-update", 2, "pytorch").is_some());
    }

    #[test]
    fn a_single_case_of_steps_is_read() {
        let mut peers = peers();
        let text = r#"{"name": "ppo_step", "peer": "stable-baselines3", "threads": 1,
            "steps_per_second_median": 700.0, "steps_per_second_max": 800.0, "n": 4}"#;
        peers.add(serde_json::from_str(text).unwrap());
        assert_eq!(peers.of("ppo-step", 1, "stable-baselines3").unwrap().bests, [800.0]);
    }

    #[test]
    fn times_of_rigid_bodies_are_in_microseconds_under_our_names() {
        let mut peers = peers();
        let text = r#"[{"name": "arm-aba", "peer": "pinocchio", "threads": 1, "nv": 7,
            "microseconds_median": 1.5, "microseconds_min": 1.4, "n": 60}]"#;
        peers.add(serde_json::from_str(text).unwrap());
        let found = peers.of("arm-aba", 1, "pinocchio").unwrap();
        assert_eq!((found.median(), found.bests[0], found.n), (1.5, 1.4, 60));
    }

    #[test]
    fn times_of_crocoddyl_are_in_the_units_of_our_rows() {
        let mut peers = peers();
        let row = |name| {
            format!(
                r#"{{"name": "{name}", "peer": "crocoddyl", "unit": "us",
            "min": 9000.0, "median": 9500.0, "n": 30}}"#
            )
        };
        let text = format!("[{}, {}]", row("arm_t200_solve_fddp"), row("unicycle_t50_tick_1"));
        peers.add(serde_json::from_str(&text).unwrap());
        let found = |row| peers.of(row, 1, "crocoddyl").unwrap().clone();
        assert_eq!((found("ddp-arm-solve").median(), found("ddp-arm-solve").bests[0]), (9.5, 9.0));
        assert_eq!(found("ddp-unicycle-tick").median(), 9500.0);
    }

    #[test]
    fn the_environment_is_the_first_that_has_all_packages() {
        let mut peers = peers();
        for (venv, missing) in [("a", "crocoddyl"), ("b", "mujoco")] {
            let missing = vec![missing.to_owned()];
            peers.environments.push(Environment { venv: venv.into(), missing });
        }
        for version in ["4.1.0", "4.0.0", "4.1.0"] {
            peers.add_version("pin".to_owned(), version);
        }
        assert_eq!(peers.versions["pin"], "4.1.0 and 4.0.0");
        let found = |packages: &[&str]| peers.having(packages).map(|found| found.venv.as_path());
        assert_eq!(found(&["pin"]), Some(Path::new("a")));
        assert_eq!(found(&["crocoddyl", "pin"]), Some(Path::new("b")));
        assert_eq!(found(&["crocoddyl", "mujoco"]), None);
    }
}
