//! The tasks `arm` and `reach`: numbers of the sheet, starts, robots from files, refusals.
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use bench_tasks::{BenchTask, Preset, TaskError, Variant};
use dynamics::check::check_against_differences;
use dynamics::{Move, RewardGradient, Stream, difference_reward};
use nalgebra::{DVector, Vector3};

/// A task of ten steps with some settings changed: held longer, rounding lets an arm fall.
fn build(name: &str, changes: &str) -> Result<Box<dyn BenchTask>, TaskError> {
    let entry = bench_tasks::find(name)?;
    let mut settings = (entry.settings)(Preset::Released)?;
    settings.insert("horizon".to_owned(), 10.into());
    settings.extend(changes.parse::<toml::Table>().unwrap());
    (entry.build)(Variant::Real, &settings)
}

fn refusal(settings: &str) -> String {
    let error = build("reach", settings).map(drop).unwrap_err();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// A robot's file that is removed at the end.
struct RobotFile(tempfile::NamedTempFile);

impl RobotFile {
    fn new(text: &str) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Self(file)
    }

    fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    /// Settings that name it, with more of them.
    fn and(&self, more: &str) -> String {
        format!("robot = {:?}\n{more}", self.path())
    }
}

const ARM: &str = r#"<robot name="two"><link name="base"/>
  <link name="upper"><inertial><mass value="2"/><origin xyz="0 0 0.2"/>
    <inertia ixx="0.02" iyy="0.02" izz="0.002" ixy="0" ixz="0" iyz="0"/></inertial></link>
  <link name="lower"><inertial><mass value="1"/><origin xyz="0 0 0.2"/>
    <inertia ixx="0.01" iyy="0.01" izz="0.001" ixy="0" ixz="0" iyz="0"/></inertial></link>
  <link name="hand"/>
  <joint name="shoulder" type="revolute"><parent link="base"/><child link="upper"/>
    <axis xyz="0 1 0"/><limit lower="0.5" upper="2" effort="30" velocity="3"/></joint>
  <joint name="elbow" type="revolute"><parent link="upper"/><child link="lower"/>
    <origin xyz="0 0 0.4"/><axis xyz="0 1 0"/>
    <limit lower="-2" upper="2" EFFORT velocity="3"/></joint>
  <joint name="wrist" type="fixed"><parent link="lower"/><child link="hand"/>
    <origin xyz="0 0 0.4"/></joint></robot>"#;

fn two_links() -> RobotFile {
    RobotFile::new(&ARM.replace("EFFORT", r#"effort="10""#))
}

/// Sum of costs of holding the first guess's controls.
fn guessed_cost(task: &dyn BenchTask) -> f64 {
    let task = task.as_task();
    let objective = task.objective().unwrap();
    let mut scratch = task.nominal().any_workspace();
    let mut ws = objective.stage.any_workspace();
    let (mut x, u) = (objective.x0.clone(), objective.us0);
    let (mut next, mut sum) = (x.clone(), 0.0);
    for t in 0..task.horizon() {
        sum += objective.stage.any_stage(&mut ws, t, &x, u);
        task.nominal().any_step(&mut scratch, &x, u, &[], &mut next).unwrap();
        std::mem::swap(&mut x, &mut next);
    }
    sum + objective.terminal.any_terminal(&mut objective.terminal.any_workspace(), &x)
}

#[test]
fn the_arm_starts_as_on_the_sheet() {
    let arm = build("arm", "").unwrap();
    let objective = arm.objective().unwrap();
    assert!(objective.control_limits.is_none());
    let gravity = [0.0, -25.503465, -0.528521, -0.021027, 0.0, -0.364738, 0.0];
    for (u, g) in objective.us0.iter().zip(gravity) {
        assert!((u - g).abs() < 1e-6);
    }
    // Held, the arm stays: ten steps at the same distance, 0.3 s.
    let distance: Vector3<f64> =
        Vector3::new(0.380389, -0.019990, 1.089793) - Vector3::new(-0.3, -0.4, 0.5);
    assert!((0.3 * distance.norm_squared() - guessed_cost(&*arm)).abs() < 1e-4);
    let ended = build("arm", "terminal_weight = [1.5]").unwrap();
    let by_end = guessed_cost(&*ended) - guessed_cost(&*arm);
    assert!((by_end - 1.5 * distance.norm_squared()).abs() < 1e-4);
    assert_eq!(arm.state_names()[8], "v joint2");
    assert_eq!(arm.action_bounds().high[0], 100.0);
    assert_eq!(arm.action_bounds().low[6], -40.0);
    let limited = build("arm", "u_max = [20.0]").unwrap();
    let objective = limited.objective().unwrap();
    assert_eq!(objective.control_limits.unwrap().low, [-20.0; 7]);
    assert_eq!(objective.us0[1], -20.0);
}

#[test]
fn episodes_of_the_arm_start_about_the_goal() {
    let arm = build("arm", "").unwrap();
    let middle = [-1.2062, 0.8035, 1.5311, 2.0016, -1.0634, 1.2727, 0.0];
    let limits = [2.96706, 2.0944, 2.96706, 2.0944, 2.96706, 2.0944, 3.05433];
    let (mut x, mut widest) = (DVector::zeros(14), [0.0_f64; 7]);
    let mut stream = Stream::new(3, "starts", 0);
    for _ in 0..500 {
        arm.sample_x0(&mut stream, &mut x);
        for i in 0..7 {
            assert!((x[i] - middle[i]).abs() <= 0.9 && x[i].abs() <= limits[i], "{i}: {}", x[i]);
            assert!(x[7 + i].abs() <= 0.01);
            widest[i] = widest[i].max((x[i] - middle[i]).abs());
        }
    }
    assert!(widest.iter().all(|reach| *reach > 0.85), "{widest:?}");
}

#[test]
fn derivatives_of_both_tasks_agree_with_differences() {
    let file = two_links();
    let hand = file.and("goal = [0.3, 0.1, 0.4]\norientation_weight = 0.5\nsubsteps = 2");
    for task in [build("arm", "").unwrap(), build("reach", &hand).unwrap()] {
        let mut stream = Stream::new(0, "points", 0);
        let (ndx, nu) = (task.nominal().any_ndx(), task.nominal().any_nu());
        for (x, u) in task.check_points(&mut stream, 20) {
            for check in check_against_differences(task.nominal(), &x, &u).unwrap() {
                assert!(check.error < 1e-6, "{check:?}");
            }
            let mut scratch = task.reward_scratch();
            let mut found = RewardGradient::zeros(ndx, nu);
            let mut expected = found.clone();
            let m = Move { t: task.horizon() - 1, x: &x, u: &u, x_next: &x };
            task.reward_gradient(&mut scratch, &m, &mut found);
            difference_reward(task.as_task(), &mut scratch, &m, &mut expected);
            let scale = expected.r_x.amax().max(1.0);
            assert!((&found.r_x - &expected.r_x).amax() < 1e-5 * scale);
            assert!((&found.r_u - &expected.r_u).amax() < 1e-5 * scale);
        }
    }
}

#[test]
fn a_robot_file_needs_no_code() {
    let file = two_links();
    let task = build("reach", &file.and("goal = [0.3, 0.0, 0.4]\nlimit_weight = 0.0")).unwrap();
    let x0 = task.objective().unwrap().x0;
    // Next to 0 within the limits.
    assert_eq!(x0.as_slice(), [0.5, 0.0, 0.0, 0.0]);
    let hand = Vector3::new(0.8 * 0.5_f64.sin(), 0.0, 0.8 * 0.5_f64.cos());
    let expected = 0.3 * (hand - Vector3::new(0.3, 0.0, 0.4)).norm_squared();
    assert!((guessed_cost(&*task) - expected).abs() < 1e-9, "the last link is the hand");
    let upper =
        build("reach", &file.and("goal = [0.0, 0.0, 1.0]\nframe = \"upper\"\nlimit_weight = 0.0"))
            .unwrap();
    assert!((guessed_cost(&*upper) - 0.3).abs() < 1e-9, "the shoulder is at the origin");
    // Turned by 0.5 about y, to be turned by 0.2.
    let turned = file.and(
        "goal = [0.0, 0.0, 0.0]\nframe = \"upper\"\ngoal_rpy = [0.0, 0.2, 0.0]\nlimit_weight = 0.0",
    );
    let turned = build("reach", &format!("{turned}\norientation_weight = 1.0")).unwrap();
    assert!((guessed_cost(&*turned) - 0.15 * 0.09).abs() < 1e-9);
    let limited = build("reach", &file.and("effort_limits = true\nu_max = [20.0]")).unwrap();
    assert_eq!(limited.objective().unwrap().control_limits.unwrap().high, [20.0, 10.0]);
    let floating = build("reach", &file.and("floating_base = true")).unwrap();
    let (nx, ndx, nu) =
        (floating.plant().any_nx(), floating.plant().any_ndx(), floating.plant().any_nu());
    assert_eq!((nx, ndx, nu), (17, 16, 2));
    assert_eq!(floating.state_names()[6], "q root qw");
    assert_eq!(floating.state_names()[14], "v root ωz");
    let same = build("reach", "x0 = [0.1, 0.7, 0, 0.7, -0.5, 1.5, 0, 0, 0, 0, 0, 0, 0, 0]");
    assert_eq!(
        same.unwrap().objective().unwrap().us0,
        build("arm", "").unwrap().objective().unwrap().us0
    );
}

#[test]
fn a_robot_of_another_format_keeps_its_motors() {
    let text = r#"<mujoco><worldbody><body name="arm" pos="0 0 1">
      <joint name="hinge" type="hinge" axis="0 1 0"/>
      <inertial pos="0 0 -0.5" mass="2" diaginertia="0.1 0.1 0.01"/></body></worldbody>
      <actuator><motor joint="hinge" gear="5" ctrlrange="-1 2"/></actuator></mujoco>"#;
    let file = RobotFile::new(text);
    let task = build("reach", &file.and("effort_limits = true\nx0 = [0.4, 0.0]")).unwrap();
    let objective = task.objective().unwrap();
    let limits = objective.control_limits.unwrap();
    assert_eq!((limits.low[0], limits.high[0]), (-1.0, 2.0));
    // Gravity's torque over the gear.
    let expected = 2.0 * 9.81 * 0.5 * 0.4_f64.sin() / 5.0;
    assert!((objective.us0[0].abs() - expected).abs() < 1e-9, "{}", objective.us0[0]);
}

#[test]
fn refusals_name_file_key_and_what_there_is() {
    let file = two_links();
    let path = file.path();
    let text = refusal(&file.and("frame = \"hnad\""));
    let expected = format!(
        "task `reach`: `frame` does not fit robot `{path}`: there is no frame `hnad`; there are: \
         base, upper, lower, hand"
    );
    assert_eq!(text, expected);
    let text = refusal("robot = \"no/such.urdf\"");
    assert!(text.starts_with("task `reach`: `robot` cannot be read: no/such.urdf"), "{text}");
    let text = refusal(&file.and("frame = \"base\""));
    assert!(text.contains("the number of joints that move the frame is 0"), "{text}");
    let weak = RobotFile::new(&ARM.replace("EFFORT", ""));
    let text = refusal(&weak.and("effort_limits = true"));
    assert!(text.contains("no limit for joint `elbow`"), "{text}");
    let text = refusal("goal = [0.0, 1.0]");
    assert!(text.contains("`goal` has 2 entries, but needs 3"), "{text}");
    let text = refusal(&file.and("x0 = [0.0, 1.0]"));
    assert!(text.contains("`x0` has 2 entries, but needs 4"), "{text}");
    let text = refusal("goal_weight = -2.0");
    assert!(text.contains("goal_weight is -2"), "{text}");
    let text = refusal("gaol = [0.0]");
    assert!(text.contains("gaol"), "{text}");
}
