//! `probe --robot` and `check-robot` run as a user runs them: against a double pendulum, a falling
//! brick and a slider of our own; shapes, batches, messages.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use serde::Deserialize;
use serde_json::Value;

/// What `probe --robot` prints, and nothing else.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    joint_names: Vec<String>,
    qdd: Vec<f64>,
    dqdd_dq: Vec<Vec<f64>>,
    dqdd_dv: Vec<Vec<f64>>,
    dqdd_dtau: Vec<Vec<f64>>,
    rnea: Vec<f64>,
    mass_matrix: Vec<Vec<f64>>,
}

fn data(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name).display().to_string()
}

fn xtask(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask")).args(args).output().unwrap()
}

fn probe(robot: &str, args: &[&str]) -> Output {
    xtask(&[&["probe", "--robot", &data(robot)], args].concat())
}

#[track_caller]
fn answer(robot: &str, args: &[&str]) -> Answer {
    let output = probe(robot, args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The message of a run that must fail with the given status and print nothing on stdout.
#[track_caller]
fn refusal(args: &[&str], status: i32) -> String {
    let output = xtask(args);
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    assert_eq!(output.stdout, b"", "an error leaves nothing on stdout");
    String::from_utf8(output.stderr).unwrap()
}

/// Entries separated by commas, every digit kept.
fn list(values: &[f64]) -> String {
    values.iter().map(|v| format!("{v:?}")).collect::<Vec<_>>().join(",")
}

#[track_caller]
fn assert_close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1.0_f64, |max, x| max.max(x.abs()));
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance * scale, "{what}[{i}] is {a}, not {b}");
    }
}

/// A state of the double pendulum: q, v, τ.
type State = [[f64; 2]; 3];

/// The double pendulum of the file, from the textbook's equations in relative angles.
#[derive(Clone, Copy)]
struct Pendulum {
    /// Whether damping, friction and the elbow's limit act.
    joint_forces: bool,
}

impl Pendulum {
    fn mass_matrix(q: [f64; 2]) -> [[f64; 2]; 2] {
        let (m1, m2, i1, i2, c1, c2, l1) = (1.5, 0.8, 0.06, 0.03, 0.3, 0.2, 0.7);
        let cross = m2 * l1 * c2 * q[1].cos();
        let m22 = i2 + m2 * c2 * c2;
        let m11 = i1 + m1 * c1 * c1 + m2 * l1 * l1 + 2.0 * cross + m22;
        [[m11, m22 + cross], [m22 + cross, m22]]
    }

    /// Joint forces that keep the acceleration at `a`.
    fn inverse(&self, q: [f64; 2], v: [f64; 2], a: [f64; 2]) -> [f64; 2] {
        let (m1, m2, c1, c2, l1, g) = (1.5, 0.8, 0.3, 0.2, 0.7, 9.81);
        let m = Self::mass_matrix(q);
        let h = m2 * l1 * c2 * q[1].sin();
        let low = m2 * c2 * g * (q[0] + q[1]).sin();
        let high = (m1 * c1 + m2 * l1) * g * q[0].sin();
        let mut tau = [
            m[0][0] * a[0] + m[0][1] * a[1] - h * v[1] * (2.0 * v[0] + v[1]) + high + low,
            m[1][0] * a[0] + m[1][1] * a[1] + h * v[0] * v[0] + low,
        ];
        if self.joint_forces {
            tau[0] += 0.25 * v[0];
            tau[1] += 0.4 * v[1] + 0.1 * (50.0 * v[1]).tanh();
            if q[1] > 2.0 {
                tau[1] += 1e3 * (q[1] - 2.0) + 10.0 * v[1];
            }
        }
        tau
    }

    fn forward(&self, [q, v, tau]: State) -> [f64; 2] {
        let m = Self::mass_matrix(q);
        let bias = self.inverse(q, v, [0.0; 2]);
        let b = [tau[0] - bias[0], tau[1] - bias[1]];
        let det = m[0][0] * m[1][1] - m[0][1] * m[1][0];
        [(b[0] * m[1][1] - m[0][1] * b[1]) / det, (m[0][0] * b[1] - m[1][0] * b[0]) / det]
    }

    /// Derivative of the acceleration by entry `entry` of part `part` of the state, by differences.
    fn slope(&self, state: State, part: usize, entry: usize) -> [f64; 2] {
        let h = 1e-5;
        let moved = |h: f64| {
            let mut state = state;
            state[part][entry] += h;
            self.forward(state)
        };
        let (above, below) = (moved(h), moved(-h));
        [0, 1].map(|i| (above[i] - below[i]) / (2.0 * h))
    }
}

#[track_caller]
fn assert_pendulum(found: &Answer, pendulum: Pendulum, state: State, a: [f64; 2]) {
    let [q, v, _] = state;
    // Depth first, although the file names the elbow first.
    assert_eq!(found.joint_names, ["shoulder", "elbow"]);
    assert_close("qdd", &found.qdd, &pendulum.forward(state), 1e-12);
    assert_close("rnea", &found.rnea, &pendulum.inverse(q, v, a), 1e-12);
    let expected = Pendulum::mass_matrix(q);
    assert_eq!(found.mass_matrix.len(), 2);
    for (row, expected) in found.mass_matrix.iter().zip(expected) {
        assert_close("mass_matrix", row, &expected, 1e-13);
    }
    let blocks = [&found.dqdd_dq, &found.dqdd_dv, &found.dqdd_dtau];
    for (part, block) in blocks.into_iter().enumerate() {
        assert_eq!(block.len(), 2);
        for (column, expected) in [0, 1].map(|j| (j, pendulum.slope(state, part, j))) {
            let found = [block[0][column], block[1][column]];
            assert_close(&format!("block {part}"), &found, &expected, 1e-6);
        }
    }
}

#[test]
fn an_arm_has_the_dynamics_of_the_textbook() {
    let a = [2.0, -1.5];
    for state in [
        [[0.3, -0.7], [1.2, -0.5], [3.0, -1.0]],
        [[-1.1, 1.3], [-2.0, 4.0], [-0.25, 0.5]],
        // The elbow is beyond its limit.
        [[-4.0, 2.05], [0.3, 0.2], [0.0, 0.0]],
    ] {
        // The first numbers of some lists are negative.
        let [q, v, tau] = state.map(|x| list(&x));
        let args = ["--q", &q, "--v", &v, "--tau", &tau, "--a", &list(&a)];
        let pure = answer("double_pendulum.urdf", &args);
        assert_pendulum(&pure, Pendulum { joint_forces: false }, state, a);
        let forced = answer("double_pendulum.urdf", &[&args[..], &["--joint-forces"]].concat());
        assert_pendulum(&forced, Pendulum { joint_forces: true }, state, a);
    }
    let rest = [[0.0; 2]; 3];
    let neutral = answer("double_pendulum.urdf", &[]);
    assert_pendulum(&neutral, Pendulum { joint_forces: false }, rest, [0.0; 2]);
}

#[test]
fn children_follow_the_file_depth_first() {
    let tree = answer("tree.urdf", &["--floating-base"]);
    assert_eq!(tree.joint_names, ["root", "left_hip", "left_ankle", "right_hip"]);
    assert_eq!(answer("tree.urdf", &[]).joint_names, ["left_hip", "left_ankle", "right_hip"]);
    for block in [&tree.dqdd_dq, &tree.dqdd_dv, &tree.dqdd_dtau, &tree.mass_matrix] {
        assert_eq!(block.len(), 9);
        assert!(block.iter().all(|row| row.len() == 9));
    }
    // The camera weighs nothing.
    let total = tree.mass_matrix[0][0];
    assert!((total - 6.3).abs() < 1e-12, "{total}");
}

#[test]
fn a_floating_brick_falls_and_tumbles_in_its_own_axes() {
    // A quarter turn about x: what is up in the world is y of the brick.
    let half = std::f64::consts::FRAC_1_SQRT_2;
    let q = [0.5, -1.0, 2.0, half, 0.0, 0.0, half];
    let (v, w) = ([1.0, -2.0, 0.5], [0.3, 0.7, -1.1]);
    let tau = [4.0, 1.0, -2.0, 0.2, -0.1, 0.4];
    let args =
        ["--floating-base", "--q", &list(&q), "--v", &list(&[v, w].concat()), "--tau", &list(&tau)];
    let found = answer("brick.urdf", &args);
    assert_eq!(found.joint_names, ["root"]);
    let cross = |a: [f64; 3], b: [f64; 3]| {
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    };
    let (mass, moments) = (2.0, [0.3, 0.4, 0.6]);
    let gravity = [0.0, -9.81, 0.0];
    let carried = cross(w, v);
    // v̇ = f/m + Rᵀg − ω × v, I ω̇ = τ − ω × I ω
    let gyroscopic = cross(w, [0, 1, 2].map(|k| moments[k] * w[k]));
    let mut expected = [0.0; 6];
    for k in 0..3 {
        expected[k] = tau[k] / mass + gravity[k] - carried[k];
        expected[3 + k] = (tau[3 + k] - gyroscopic[k]) / moments[k];
    }
    assert_close("qdd", &found.qdd, &expected, 1e-14);
    // Moved along its own axes it feels the same; turned by δ, gravity changes by g × δ.
    for row in 0..3 {
        let by_turn = cross(gravity, [0, 1, 2].map(|k| if k == row { 1.0 } else { 0.0 }));
        let column: Vec<f64> = (0..3).map(|i| found.dqdd_dq[i][3 + row]).collect();
        assert_close("turned", &column, &by_turn, 1e-14);
        assert!((0..6).all(|i| found.dqdd_dq[i][row].abs() < 1e-14));
    }
}

#[test]
fn quaternions_must_have_unit_length() {
    let file = data("brick.urdf");
    let pose =
        |q: &str| ["probe", "--robot", &file, "--floating-base", "--q", q].map(str::to_owned);
    let run = |q: &str| xtask(&pose(q).each_ref().map(String::as_str));
    let long = run("0,0,0,0,0,0.1,1");
    assert_eq!((long.status.code(), long.stdout.len()), (Some(1), 0));
    let message = String::from_utf8(long.stderr).unwrap();
    assert!(message.starts_with("error: `brick`: the norm of a quaternion in `q` is 1.00"));
    assert!(message.contains("must be 1: order x, y, z, w"), "{message}");
    assert!(run("0,0,0,0,0,-0.6,0.8").status.success());
}

#[test]
fn an_mjcf_robot_has_its_own_joint_forces_but_the_gravity_of_all() {
    let point = ["--q=-0.2", "--v", "-0.5", "--tau", "7", "--a", "2"];
    let pure = answer("slider.xml", &point);
    assert_eq!(pure.joint_names, ["rail"]);
    assert_close("qdd", &pure.qdd, &[7.0 / 3.0 - 9.81], 1e-14);
    assert_close("rnea", &pure.rnea, &[3.0 * (2.0 + 9.81)], 1e-14);
    assert_eq!(pure.mass_matrix, [[3.0]]);
    let forced = answer("slider.xml", &[&point[..], &["--joint-forces"]].concat());
    // Spring, damper, weight; the rotor adds to the mass.
    let passive = 30.0 * 0.3 + 2.0 * 0.5 - 3.0 * 9.81;
    assert_close("qdd", &forced.qdd, &[(7.0 + passive) / 3.5], 1e-14);
    assert_close("rnea", &forced.rnea, &[3.5 * 2.0 - passive], 1e-14);
    assert_eq!(forced.mass_matrix, [[3.5]]);
    assert_close("dqdd_dq", &forced.dqdd_dq[0], &[-30.0 / 3.5], 1e-14);
    assert_close("dqdd_dv", &forced.dqdd_dv[0], &[-2.0 / 3.5], 1e-14);
}

#[test]
fn warnings_are_announced_on_stderr_alone() {
    let output = probe("implausible.urdf", &[]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("warnings about `") && text.contains(": 2; `cargo xtask check-robot"));
    serde_json::from_slice::<Answer>(&output.stdout).unwrap();
    assert_eq!(probe("double_pendulum.urdf", &[]).stderr, b"");
}

#[test]
fn a_task_and_a_robot_exclude_each_other() {
    let file = data("brick.urdf");
    let both = refusal(&["probe", "cartpole", "--robot", &file], 2);
    assert!(both.contains("cannot be used with"), "{both}");
    let neither = refusal(&["probe"], 2);
    assert!(neither.contains("TASK") && neither.contains("--robot"), "{neither}");
    let state = refusal(&["probe", "--robot", &file, "--state", "0", "--action", "0"], 2);
    assert!(state.contains("cannot be used with"), "{state}");
    let preset = refusal(&["probe", "--robot", &file, "--preset", "paper"], 2);
    assert!(preset.contains("cannot be used with"), "{preset}");
    let q = refusal(&["probe", "cartpole", "--state=0,0,0,0", "--action=0", "--q", "1"], 2);
    assert!(q.contains("--q") && q.contains("TASK"), "{q}");
    let batch = refusal(&["probe", "--robot", &file, "--q", "1", "--batch", "x"], 2);
    assert!(batch.contains("cannot be used with"), "{batch}");
}

#[test]
fn messages_name_the_entries_that_are_needed() {
    let arm = data("double_pendulum.urdf");
    let of = |args: &[&str]| refusal(&[&["probe", "--robot", &arm], args].concat(), 1);
    let needs = "but `double_pendulum` needs 2: shoulder, elbow\n";
    assert_eq!(of(&["--q", "1,2,3"]), format!("error: q has 3 entries, {needs}"));
    assert_eq!(of(&["--v", "1"]), format!("error: v has 1 entries, {needs}"));
    assert_eq!(of(&["--tau", "-1"]), format!("error: tau has 1 entries, {needs}"));
    assert_eq!(of(&["--a", "1,2,3"]), format!("error: a has 3 entries, {needs}"));
    assert_eq!(of(&["--q", "1,x"]), "error: q[1] is `x`, which is no number\n");
    assert_eq!(of(&["--v", "inf,1"]), "error: v[0] is inf, but every entry must be finite\n");
    let brick = data("brick.urdf");
    let of = |args: &[&str]| refusal(&[&["probe", "--robot", &brick], args].concat(), 1);
    assert_eq!(
        of(&["--floating-base", "--q", "0"]),
        "error: q has 1 entries, but `brick` needs 7: root.x, root.y, root.z, root.qx, root.qy, \
         root.qz, root.qw\n"
    );
    assert!(of(&["--floating-base", "--v", "0"]).ends_with("root.wx, root.wy, root.wz\n"));
    assert_eq!(of(&[]), "error: `brick` has no joint that moves; --floating-base sets it free\n");
    let massless = refusal(&["probe", "--robot", &data("massless.urdf")], 1);
    let expected = "error: `massless`: the inertia that joint `wrist` moves is 0 here, but must be \
                    positive and finite; give the links behind it mass and inertia\n";
    assert!(massless.ends_with(expected), "{massless}");
    let broken = data("broken.urdf");
    let message = refusal(&["probe", "--robot", &broken], 1);
    assert!(message.starts_with(&format!("error: {broken}:5: ")), "{message}");
}

#[test]
fn a_batch_answers_each_line_and_puts_errors_in_their_place() {
    let lines = [
        r#"{"q": [-0.3, 0.7], "v": [1, 2], "tau": [0.5, -1], "a": [3, 4]}"#,
        r#"{"q": [1, 2, 3]}"#,
        "{}",
        r#"{"u": [1]}"#,
    ];
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(lines.join("\n").as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    let output = probe("double_pendulum.urdf", &["--batch", path]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        message,
        format!("error: lines of `{path}` without an answer: 2; the error stands in their place\n")
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<&str> = text.lines().collect();
    assert_eq!(answers.len(), 4);
    let parse = |line: &str| serde_json::from_str::<Answer>(line).unwrap();
    let args = ["--q=-0.3,0.7", "--v=1,2", "--tau=0.5,-1", "--a=3,4"];
    assert_eq!(parse(answers[0]), answer("double_pendulum.urdf", &args));
    assert_eq!(parse(answers[2]), answer("double_pendulum.urdf", &[]));
    for (line, reason) in [
        (1, "line 2: q has 3 entries, but `double_pendulum` needs 2: shoulder, elbow"),
        (3, "line 4: column 4: unknown field `u`"),
    ] {
        let value: Value = serde_json::from_str(answers[line]).unwrap();
        assert!(value["error"].as_str().unwrap().starts_with(reason), "{value}");
        assert_eq!(value.as_object().unwrap().len(), 1);
    }
}

/// Stdout of a `check-robot` that must end with the given status.
#[track_caller]
fn sheet(robot: &str, args: &[&str], status: i32) -> String {
    let output = xtask(&[&["check-robot", &data(robot)], args].concat());
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn row<'a>(text: &'a str, first: &str) -> Vec<&'a str> {
    let mut rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.find(|cells| cells.first() == Some(&first)).unwrap()
}

#[test]
fn a_sound_robot_is_described_and_passes() {
    let text = sheet("double_pendulum.urdf", &[], 0);
    assert!(text.starts_with("double_pendulum ("), "{text}");
    for part in [
        "links: 3, joints: 2, degrees of freedom: 2, entries of q: 2",
        "mass: 2.3 kg, of which 2.3 kg moves",
        "gravity: 0, 0, -9.81 m/s²",
        "Warnings: 0",
        "at 50 random states (seed 0), tolerance 1e-6",
    ] {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
    let elbow = row(&text, "elbow").join(" ");
    assert_eq!(elbow, "elbow revolute upper → lower 0, 1, 0 -1.5 … 2 20 8 0.4 0.1 0 0");
    let shoulder = row(&text, "shoulder").join(" ");
    assert_eq!(shoulder, "shoulder revolute stand → upper 0, 1, 0 −∞ … ∞ ∞ ∞ 0.25 0 0 0");
    assert_eq!(row(&text, "upper").join(" "), "upper 1.5 0, 0, -0.3 0.02, 0.05, 0.06");
    assert_eq!(text.matches(" yes").count(), 8, "{text}");
    assert!(!text.contains(" NO"), "{text}");
    assert_eq!(text, sheet("double_pendulum.urdf", &[], 0), "the states are drawn from the seed");
    assert_ne!(text, sheet("double_pendulum.urdf", &["--seed", "1"], 0));
}

#[test]
fn the_audit_covers_floating_bases_and_mjcf() {
    for (robot, args) in
        [("tree.urdf", vec!["--floating-base"]), ("tree.urdf", vec![]), ("slider.xml", vec![])]
    {
        let text = sheet(robot, &[&args[..], &["--json", "--points", "10"]].concat(), 0);
        let value: Value = serde_json::from_str(&text).unwrap();
        let audit = &value["audit"];
        assert_eq!((&audit["passed"], &audit["points"]), (&Value::Bool(true), &Value::from(10)));
        for check in audit["rows"].as_array().unwrap() {
            assert!(check["error"].as_f64().unwrap() <= 1e-6, "{robot}: {check}");
        }
    }
    let text = sheet("slider.xml", &[], 0);
    assert_eq!(row(&text, "push").join(" "), "push rail 4 -1 … 1");
    assert!(text.contains("time step of the file: 0.002 s"), "{text}");
    let still = sheet("brick.urdf", &[], 0);
    assert!(still.contains("No audit of derivatives: nothing moves; --floating-base"), "{still}");
}

#[test]
fn warnings_stand_with_their_lines_and_are_no_failure() {
    let text = sheet("implausible.urdf", &[], 0);
    let file = data("implausible.urdf");
    assert!(text.contains("Warnings: 2"), "{text}");
    assert!(text.contains(&format!("{file}:6: link `arm`: no body has this inertia")), "{text}");
    assert!(text.contains(&format!("{file}:11: `wheel` in `link` is not known")), "{text}");
    let value: Value = serde_json::from_str(&sheet("implausible.urdf", &["--json"], 0)).unwrap();
    assert_eq!(value["warnings"][0]["line"], 6);
    assert_eq!(value["joints"][0]["upper"], Value::Null);
    assert_eq!(value["links"][1]["moments"][2], 0.9);
}

#[test]
fn an_audit_out_of_bounds_is_a_failure() {
    for args in [&[][..], &["--json"]] {
        let output = xtask(&[&["check-robot", &data("speck.urdf")], args].concat());
        assert_eq!(output.status.code(), Some(1));
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.contains("of 8 checks of derivatives are out of bounds"), "{message}");
        let text = String::from_utf8(output.stdout).unwrap();
        match serde_json::from_str::<Value>(&text) {
            Ok(value) => assert_eq!(value["audit"]["passed"], false),
            Err(_) => assert!(text.contains(" NO "), "{text}"),
        }
    }
}

#[test]
fn files_that_cannot_be_used_fail() {
    let broken = data("broken.urdf");
    let message = refusal(&["check-robot", &broken], 1);
    assert!(message.starts_with(&format!("error: {broken}:5: ")), "{message}");
    assert!(message.contains("`revolut`") || message.contains("\"revolut\""), "{message}");
    let none = refusal(&["check-robot", "no/such/file.urdf"], 1);
    assert!(none.starts_with("error: no/such/file.urdf: the file cannot be read"), "{none}");
    // What is known of a robot without forward dynamics is still printed.
    let output = xtask(&["check-robot", &data("massless.urdf")]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("No audit of derivatives: no derivatives at random state 0: "), "{text}");
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("the inertia that joint `wrist` moves is 0"), "{message}");
}
