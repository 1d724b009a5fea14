//! `probe` run as a user runs it: numbers against a cartpole of our own, shapes, batches, roll-outs,
//! messages.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::f64::consts::{PI, TAU};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Output, Stdio};

use serde::Deserialize;

/// What `probe` prints, and nothing else.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    x_next: Vec<f64>,
    fx: Vec<Vec<f64>>,
    fu: Vec<Vec<f64>>,
    reward: f64,
    reward_gradient: Vec<f64>,
    terminated: bool,
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg("probe").args(args);
    command
}

fn run(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

fn answer(args: &[&str]) -> Answer {
    let output = run(args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stderr, b"");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The message of a run that must fail with the given status and print nothing on stdout.
#[track_caller]
fn refusal(args: &[&str], status: i32) -> String {
    let output = run(args);
    assert_eq!(output.status.code(), Some(status));
    assert_eq!(output.stdout, b"", "an error leaves nothing on stdout");
    String::from_utf8(output.stderr).unwrap()
}

/// Entries separated by commas, every digit kept.
fn list(values: &[f64]) -> String {
    values.iter().map(|v| format!("{v:?}")).collect::<Vec<_>>().join(",")
}

/// A cartpole written down a second time, from the equations of motion in matrix form.
#[derive(Clone, Copy)]
struct Cart {
    m_c: f64,
    m_p: f64,
    b: f64,
    mu: f64,
    deadband: f64,
    raising: bool,
}

const REAL: Cart = Cart { m_c: 1.8, m_p: 0.6, b: 0.08, mu: 0.6, deadband: 0.05, raising: true };
const PAPER: Cart = Cart { m_c: 2.0, raising: false, ..REAL };
const NOMINAL: Cart = Cart { m_c: 1.0, m_p: 0.2, b: 0.0, mu: 0.0, deadband: 0.0, raising: false };

impl Cart {
    fn xdot(&self, x: [f64; 4], u: f64) -> [f64; 4] {
        let Self { m_c, m_p, b, mu, deadband, raising } = *self;
        let (l, g) = (0.5, 9.81);
        let [_, theta, v, w] = x;
        let force = match (u.abs() < deadband, raising) {
            (false, _) => u,
            (true, true) if u != 0.0 => u.signum() * deadband,
            (true, _) => 0.0,
        };
        let right = [
            force - mu * (m_c + m_p) * g * (5.0 * v).tanh() - b * v + m_p * l * theta.sin() * w * w,
            -m_p * g * l * theta.sin() - b * w,
        ];
        // H [p̈, θ̈] = right, by Cramer's rule.
        let (h11, h12, h22) = (m_c + m_p, m_p * l * theta.cos(), m_p * l * l);
        let det = h11 * h22 - h12 * h12;
        [v, w, (right[0] * h22 - h12 * right[1]) / det, (h11 * right[1] - h12 * right[0]) / det]
    }

    /// One RK4 step of 0.05 s, not wrapped.
    fn step(&self, x: [f64; 4], u: f64) -> [f64; 4] {
        let dt = 0.05;
        let along = |k: [f64; 4], h: f64| std::array::from_fn(|i| x[i] + h * k[i]);
        let k1 = self.xdot(x, u);
        let k2 = self.xdot(along(k1, dt / 2.0), u);
        let k3 = self.xdot(along(k2, dt / 2.0), u);
        let k4 = self.xdot(along(k3, dt), u);
        std::array::from_fn(|i| x[i] + dt / 6.0 * (k1[i] + 2.0 * k2[i] + 2.0 * k3[i] + k4[i]))
    }

    /// Derivatives of a function of the next state in [x, u] by central differences.
    fn slopes<const N: usize>(
        &self,
        x: [f64; 4],
        u: f64,
        function: impl Fn([f64; 4]) -> [f64; N],
    ) -> [[f64; N]; 5] {
        let h = 1e-5;
        std::array::from_fn(|j| {
            let moved = |h: f64| {
                let (mut x, mut u) = (x, u);
                if j < 4 {
                    x[j] += h
                } else {
                    u += h
                }
                function(self.step(x, u))
            };
            let (above, below) = (moved(h), moved(-h));
            std::array::from_fn(|i| (above[i] - below[i]) / (2.0 * h))
        })
    }
}

/// Reward at the next state.
fn reward(x: [f64; 4]) -> f64 {
    let delta = (x[1] - PI).sin().atan2((x[1] - PI).cos());
    1.0 - 0.02 * x[0].powi(2) - 0.2 * delta.powi(2) - 0.001 * (x[2].powi(2) + x[3].powi(2))
}

/// Asserts that the printed transition is that of `cart`.
#[track_caller]
fn assert_transition(found: &Answer, cart: Cart, x: [f64; 4], u: f64) {
    let mut expected = cart.step(x, u);
    let slopes = cart.slopes(x, u, |x_next| x_next);
    let reward_slopes = cart.slopes(x, u, |x_next| [reward(x_next)]);
    assert!((found.reward - reward(expected)).abs() < 1e-12, "reward {}", found.reward);
    expected[1] = expected[1].rem_euclid(TAU);
    assert_eq!((found.fx.len(), found.fu.len(), found.reward_gradient.len()), (4, 4, 5));
    for i in 0..4 {
        assert!((found.x_next[i] - expected[i]).abs() < 1e-12, "x_next[{i}]: {found:?}");
        assert_eq!((found.fx[i].len(), found.fu[i].len()), (4, 1));
        for (j, slope) in slopes[..4].iter().enumerate() {
            assert!((found.fx[i][j] - slope[i]).abs() < 1e-6, "fx[{i}][{j}]: {found:?}");
        }
        assert!((found.fu[i][0] - slopes[4][i]).abs() < 1e-6, "fu[{i}]: {found:?}");
    }
    for (j, [slope]) in reward_slopes.iter().enumerate() {
        let difference = found.reward_gradient[j] - slope;
        assert!(difference.abs() < 1e-6, "reward_gradient[{j}]: {found:?}");
    }
}

const POINTS: [([f64; 4], f64); 5] = [
    ([0.3, 2.0, -0.4, 1.5], 7.0),
    ([-1.2, 5.9, 2.0, -6.0], -33.25),
    ([0.0, 3.0, 0.0, 0.0], 0.02),
    ([0.5, -7.5, 0.01, 9.0], -0.03),
    // Just above the downward position and falling through it: θ is wrapped to almost 2π.
    ([0.0, 0.1, 0.0, -5.0], 1.0),
];

#[test]
fn transitions_are_those_of_an_independent_cartpole() {
    for (x, u) in POINTS {
        let (state, action) = (list(&x), list(&[u]));
        let point = ["cartpole", "--state", &state, "--action", &action];
        let with = |more: &[&str]| answer(&[&point[..], more].concat());
        assert_transition(&with(&[]), REAL, x, u);
        assert_transition(&with(&["--variant", "real", "--preset", "released"]), REAL, x, u);
        assert_transition(&with(&["--preset", "paper"]), PAPER, x, u);
        assert_transition(&with(&["--variant", "nominal"]), NOMINAL, x, u);
        let heavy = Cart { m_c: 2.5, ..REAL };
        assert_transition(&with(&["--set", "real.cart_mass=2.5"]), heavy, x, u);
        assert_transition(&with(&["--set", "task.real.cart_mass=2.5"]), heavy, x, u);
    }
    let (x, u) = POINTS[4];
    let wrapped = answer(&["cartpole", "--state", &list(&x), "--action", &list(&[u])]).x_next[1];
    assert!(REAL.step(x, u)[1] < 0.0 && (6.0..TAU).contains(&wrapped));
}

#[test]
fn nominal_derivatives_keep_the_real_next_state() {
    let (x, u) = POINTS[1];
    let point = ["cartpole", "--state", &list(&x), "--action", &list(&[u])];
    let mixed = answer(&[&point[..], &["--derivatives", "nominal"]].concat());
    let own = answer(&point);
    let nominal = answer(&[&point[..], &["--variant", "nominal"]].concat());
    assert_eq!((&mixed.x_next, mixed.reward), (&own.x_next, own.reward));
    assert_eq!((&mixed.fx, &mixed.fu), (&nominal.fx, &nominal.fu));
    // ∂r/∂x' at the real next state, chained by hand.
    let y = &own.x_next;
    let r = [-0.04 * y[0], -0.4 * (y[1] - PI), -0.002 * y[2], -0.002 * y[3]];
    for j in 0..5 {
        let chained: f64 =
            (0..4).map(|i| r[i] * if j < 4 { nominal.fx[i][j] } else { nominal.fu[i][0] }).sum();
        assert!((mixed.reward_gradient[j] - chained).abs() < 1e-12, "{j}");
    }
    assert_ne!(mixed.reward_gradient, own.reward_gradient);
    assert_ne!(mixed.reward_gradient, nominal.reward_gradient);
}

#[test]
fn the_task_ends_below_minus_ten_and_never_for_the_time_limit() {
    let far = answer(&["cartpole", "--state", "-24,3.14,0,0", "--action", "0"]);
    assert!(far.terminated && far.reward < -10.0 && far.reward > -11.0);
    let last = answer(&["cartpole", "--state", "0,3,0,0", "--action=-1", "--set", "horizon=1"]);
    assert!(!last.terminated);
}

#[test]
fn printed_numbers_read_back_bit_for_bit() {
    use bench_tasks::{Preset, Variant};
    use nalgebra::DVector;
    let (x, u) = ([0.1, 1.0 / 3.0, -2.0e-7, 1.0e-300], 0.7);
    let printed = answer(&["cartpole", "--state", &list(&x), "--action", &list(&[u])]);
    let entry = bench_tasks::find("cartpole").unwrap();
    let settings = (entry.settings)(Preset::Released).unwrap();
    let task = (entry.build)(Variant::Real, &settings).unwrap();
    let plant = task.plant();
    let mut x_next = DVector::zeros(4);
    let (x, u) = (DVector::from_row_slice(&x), DVector::from_row_slice(&[u]));
    plant.any_step(&mut plant.any_workspace(), &x, &u, &[], &mut x_next).unwrap();
    assert_eq!(printed.x_next, x_next.as_slice());
}

#[test]
fn wrong_usage_has_status_two() {
    let neither = refusal(&["cartpole"], 2);
    assert!(neither.contains("--state") && neither.contains("--batch"), "{neither}");
    let both = refusal(&["cartpole", "--state", "0", "--action", "0", "--batch", "x"], 2);
    assert!(both.contains("cannot be used with"), "{both}");
    let no_action = refusal(&["cartpole", "--state", "0,0,0,0"], 2);
    assert!(no_action.contains("--action"), "{no_action}");
    let no_state = refusal(&["cartpole", "--action", "0"], 2);
    assert!(no_state.contains("--state"), "{no_state}");
    let action_and_batch = refusal(&["cartpole", "--action", "0", "--batch", "x"], 2);
    assert!(action_and_batch.contains("cannot be used with"), "{action_and_batch}");
    let variant = refusal(&["cartpole", "--variant", "unreal"], 2);
    assert!(variant.contains("real, nominal"), "{variant}");
    let preset = refusal(&["cartpole", "--preset", "x"], 2);
    assert!(preset.contains("released, paper"), "{preset}");
}

#[test]
fn messages_say_what_is_wrong_and_what_is_needed() {
    let point =
        |state: &str, action: &str| refusal(&["cartpole", "--state", state, "--action", action], 1);
    assert_eq!(
        point("1,2,3", "0"),
        "error: state has 3 entries, but `cartpole` needs 4: p [m], θ [rad], ṗ [m/s], θ̇ [rad/s]\n"
    );
    assert_eq!(point("0,0,0,0", "1,2"), "error: action has 2 entries, but `cartpole` needs 1\n");
    assert_eq!(point("0,1e,0,0", "1"), "error: state[1] is `1e`, which is no number\n");
    assert_eq!(point("0,,0,0", "1"), "error: state[1] is ``, which is no number\n");
    assert_eq!(point("0,0,0,0", "--x"), "error: action[0] is `--x`, which is no number\n");
    assert_eq!(point("0,0,nan,0", "1"), "error: state[2] is NaN, but every entry must be finite\n");
    assert_eq!(
        point("0,0,0,0", "-inf"),
        "error: action[0] is -inf, but every entry must be finite\n"
    );
    let unknown = refusal(&["cartpool", "--state", "0", "--action", "0"], 1);
    assert!(
        unknown.starts_with("error: there is no task `cartpool`; the tasks are: cartpole"),
        "{unknown}"
    );
    let far = point("0,0,0,1e200", "1");
    assert!(far.starts_with("error: `cartpole`: entry") && far.contains("of `x_next`"), "{far}");
}

#[test]
fn settings_that_do_not_fit_are_refused() {
    let set = |assignment: &str| {
        refusal(&["cartpole", "--state=0,0,0,0", "--action=0", "--set", assignment], 1)
    };
    let unknown = set("real.cart_mas=2");
    assert!(
        unknown.starts_with(
            "error: there is no setting `real.cart_mas`; did you mean `real.cart_mass`? valid keys: "
        ) && unknown.contains("nominal.cart_mass"),
        "{unknown}"
    );
    assert!(set("metod.alpha=1").contains("did you mean `method.alpha`?"));
    assert_eq!(
        set("method.alpha=1"),
        "error: `method.alpha` has no effect here; `probe` takes settings of the task only\n"
    );
    assert_eq!(
        set("real.cart_mass=x"),
        "error: `real.cart_mass` is `x`, but must be a finite number (default 1.8)\n"
    );
    assert!(set("real.cart_mass=-1").contains("cart_mass is -1, but must be positive and finite"));
    let kind = set("real.deadband_kind=soft");
    assert!(kind.contains("`zeroing` or `raising`") && kind.lines().count() == 1, "{kind}");
    assert!(set("horizon=-1").contains("horizon"), "{}", set("horizon=-1"));
    assert!(set("horizon").contains("has no `=`"));
}

/// Runs a batch given on standard input.
fn batch(input: &[u8], more: &[&str]) -> Output {
    let mut child = command(&[&["cartpole", "--batch", "-"], more].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    output
}

#[test]
fn a_batch_answers_line_by_line_what_single_probes_answer() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for (x, u) in POINTS {
        // Blank lines are skipped.
        writeln!(file, "{{\"state\": [{}], \"action\": [{}]}}\n  ", list(&x), list(&[u])).unwrap();
    }
    let output = run(&["cartpole", "--preset=paper", "--batch", file.path().to_str().unwrap()]);
    assert!(output.status.success());
    assert_eq!(output.stderr, b"");
    let lines: Vec<Answer> =
        output.stdout.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert_eq!(lines.len(), POINTS.len());
    for (found, (x, u)) in lines.iter().zip(POINTS) {
        let single = ["cartpole", "--preset=paper", "--state", &list(&x), "--action", &list(&[u])];
        assert_eq!(*found, answer(&single));
    }
}

#[test]
fn a_bad_line_gives_an_error_in_its_place_and_status_one_at_the_end() {
    let good = r#"{"state": [0, 3, 0, 0], "action": [1]}"#;
    let bad: [(&[u8], &str); 8] = [
        (b"{\"state\": [0, 3, 0], \"action\": [1]}", "state has 3 entries, but `cartpole` needs 4"),
        (b"{\"state\": [0, 3, 0, 0]}", "missing field `action`"),
        (b"{\"state\": [0, 3, 0, 0], \"action\": [1], \"t\": 1}", "unknown field `t`"),
        (b"{\"state\": [0, NaN, 0, 0], \"action\": [1]}", "column 15: expected value"),
        (b"{\"state\": [0, 1e999, 0, 0], \"action\": [1]}", "number out of range"),
        (b"{\"state\": [0, 3, 0, \"1\"], \"action\": [1]}", "invalid type: string \"1\""),
        (b"nonsense", "column 2: expected ident"),
        (b"\xff\xfe", "column 1: expected value"),
    ];
    let mut input = Vec::new();
    for (line, _) in bad {
        input.extend_from_slice(good.as_bytes());
        input.push(b'\n');
        input.extend_from_slice(line);
        input.push(b'\n');
    }
    input.extend_from_slice(good.as_bytes()); // no line feed at the end
    let output = batch(&input, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: lines of `-` without an answer: 8; the error stands in their place\n"
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2 * bad.len() + 1);
    for (i, (_, reason)) in bad.iter().enumerate() {
        assert_eq!(lines[2 * i], lines[2 * bad.len()], "good lines between bad ones");
        let value: serde_json::Value = serde_json::from_str(lines[2 * i + 1]).unwrap();
        assert_eq!(value.as_object().unwrap().len(), 1);
        let message = value["error"].as_str().unwrap();
        assert!(message.starts_with(&format!("line {}: ", 2 * i + 2)), "{message}");
        assert!(message.contains(reason), "{message}, not {reason}");
        assert!(!message.contains("at line 1"), "{message}");
    }
}

#[test]
fn an_empty_batch_is_no_error_and_an_unreadable_one_is() {
    let output = batch(b"\n\n", &[]);
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty());
    let message = refusal(&["cartpole", "--batch", "no/such/file"], 1);
    assert!(message.starts_with("error: cannot open `no/such/file`\n  caused by: "), "{message}");
    let folder = tempfile::tempdir().unwrap();
    let message = refusal(&["cartpole", "--batch", folder.path().to_str().unwrap()], 1);
    assert!(message.starts_with("error: ") && message.lines().count() >= 2, "{message}");
}

#[test]
fn a_tool_can_wait_for_each_answer_before_it_asks_again() {
    let mut child = command(&["cartpole", "--batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        writeln!(stdin, r#"{{"state": [0, 3, 0, 0], "action": [1]}}"#).unwrap();
        assert!(answers.next().unwrap().unwrap().starts_with("{\"x_next\":["));
    }
    drop(stdin);
    assert!(answers.next().is_none());
    assert!(child.wait().unwrap().success());
}

#[cfg(unix)]
#[test]
fn a_reader_that_stops_early_ends_a_batch_quietly() {
    let mut child = command(&["cartpole", "--batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let line = b"{\"state\": [0, 3, 0, 0], \"action\": [1]}\n";
    stdin.write_all(line).unwrap();
    let mut first = String::new();
    stdout.read_line(&mut first).unwrap();
    drop(stdout);
    // The next answer finds nobody; from then on the child takes no more lines either.
    while stdin.write_all(line).is_ok() {}
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

/// What `probe --rollout` prints, and nothing else.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rollout {
    states: Vec<Vec<f64>>,
    rewards: Vec<f64>,
    terminated: Option<usize>,
}

fn file_with(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn rollout(task: &str, state: &[f64], actions: &[Vec<f64>], more: &[&str]) -> Rollout {
    let actions = actions.iter().map(|u| format!("[{}]", list(u))).collect::<Vec<_>>().join(",");
    let text = format!("{{\"state\": [{}],\n \"actions\": [{actions}]}}\n", list(state));
    let file = file_with(&text);
    let output = run(&[&[task, "--rollout", file.path().to_str().unwrap()], more].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stderr, b"");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn a_roll_out_is_a_chain_of_single_probes_bit_for_bit() {
    use bench_tasks::{Preset, Variant};
    use dynamics::Stream;
    use nalgebra::DVector;
    for name in ["cartpole", "pendulum", "hopper", "halfcheetah"] {
        let entry = bench_tasks::find(name).unwrap();
        let settings = (entry.settings)(Preset::Released).unwrap();
        let task = (entry.build)(Variant::Real, &settings).unwrap();
        let mut stream = Stream::new(7, "probe-rollout", 0);
        let mut x0 = DVector::zeros(task.plant().any_nx());
        task.sample_x0(&mut stream, &mut x0);
        let nu = task.plant().any_nu();
        let actions: Vec<Vec<f64>> =
            (0..12).map(|_| (0..nu).map(|_| 0.8 * stream.normal()).collect()).collect();
        for more in [&[][..], &["--variant", "nominal"]] {
            let found = rollout(name, x0.as_slice(), &actions, more);
            assert_eq!((found.states.len(), found.rewards.len()), (13, 12), "{name}");
            let mut state = x0.as_slice().to_vec();
            let mut terminated = None;
            for (t, action) in actions.iter().enumerate() {
                assert_eq!(bits(&found.states[t]), bits(&state), "{name} {more:?}, step {t}");
                let point = [name, "--state", &list(&state), "--action", &list(action)];
                let single = answer(&[&point[..], more].concat());
                assert_eq!(found.rewards[t].to_bits(), single.reward.to_bits(), "{name}, step {t}");
                terminated = terminated.or(single.terminated.then_some(t));
                state = single.x_next;
            }
            assert_eq!(bits(&found.states[12]), bits(&state), "{name} {more:?}, last");
            assert_ne!(found.states[12], found.states[0], "{name}");
            assert_eq!(found.terminated, terminated, "{name} {more:?}");
        }
    }
}

#[test]
fn a_roll_out_goes_on_beyond_the_end_that_it_names_and_beyond_the_time_limit() {
    let mut x = [-20.95, 0.05, -5.0, -1.5];
    let (x0, n_steps) = (x, 6);
    // The pole falls through θ = 0, which is wrapped.
    let found = rollout("cartpole", &x0, &vec![vec![-2.0]; n_steps], &["--set", "horizon=2"]);
    let mut first = None;
    for t in 0..n_steps {
        x = REAL.step(x, -2.0);
        if first.is_none() && reward(x) < -10.0 {
            first = Some(t);
        }
        x[1] = x[1].rem_euclid(TAU);
        for (i, expected) in x.into_iter().enumerate() {
            assert!((found.states[t + 1][i] - expected).abs() < 1e-11, "x[{i}] after {t}");
        }
        assert!((found.rewards[t] - reward(x)).abs() < 1e-11, "reward {t}");
    }
    assert_eq!(found.terminated, first);
    assert!(first.is_some_and(|t| t > 0 && t + 1 < n_steps), "{first:?}");
    assert_eq!(
        rollout("cartpole", &x0, &[], &[]),
        Rollout { states: vec![x0.to_vec()], rewards: vec![], terminated: None }
    );
}

#[test]
fn a_roll_out_that_does_not_fit_names_the_entry() {
    let message = |text: &str| {
        let file = file_with(text);
        let path = file.path().to_str().unwrap();
        refusal(&["cartpole", "--rollout", path], 1).replace(path, "FILE")
    };
    assert_eq!(
        message(r#"{"state": [0, 3, 0, 0], "actions": [[1], [1, 2], [3]]}"#),
        "error: actions[1] has 2 entries, but `cartpole` needs 1\n"
    );
    let short = message(r#"{"state": [0, 3, 0], "actions": []}"#);
    assert!(short.starts_with("error: state has 3 entries, but `cartpole` needs 4: "), "{short}");
    let shape = "error: `FILE` is no {\"state\": […], \"actions\": [[…], …]}\n  caused by: ";
    for (text, reason) in [
        (r#"{"state": [0, 3, 0, NaN], "actions": [[1]]}"#, "expected value at line 1 column 21"),
        (r#"{"state": [0, 3, 0, 0], "actions": [[1e999]]}"#, "number out of range"),
        (r#"{"state": [0, 3, 0, 0], "actions": [1]}"#, "invalid type: integer `1`"),
        (r#"{"state": [0, 3, 0, 0], "action": [1]}"#, "unknown field `action`"),
        (r#"{"state": [0, 3, 0, 0]}"#, "missing field `actions`"),
        (r#"{"state": [0, 3, 0, 0], "actions": []} 1"#, "trailing characters"),
        ("", "EOF while parsing"),
    ] {
        let found = message(text);
        assert!(found.starts_with(shape) && found.contains(reason), "{found}, not {reason}");
    }
    let diverging = message(r#"{"state": [0, 3, 0, 0], "actions": [[1], [1e200]]}"#);
    assert!(
        diverging.starts_with("error: the roll-out stops at actions[1]\n  caused by: `cartpole`: "),
        "{diverging}"
    );
    let missing = refusal(&["cartpole", "--rollout", "no/such/file"], 1);
    assert!(missing.starts_with("error: cannot open `no/such/file`\n  caused by: "), "{missing}");
    for other in [&["--state", "0", "--action", "0"][..], &["--batch=x"], &["--derivatives=own"]] {
        let usage = refusal(&[&["cartpole", "--rollout", "x"], other].concat(), 2);
        assert!(usage.contains("cannot be used with"), "{usage}");
    }
}
