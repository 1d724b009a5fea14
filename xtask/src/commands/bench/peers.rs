//! Other libraries on the same cases: runs the scripts of `bench/peers` and reads what they print.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use serde::Deserialize;
use thiserror::Error;

use super::pinocchio;
use super::stats::median;
use crate::progress::tell;

/// Errors of measuring the peers.
#[derive(Debug, Error)]
pub(super) enum PeerError {
    /// There is no interpreter where a virtual environment has one.
    #[error(
        "`{venv}` is no virtual environment: there is no `{python}`; make one with \
         `bench/peers/setup.sh {venv}`"
    )]
    NoPython {
        /// The folder given.
        venv: String,
        /// Where the interpreter was looked for.
        python: String,
    },
    /// No package of any peer is there.
    #[error(
        "`{venv}` has no peer: it lacks {}; `bench/peers/setup.sh {venv}` makes an environment that \
         has them",
        missing.join(", ")
    )]
    Packages {
        /// The folder given.
        venv: String,
        /// Names of the packages.
        missing: Vec<String>,
    },
    /// Interpreter, compiler or program cannot be started.
    #[error("cannot start `{program}`")]
    Start {
        /// What was to be started.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// A script, or the compiler, ended with an error.
    #[error("`{script}` failed ({status}): {}", last_line(stderr))]
    Failed {
        /// The script with its arguments.
        script: String,
        /// How it ended.
        status: ExitStatus,
        /// All it wrote to standard error.
        stderr: String,
    },
    /// A script printed something else than its results.
    #[error("`{script}` printed no results that can be read, but `{found}`")]
    Output {
        /// The script with its arguments.
        script: String,
        /// Its last line.
        found: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

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
/// Steps between two marks of `steps.py`, with roll-outs and without.
const ROLL_OUT: usize = 1024;
const INTERVAL: usize = 200;

/// One row as a script prints it.
#[derive(Debug, Deserialize)]
struct ScriptRow {
    name: String,
    peer: String,
    threads: usize,
    #[serde(flatten)]
    numbers: Numbers,
    n: usize,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Numbers {
    Times { milliseconds_median: f64, milliseconds_min: f64 },
    ShortTimes { microseconds_median: f64, microseconds_min: f64 },
    Rates { steps_per_second_median: f64, steps_per_second_max: f64 },
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

/// The peers' environment and what has been measured in it.
pub(super) struct Peers {
    venv: PathBuf,
    scripts: PathBuf,
    /// Version of every package that counts.
    pub(super) versions: BTreeMap<String, String>,
    /// Packages that count and are not installed: their rows have no peer.
    pub(super) missing: Vec<String>,
    /// Results so far.
    series: BTreeMap<PeerKey, PeerSeries>,
}

impl Peers {
    /// The environment in a folder that `bench/peers/setup.sh` made, with all peers or a part of
    /// them.
    ///
    /// # Errors
    /// A folder without interpreter or without any peer.
    pub(super) fn open(venv: &Path) -> Result<Self, PeerError> {
        let mut peers = Self {
            venv: venv.to_owned(),
            scripts: Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/peers"),
            versions: BTreeMap::new(),
            missing: Vec::new(),
            series: BTreeMap::new(),
        };
        let python = peers.python();
        if !python.exists() {
            let [venv, python] = [venv, &python].map(|path| path.display().to_string());
            return Err(PeerError::NoPython { venv, python });
        }
        let found: BTreeMap<String, Option<String>> = peers.ask("versions.py", &[])?;
        for (name, version) in found {
            match version {
                Some(version) => _ = peers.versions.insert(name, version),
                None => peers.missing.push(name),
            }
        }
        if peers.versions.is_empty() {
            let (venv, missing) = (venv.display().to_string(), peers.missing);
            return Err(PeerError::Packages { venv, missing });
        }
        if !peers.missing.is_empty() {
            tell(&format!("not installed among the peers: {}", peers.missing.join(", ")));
        }
        Ok(peers)
    }

    /// The folder of robot descriptions, if it is installed.
    pub(super) fn robots(&self) -> Option<PathBuf> {
        let folder = pinocchio::prefix(&self.venv)?.join("share/example-robot-data/robots");
        folder.is_dir().then_some(folder)
    }

    fn python(&self) -> PathBuf {
        self.venv.join("bin").join("python")
    }

    fn has(&self, packages: &[&str]) -> bool {
        !self.missing.iter().any(|name| packages.contains(&name.as_str()))
    }

    /// Compiles what the given rows need, so that it is done before anything is measured.
    ///
    /// # Errors
    /// A compiler that is not there or fails.
    pub(super) fn prepare(&self, rows: &[&str]) -> Result<(), PeerError> {
        let arguments = pinocchio::arguments(rows, &self.scripts, self.robots().as_deref());
        if arguments.is_some() && self.has(&pinocchio::NEEDS) {
            pinocchio::build(&self.venv, &self.scripts)?;
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
            let installed = UPDATES_PEERS.iter().filter(|(_, needs)| self.has(needs));
            let installed: Vec<&str> = installed.map(|(peer, _)| *peer).collect();
            let peer = match installed[..] {
                [] => None,
                [only] => Some(only),
                _ => Some("all"),
            };
            if let Some(peer) = peer.filter(|_| !cases.is_empty()) {
                let arguments =
                    ["--threads", &count, "--samples", samples, "--json", "--peer", peer];
                let printed = self.ask("updates.py", &[&arguments[..], &cases].concat())?;
                self.add(printed);
            }
            for (case, row, whole_roll_outs, needs) in STEPS {
                if !has(row) || !self.has(needs) {
                    continue;
                }
                // The script leaves out what lies before the first mark.
                let interval = if whole_roll_outs { ROLL_OUT } else { INTERVAL };
                let marks = if quick { 2 } else { 5 };
                let steps = (marks * interval).to_string();
                let arguments = ["--case", case, "--threads", &count, "--steps", &steps];
                let printed = self.ask("steps.py", &arguments)?;
                self.add(printed);
            }
        }
        let names: Vec<&str> = rows.iter().map(|(name, _)| name.as_str()).collect();
        let windows = if quick { "2" } else { "60" };
        let cases = names.iter().filter(|name| MUJOCO_ROWS.contains(name));
        let cases: Vec<&str> = cases.flat_map(|case| ["--only", case]).collect();
        if !cases.is_empty() && self.has(&MUJOCO_NEEDS) {
            let arguments = [&["--windows", windows], &cases[..]].concat();
            let printed = self.ask("mujoco_steps.py", &arguments)?;
            self.add(printed);
        }
        if let Some(arguments) =
            pinocchio::arguments(&names, &self.scripts, self.robots().as_deref())
            && self.has(&pinocchio::NEEDS)
        {
            let program = pinocchio::build(&self.venv, &self.scripts)?;
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
            // We count policy evaluations in microseconds.
            let scale = if name == "policy-eval" { 1e3 } else { 1.0 };
            let (median, best) = match row.numbers {
                Numbers::Times { milliseconds_median, milliseconds_min } => {
                    (scale * milliseconds_median, scale * milliseconds_min)
                }
                Numbers::ShortTimes { microseconds_median, microseconds_min } => {
                    (microseconds_median, microseconds_min)
                }
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

    /// Runs a script and reads the last line it prints.
    fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        script: &str,
        arguments: &[&str],
    ) -> Result<T, PeerError> {
        let command = [&[script], arguments].concat().join(" ");
        tell(&format!("peers: {command}"));
        read(&command, Command::new(self.python()).arg(self.scripts.join(script)).args(arguments))
    }
}

/// Runs a program and returns what it prints; `name` is what errors call it.
pub(super) fn run(name: &str, command: &mut Command) -> Result<String, PeerError> {
    let output = command.output().map_err(|source| PeerError::Start {
        program: command.get_program().to_string_lossy().into_owned(),
        source,
    })?;
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    if !output.status.success() {
        // The error itself has one line; a traceback has many.
        tell(stderr.trim_end());
        return Err(PeerError::Failed { script: name.to_owned(), status: output.status, stderr });
    }
    Ok(stdout)
}

/// Runs a program and reads the last line it prints.
fn read<T: for<'de> Deserialize<'de>>(name: &str, command: &mut Command) -> Result<T, PeerError> {
    let stdout = run(name, command)?;
    let found = last_line(&stdout);
    serde_json::from_str(found).map_err(|source| PeerError::Output {
        script: name.to_owned(),
        found: found.to_owned(),
        source,
    })
}

/// Our row for a name that a script prints; the newer scripts print our names.
fn our_name(printed: &str) -> String {
    let ours = match printed {
        "sac_step" => "sac-step",
        "ppo_step" => "ppo-step",
        _ => UPDATES.iter().find(|(case, _)| *case == printed).map_or(printed, |(_, row)| row),
    };
    ours.to_owned()
}

/// The last line that is not blank; libraries print notices before the results.
fn last_line(text: &str) -> &str {
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers() -> Peers {
        Peers {
            venv: PathBuf::new(),
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
    fn results_stand_on_the_last_line() {
        assert_eq!(last_line("a notice\n[1]\n\n"), "[1]");
        assert_eq!(last_line(""), "");
    }
}
