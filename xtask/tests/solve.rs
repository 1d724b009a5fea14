//! `solve` run as a user runs it: values of the unicycle, shapes, warm starts, limits, batches,
//! messages.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{refusal, success, text};
use serde::Deserialize;
use serde_json::Value;
use tempfile::tempdir;

/// The weights of DVP.
const WEIGHTS: [&str; 4] = ["--set", "state_weight=0.1", "--set", "control_weight=0.2"];

/// What is printed of one start, and nothing else.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    task: String,
    solver: String,
    status: String,
    iterations: usize,
    cost: f64,
    u0: Vec<f64>,
    v0: f64,
    vx0: Vec<f64>,
    vxx0: Vec<Vec<f64>>,
    x_final: Vec<f64>,
    seconds: f64,
    feasible: bool,
}

/// What is read of an answer with everything.
#[derive(Debug, PartialEq, Deserialize)]
struct Full {
    cost: f64,
    iterations: usize,
    status: String,
    seconds: Option<f64>,
    vx0: Vec<f64>,
    xs: Vec<Vec<f64>>,
    us: Vec<Vec<f64>>,
    k: Vec<Vec<f64>>,
    gains: Vec<Vec<Vec<f64>>>,
    v: Vec<f64>,
    vx: Vec<Vec<f64>>,
    vxx: Vec<Vec<Vec<f64>>>,
    gaps: Vec<Vec<f64>>,
    multipliers: Vec<Vec<f64>>,
    log: Vec<Value>,
}

fn solve(args: &[&str]) -> Command {
    let mut command = common::command(&["solve"]);
    command.args(args);
    command
}

#[track_caller]
fn answer(args: &[&str]) -> Answer {
    let output = solve(args).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "", "an answer alone");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn full(args: &[&str]) -> Full {
    serde_json::from_str(&success(solve(args).arg("--full"))).unwrap()
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < tolerance, "{found} instead of {expected}");
    }
}

/// Digits as DVP's reproduction sheet gives them, from Crocoddyl.
#[test]
fn the_unicycle_has_the_published_values() {
    for (x0, horizon, cost) in [
        ("1,0,0", "50", 0.101256),
        ("1,0,0", "1000", 0.102531),
        ("0.5,0.5,0.5", "50", 0.089412),
        ("-0.7,0.3,1", "1000", 0.298497),
        ("-1.24,-1.24,-1.24", "40", 0.726802),
    ] {
        let args = [&["unicycle", "--x0", x0, "--horizon", horizon][..], &WEIGHTS].concat();
        let found = answer(&args);
        assert_eq!(found.status, "converged", "{x0}");
        assert!((found.cost - cost).abs() < 6e-7, "{x0}: {} instead of {cost}", found.cost);
        assert_eq!(found.v0, found.cost);
    }
    let args = [&["unicycle", "--x0", "0.5,0.5,0.5", "--horizon=1000"][..], &WEIGHTS].concat();
    assert_close(&answer(&args).vx0, &[-0.05856, 0.43163, -0.08770], 1e-5);
}

#[test]
fn an_answer_has_its_sizes_and_says_who_solved_it() {
    let found = answer(&["unicycle"]);
    assert_eq!((&*found.task, &*found.solver), ("unicycle", "fddp"));
    let rows: Vec<_> = found.vxx0.iter().map(Vec::len).collect();
    assert_eq!((found.u0.len(), found.vx0.len(), rows), (2, 3, vec![3; 3]));
    assert_eq!(found.x_final.len(), 3);
    assert!(found.feasible && found.seconds > 0.0);
    for solver in ["ddp", "ilqr", "box-ddp", "box-fddp"] {
        let other = answer(&["unicycle", "--solver", solver]);
        assert_eq!(other.solver, solver);
        assert!((other.cost - found.cost).abs() < 1e-7, "{solver}: {}", other.cost);
    }
}

#[test]
fn full_has_every_node_and_agrees_with_the_short_answer() {
    let found = full(&["unicycle", "--horizon", "20", "--x0", "-1,-1,1"]);
    let Full { xs, us, k, gains, v, vx, vxx, gaps, multipliers, log, .. } = &found;
    assert_eq!([xs.len(), v.len(), vx.len(), vxx.len(), gaps.len(), multipliers.len()], [21; 6]);
    assert_eq!([us.len(), k.len(), gains.len()], [20; 3]);
    assert_eq!((gains[3].len(), gains[3][0].len()), (2, 3));
    assert_eq!(log.len(), found.iterations + 1);
    assert!(log[0]["dV-exp"].is_number());
    assert_eq!(found.xs[0], [-1.0, -1.0, 1.0]);
    assert_eq!((v[0], &vx[0]), (found.cost, &found.vx0));
    // The trajectory follows from its controls.
    for (t, u) in us.iter().enumerate() {
        let [x, y, angle] = xs[t][..] else { unreachable!() };
        let next = [x + 0.1 * u[0] * angle.cos(), y + 0.1 * u[0] * angle.sin(), angle + 0.1 * u[1]];
        assert_close(&xs[t + 1], &next, 1e-12);
    }
}

#[test]
fn a_saved_solution_is_a_warm_start_that_has_nothing_left_to_do() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("solution.json");
    let path = file.to_str().unwrap();
    let args = ["unicycle", "--x0", "-1,-1,1", "--set", "solver.stop=1e-14"];
    let first = answer(&[&args[..], &["--save", path]].concat());
    assert!(first.iterations > 3);
    let again = answer(&[&args[..], &["--warm-start", path]].concat());
    assert!(again.iterations <= 1, "{}", again.iterations);
    assert!((again.cost - first.cost).abs() <= 1e-12 * first.cost);

    // The library reads it as a solution.
    let text = fs::read_to_string(&file).unwrap();
    let solution: ddp::Solution = serde_json::from_str(&text).unwrap();
    assert_eq!((solution.status, solution.cost), (ddp::Status::Converged, first.cost));

    // The file is what --full prints.
    let mut printed = full(&args);
    let mut saved: Full = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    (printed.seconds, saved.seconds) = (None, None);
    assert_eq!(printed, saved);

    // From elsewhere it is a guess like any other.
    let near = ["unicycle", "--x0", "-1,-0.9,1", "--set", "solver.stop=1e-14"];
    let cold = answer(&near);
    let warm = answer(&[&near[..], &["--warm-start", path]].concat());
    assert!((warm.cost - cold.cost).abs() < 1e-10);

    let message = refusal(&mut solve(&["unicycle", "--horizon", "40", "--warm-start", path]));
    assert!(message.contains("has 51 states and 50 controls"), "{message}");
    assert!(message.contains("need 41 and 40") && message.contains("--horizon 50"), "{message}");
    let other = ["pendulum-ddp", "--horizon", "50", "--warm-start", path];
    let message = refusal(&mut solve(&other));
    assert!(message.contains("`a state` has 3 entries, needs 2"), "{message}");

    for (bad, part) in [
        ("{\"xs\": [[1, null, 2]], \"us\": []}", "null"),
        ("{\"cost\": 3}", "missing field `xs`"),
        ("{\"xs\": [[", "EOF"),
    ] {
        fs::write(&file, bad).unwrap();
        let message = refusal(&mut solve(&[&args[..], &["--warm-start", path]].concat()));
        assert!(message.contains("is no finite trajectory"), "{message}");
        assert!(message.contains(part), "{message}");
        assert_eq!(fs::read_to_string(&file).unwrap(), bad);
    }
}

#[test]
fn a_solution_that_cannot_be_saved_is_told() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("no/such/folder.json");
    let message = refusal(solve(&["unicycle", "--save"]).arg(&file));
    assert!(message.contains("folder.json"), "{message}");
}

#[test]
fn limited_controls_stay_within_their_limits() {
    let limited = ["unicycle", "--set", "u_max=0.7"];
    let printed = success(solve(&limited).arg("--full"));
    let solution: Full = serde_json::from_str(&printed).unwrap();
    assert!(printed.contains("\"box-fddp\"") && solution.status == "converged");
    let largest = solution.us.iter().flatten().fold(0.0_f64, |a, u| a.max(u.abs()));
    assert_eq!(largest, 0.7);
    let free = answer(&["unicycle"]);
    assert!(solution.cost > free.cost + 0.1, "the limit costs something");

    // A method without limits says so and finds what there is without them.
    let output = solve(&limited).args(["--solver", "fddp"]).output().unwrap();
    let message = text(&output.stderr);
    assert!(message.contains("which `fddp` ignores; `box-ddp` and `box-fddp`"), "{message}");
    let unlimited: Answer = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(unlimited.cost, free.cost);
}

#[test]
fn an_answer_that_has_not_converged_is_an_answer() {
    let found = answer(&["unicycle", "--x0", "-1,-1,1", "--set", "solver.max_iterations=1"]);
    assert_eq!((&*found.status, found.iterations), ("iteration_limit", 1));

    let printed = success(&mut solve(&["cartpole-gym", "--x0", "0,1e200,0,1e300", "--full"]));
    let found: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(found["status"], "not_finite");
    assert_eq!(found["node"], 0);
    assert!(found["vx0"][0].is_null() && found["cost"].is_null(), "{printed}");
    assert_eq!(found["xs"][3][3], 1e300);
}

#[test]
fn discount_and_variant_change_the_problem() {
    let whole = answer(&["unicycle"]);
    let discounted = answer(&["unicycle", "--discount", "0.9"]);
    assert!(discounted.cost < 0.8 * whole.cost, "{} {}", discounted.cost, whole.cost);
    let [nominal, real] = ["nominal", "real"].map(|variant| {
        let horizon = ["double-pendulum", "--horizon", "100", "--variant", variant];
        answer(&[&horizon[..], &["--set", "real.masses=2,1"]].concat()).cost
    });
    assert!(nominal.is_finite() && (nominal - real).abs() > 1e-3, "{nominal} {real}");
}

/// Holding still is part of the guess: it depends on where the arm stands, as does the cost of the
/// first iterate.
#[test]
fn the_arm_is_held_where_it_starts() {
    let limit = ["--set", "solver.max_iterations=1", "--horizon", "5"];
    let held = |x0: &str| full(&[&["arm", "--x0", x0][..], &limit].concat()).us;
    let set = |x0: &str| full(&[&["arm", "--set", &format!("x0={x0}")][..], &limit].concat()).us;
    let x0 = "-1,0.5,1.2,1.5,-1,1,0.2,0,0,0,0,0,0,0";
    assert_eq!(held(x0), set(x0));
}

#[test]
fn each_iteration_is_shown_on_stderr() {
    let output = solve(&["unicycle", "--verbose"]).output().unwrap();
    let found: Answer = serde_json::from_slice(&output.stdout).unwrap();
    let shown = text(&output.stderr);
    assert_eq!(shown.lines().count(), found.iterations + 2, "a title and a row each: {shown}");
    assert!(shown.lines().next().unwrap().contains("dV-exp"));
}

fn write(dir: &Path, lines: &str) -> String {
    let file = dir.join("starts.jsonl");
    fs::write(&file, lines).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn a_batch_answers_in_order_and_alike_on_any_number_of_threads() {
    let dir = tempdir().unwrap();
    let starts = [[1.0, 0.0, 0.0], [-0.7, 0.3, 1.0], [0.2, 0.8, 2.0], [0.3, -0.9, -0.5]];
    let lines: Vec<_> = starts.iter().map(|x0| format!("{x0:?}\n\n")).collect();
    let file = write(dir.path(), &lines.concat());
    let args = ["unicycle", "--starts", &file, "--full"];
    let output = solve(&args).args(WEIGHTS).args(["--threads", "2"]).output().unwrap();
    let summary = text(&output.stderr);
    assert!(summary.contains("converged 4 of 4, iterations: median "), "{summary}");
    let printed = text(&output.stdout);
    assert_eq!(success(solve(&args).args(WEIGHTS).args(["--threads", "1"])), printed);
    assert_eq!(printed.lines().count(), starts.len());
    for (line, x0) in printed.lines().zip(starts) {
        let found: Value = serde_json::from_str(line).unwrap();
        assert_eq!(found["x0"], serde_json::json!(x0));
        let text = x0.map(|entry| entry.to_string()).join(",");
        let alone = answer(&[&["unicycle", "--x0", &text][..], &WEIGHTS].concat());
        assert_eq!(found["cost"], alone.cost);
        assert_eq!(found["iterations"], alone.iterations);
    }

    // One solve on two threads.
    let [one, two] = ["1", "2"].map(|n| {
        let found = full(&["unicycle", "--x0", "-1,-1,1", "--threads", n]);
        Full { seconds: None, ..found }
    });
    assert_eq!(one, two);
}

#[test]
fn random_starts_are_those_of_their_seed() {
    let starts = |args: &[&str]| -> Vec<Value> {
        let printed = success(solve(&["car", "--horizon", "20", "--random"]).args(args));
        printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect()
    };
    let five = starts(&["5", "--seed", "7"]);
    assert_eq!(five[..3], starts(&["3", "--seed", "7"]), "the first three of five");
    assert_ne!(five[0]["x0"], five[1]["x0"]);
    assert_ne!(five[0]["x0"], starts(&["1"])[0]["x0"]);
}

#[test]
fn starts_that_do_not_fit_are_refused_by_their_line() {
    let dir = tempdir().unwrap();
    for (lines, parts) in [
        ("[1, 2, 3]\n[1, 2]\n", ["line 2 of `", "x0 has 2 entries, but `unicycle` needs 3"]),
        ("\n[1, 2, \"a\"]\n", ["line 2 of `", "it is no list of numbers"]),
        ("[1, 2, null]\n", ["line 1 of `", "it is no list of numbers"]),
        (" \n\n", ["holds no start", "[a, b, …]"]),
    ] {
        let file = write(dir.path(), lines);
        let message = refusal(&mut solve(&["unicycle", "--starts", &file]));
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
    let message = refusal(&mut solve(&["unicycle", "--starts", "no/such/file"]));
    assert!(message.contains("cannot read the starts in `no/such/file`"), "{message}");
}

#[test]
fn mistakes_are_named_with_what_there_is() {
    for (args, parts) in [
        (&["unicycle", "--x0", "1,2"][..], ["x0 has 2 entries", "needs 3: x [m], y [m], θ [rad]"]),
        (&["unicycle", "--x0", "1,NaN,0"], ["entry 1 of `x0` is NaN", "must be finite"]),
        (&["unicycle", "--x0", "-1,b,0"], ["x0[1] is `b`", "no number"]),
        (&["unicycle", "--set", "solver.stp=1"], ["did you mean `solver.stop`?", "solver.threads"]),
        (&["unicycle", "--set", "solver.stop=-1"], ["`stop` is -1", "not negative"]),
        (&["unicycle", "--set", "solver.max_iterations=-1"], ["`-1`", "max_iterations"]),
        (&["unicycle", "--set", "state_weigt=1"], ["`state_weight`", "terminal_weight"]),
        (&["unicycle", "--set", "method.alpha=1"], ["`method.alpha` has no effect", "`solver.…`"]),
        (&["unicycle", "--discount", "1.5"], ["`discount` is 1.5", "in (0, 1]"]),
        (&["unicicle"], ["there is no task `unicicle`", "unicycle"]),
        (&["hopper"], ["the reward of `hopper` is no sum of costs", "unicycle, cartpole-gym"]),
    ] {
        let message = refusal(&mut solve(args));
        assert!(parts.iter().all(|part| message.contains(part)), "{args:?}: {message}");
    }
    let output = solve(&["unicycle", "--solver", "sqp"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let message = text(&output.stderr);
    assert!(message.contains("there is no solver `sqp`; the solvers are: fddp, ddp"), "{message}");
}

#[test]
fn list_names_the_solvers_and_their_tasks() {
    let printed = success(&mut common::command(&["list"]));
    assert!(printed.contains("Solvers (cargo xtask solve TASK --solver NAME, for "), "{printed}");
    assert!(printed.contains("box-fddp") && printed.contains("pendulum-ddp, double-pendulum"));
}
