//! `bench` run as a user runs it, with samples too short to mean anything.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::fs;
use std::path::Path;

use common::{command, refusal, success};
use dynamics::Stream;
use dynamics::models::iiwa14;
use dynamics::rigid_body::urdf::load_urdf;
use dynamics::rigid_body::{Base, Model};
use nalgebra::DVector;
use serde_json::Value;
use tempfile::tempdir;

/// The rows of a JSON object that must be whole, with name, median and number of samples.
fn rows(text: &str) -> Vec<(String, f64, u64)> {
    let object: Value = serde_json::from_str(text).unwrap();
    assert_eq!(object["quick"], true);
    assert!(object["machine"]["instruction_path"].is_string());
    let row = |row: &Value| {
        let name = row["name"].as_str().unwrap().to_owned();
        (name, row["median"].as_f64().unwrap(), row["n"].as_u64().unwrap())
    };
    object["rows"].as_array().unwrap().iter().map(row).collect()
}

#[test]
fn rows_are_chosen_by_prefix_and_have_positive_numbers() {
    let text = success(&mut command(&["bench", "--quick", "--json", "policy", "env-step-hopper"]));
    let found = rows(&text);
    let names: Vec<_> = found.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["env-step-hopper", "env-step-hopper-derivatives", "policy-eval"]);
    for (name, median, n) in &found {
        assert!(*median > 0.0 && *n > 0, "{name}: {median} from {n}");
    }
}

#[test]
fn processes_of_their_own_tell_memory_and_start() {
    let found = rows(&success(&mut command(&["bench", "--quick", "--json", "memory", "start"])));
    let start = found.iter().find(|(name, ..)| name == "start").unwrap().1;
    assert!(start > 0.0 && start < 60.0, "{start} s");
    // The row is missing where the system does not tell the peak. 100,000 transitions of nine numbers
    // are 3.6 MB, the networks with optimisers and targets another 3 MB.
    if let Some((_, memory, _)) = found.iter().find(|(name, ..)| name == "memory") {
        assert!((6.0..2000.0).contains(memory), "{memory} MB");
    }
}

#[test]
fn the_report_is_written_beside_the_table() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("new folder/report.md");
    let out = file.to_str().unwrap();
    let table = success(&mut command(&["bench", "--quick", "policy-eval", "--out", out]));
    assert!(table.contains("policy-eval") && table.contains("µs"), "{table}");
    let report = fs::read_to_string(&file).unwrap();
    assert!(report.contains("| policy-eval | 1 | "), "{report}");
    assert!(report.contains("instruction path"), "{report}");
    assert!(!file.with_extension("svg").exists(), "no chain was measured");
}

#[test]
fn chains_are_drawn_beside_the_report() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("README.md");
    let out = file.to_str().unwrap();
    let rows = ["chain-2-fk", "chain-4-fk", "chain-2-aba", "chain-4-aba"];
    success(command(&["bench", "--quick", "--out", out]).args(rows));
    let report = fs::read_to_string(&file).unwrap();
    assert!(report.contains("| chain-4-aba-derivatives | 1 | "), "{report}");
    assert!(
        report.contains("](README.svg)") && report.contains("| target features | "),
        "{report}"
    );
    let picture = fs::read_to_string(file.with_extension("svg")).unwrap();
    assert!(picture.starts_with("<svg ") && picture.contains("aba-derivatives"), "{picture}");
}

#[test]
fn rigid_bodies_are_measured_and_robots_without_file_left_out() {
    let text = success(&mut command(&["bench", "--quick", "--json", "arm", "hopper", "quadruped"]));
    let found = rows(&text);
    assert_eq!(found.len(), 9);
    for (name, median, _) in &found {
        assert!(*median > 0.0, "{name}: {median}");
    }
    let object: Value = serde_json::from_str(&text).unwrap();
    let skipped = object["skipped"].as_array().unwrap();
    assert_eq!(skipped.len(), 5);
    assert!(skipped[0]["reason"].as_str().unwrap().contains("example-robot-data"), "{skipped:?}");
}

#[test]
fn the_arm_of_the_peers_is_ours() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/peers/iiwa14.urdf");
    let model = |description| Model::new(&description, Base::Fixed).unwrap();
    let (theirs, ours) = (model(load_urdf(&file).unwrap()), model(iiwa14()));
    assert_eq!(theirs.frames().len(), ours.frames().len());
    for (theirs, ours) in theirs.dofs().iter().zip(ours.dofs()) {
        assert_eq!(theirs.properties, ours.properties);
    }
    let mut stream = Stream::new(0, "arms", 0);
    let (mut ws_a, mut ws_b) = (theirs.workspace(), ours.workspace());
    for _ in 0..10 {
        let q = ours.random_configuration(&mut stream);
        let mut draw = || DVector::from_fn(7, |_, _| stream.normal());
        let (v, tau) = (draw(), draw());
        theirs.aba_derivatives(&mut ws_a, &q, &v, &tau);
        ours.aba_derivatives(&mut ws_b, &q, &v, &tau);
        for (a, b) in [
            (ws_a.dqdd_dq(), ws_b.dqdd_dq()),
            (ws_a.dqdd_dv(), ws_b.dqdd_dv()),
            (ws_a.dqdd_dtau(), ws_b.dqdd_dtau()),
        ] {
            assert!((a - b).norm() <= 1e-12 * b.norm(), "{a}{b}");
        }
        for name in ["link7", "tool"] {
            let pose =
                |model: &Model, ws| model.frame_pose(ws, &q, model.find_frame(name).unwrap());
            let ((r_a, p_a), (r_b, p_b)) = (pose(&theirs, &mut ws_a), pose(&ours, &mut ws_b));
            assert!((r_a - r_b).norm() < 1e-12 && (p_a - p_b).norm() < 1e-12, "{name}");
        }
    }
}

#[test]
fn an_unknown_name_is_refused_with_the_known_ones() {
    let message = refusal(&mut command(&["bench", "--quick", "policy", "sac-updates"]));
    assert!(message.contains("there is no measurement `sac-updates`"), "{message}");
    assert!(message.contains("sac-update, vg-sac-update"), "{message}");
}

fn with_peers(venv: &Path) -> String {
    refusal(command(&["bench", "--quick", "policy", "--peers"]).arg(venv))
}

#[test]
fn a_folder_without_interpreter_is_no_environment() {
    let dir = tempdir().unwrap();
    let message = with_peers(dir.path());
    assert!(message.contains("is no virtual environment"), "{message}");
    assert!(message.contains("bench/peers/setup.sh"), "{message}");
}

/// An environment in `venv` whose interpreter is this shell script.
#[cfg(unix)]
fn install_interpreter(venv: &Path, script: &str) {
    use std::os::unix::fs::PermissionsExt as _;

    let python = venv.join("bin/python");
    fs::create_dir(venv.join("bin")).unwrap();
    fs::write(&python, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
}

#[cfg(unix)]
fn with_interpreter(script: &str) -> String {
    let dir = tempdir().unwrap();
    install_interpreter(dir.path(), script);
    with_peers(dir.path())
}

#[test]
#[cfg(unix)]
fn an_environment_without_any_peer_is_refused() {
    let message = with_interpreter(r#"echo '{"jax": null, "torch": null}'"#);
    assert!(message.contains("lacks jax, torch; "), "{message}");
}

/// Rows whose peer is missing are measured alone, and the table says what is missing.
#[test]
#[cfg(unix)]
fn missing_packages_are_named_and_their_scripts_not_run() {
    let dir = tempdir().unwrap();
    let versions = r#"{"jax": null, "torch": null, "mujoco": "3.17"}"#;
    let script = format!("case \"$1\" in *versions.py) echo '{versions}';; *) exit 3;; esac");
    install_interpreter(dir.path(), &script);
    let mut bench = command(&["bench", "--quick", "policy", "--peers"]);
    let table = success(bench.arg(dir.path()));
    assert!(table.contains("among the peers, and not measured: jax, torch."), "{table}");
}

/// An interpreter that answers for MuJoCo, whose microseconds are taken as they are.
#[test]
#[cfg(unix)]
fn short_times_stand_beside_ours() {
    let dir = tempdir().unwrap();
    let row = r#"[{"name": "hopper-step", "peer": "mujoco", "threads": 1,
        "microseconds_median": 1e6, "microseconds_min": 9e5, "n": 2}]"#
        .replace('\n', "");
    let versions = r#"{"mujoco": "3.17"}"#;
    let script = format!("case \"$1\" in *versions.py) echo '{versions}';; *) echo '{row}';; esac");
    install_interpreter(dir.path(), &script);
    let mut bench = command(&["bench", "--quick", "--json", "hopper-step", "--peers"]);
    let object: Value = serde_json::from_str(&success(bench.arg(dir.path()))).unwrap();
    let row = &object["rows"][0];
    assert_eq!(row["peers"][0]["median"].as_f64(), Some(1e6));
    assert_eq!(row["targets"][0]["what"], "≥ 3× MuJoCo");
    assert_eq!(row["targets"][0]["reached"], true);
}

#[test]
#[cfg(unix)]
fn a_script_that_fails_is_told_with_what_it_said() {
    let message = with_interpreter("echo first >&2; echo 'ValueError: last' >&2; exit 3");
    assert!(message.contains("first\nValueError: last\n"), "{message}");
    assert!(message.contains("`versions.py` failed"), "{message}");
    let message = with_interpreter("echo hello");
    assert!(message.contains("printed no results that can be read, but `hello`"), "{message}");
}

/// An interpreter that answers as the scripts do: versions first, then one policy evaluation.
#[test]
#[cfg(unix)]
fn peers_stand_beside_ours_with_the_ratio() {
    let dir = tempdir().unwrap();
    let row = r#"[{"name": "policy_forward", "peer": "jax", "threads": 1,
        "milliseconds_median": 3600.0, "milliseconds_min": 1800.0, "n": 2}]"#
        .replace('\n', "");
    let versions = r#"{"jax": "0.0"}"#;
    let script = format!("case \"$1\" in *versions.py) echo '{versions}';; *) echo '{row}';; esac");
    install_interpreter(dir.path(), &script);
    let mut bench = command(&["bench", "--quick", "--json", "policy", "--peers"]);
    let object: Value = serde_json::from_str(&success(bench.arg(dir.path()))).unwrap();
    assert_eq!(object["peer_versions"]["jax"], "0.0");
    let row = &object["rows"][0];
    let peer = &row["peers"][0];
    assert_eq!(peer["peer"], "JAX");
    assert_eq!((peer["median"].as_f64(), peer["best"].as_f64()), (Some(3.6e6), Some(1.8e6)));
    let ratio = 3.6e6 / row["median"].as_f64().unwrap();
    assert!((peer["ratio"].as_f64().unwrap() - ratio).abs() < 1e-9 * ratio);
}

/// Rows of optimal control with their growth and picture.
#[test]
fn optimal_control_is_measured_and_drawn_against_the_horizon() {
    let dir = tempdir().unwrap();
    let picture = dir.path().join("images/horizons.svg");
    let names = ["ddp-arm-calc", "ddp-unicycle-20", "ddp-unicycle-tick", "ddp-horizons-unicycle"];
    let mut bench = command(&["bench", "--quick", "--json", "--horizons"]);
    let text = success(bench.arg(&picture).args(names));
    let found = rows(&text);
    let object: Value = serde_json::from_str(&text).unwrap();
    let left_out = object["skipped"].as_array().unwrap().len();
    // Of the arm two passes, one of them over many nodes on one and on two threads as well; two
    // solves (20 and 200 nodes), two ticks, eight horizons.
    assert_eq!(found.len() + left_out, 4 + 2 + 2 + 8);
    for (name, median, _) in &found {
        assert!(*median > 0.0, "{name}: {median}");
    }
    assert!(object["growth"]["unicycle"].is_f64(), "{}", object["growth"]);
    let svg = fs::read_to_string(picture).unwrap();
    assert!(svg.contains("horizon T [nodes]") && svg.contains("unicycle (∝ T^"), "{svg}");
    let message = refusal(&mut command(&["bench", "--quick", "policy", "--horizons", "a.svg"]));
    assert!(message.contains("ddp-horizons-"), "{message}");
}

/// Two environments, of which the second has Crocoddyl; its list goes over several lines.
#[test]
#[cfg(unix)]
fn a_peer_is_looked_for_in_every_environment() {
    let dir = tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| dir.path().join(name));
    let row = r#"[\n {\n  \"name\": \"unicycle_t50_tick_1\", \"peer\": \"crocoddyl\",
        \"unit\": \"us\", \"min\": 9e5, \"median\": 1e6, \"n\": 10\n }\n]"#
        .replace('\n', "");
    for (venv, versions, answer) in [
        (&first, r#"{"crocoddyl": null, "pin": "4.1.0"}"#, "exit 3".to_owned()),
        (&second, r#"{"crocoddyl": "3.2.1", "pin": "4.0.0"}"#, format!("printf \"{row}\"")),
    ] {
        fs::create_dir(venv).unwrap();
        let script = format!("case \"$1\" in *versions.py) echo '{versions}';; *) {answer};; esac");
        install_interpreter(venv, &script);
    }
    let mut bench = command(&["bench", "--quick", "--json", "ddp-unicycle-tick", "--peers"]);
    let text = success(bench.arg(&first).arg("--peers").arg(&second));
    let object: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(object["peer_versions"]["pin"], "4.1.0 and 4.0.0");
    assert_eq!(object["missing_peers"], Value::Array(Vec::new()));
    let row = &object["rows"][0];
    assert_eq!(row["peers"][0]["peer"], "Crocoddyl");
    assert_eq!(row["peers"][0]["median"].as_f64(), Some(1e6));
    assert_eq!(row["targets"][0]["what"], "≥ 1× Crocoddyl");
}
