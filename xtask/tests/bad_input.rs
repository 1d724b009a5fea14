//! What a user can get wrong, and files that are damaged or cannot be written: one message each
//! that says what, where and how to mend it, and nothing else is touched.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{
    LASTING, assert_same_cell, command, damage, names, refusal, success, text, train, trained,
};
use tempfile::tempdir;

#[test]
fn unknown_names_and_bad_values_are_told_and_leave_no_folder() {
    let dir = tempdir().unwrap();
    let out = dir.path().join("runs");
    let with = |task: &str, method: &str, set: &str| {
        let mut command = command(&["train", "--task", task, "--method", method, "--set", set]);
        let message = refusal(command.arg("--out").arg(&out));
        assert!(!out.exists(), "{set}: {message}");
        assert!(message.lines().count() <= 2, "{message}");
        message
    };
    let fine = "train.total_steps=100";
    assert!(with("cartpool", "sac", fine).contains("the tasks are: cartpole"));
    assert!(with("cartpole", "sca", fine).contains("the methods are: "));
    assert!(with("cartpole", "sca", fine).contains("vg-sac"));
    let set = |assignment: &str| with("cartpole", "vg-sac", assignment);
    let unknown = set("method.learning_rat=1");
    assert!(unknown.contains("did you mean `learning_rate`?"), "{unknown}");
    assert!(unknown.contains("value_gradient.zeta_s"), "{unknown}");
    for (assignment, parts) in [
        ("method.learning_rate=fast", ["`fast`", "a finite number"]),
        ("method.learning_rate=NaN", ["`NaN`", "a finite number"]),
        ("method.learning_rate=-1e-3", ["-0.001", "must be positive"]),
        ("method.batch_size=16.5", ["`16.5`", "an integer"]),
        ("method.batch_size=-4", ["-4", "`batch_size`"]),
        ("method.tau=2", ["`method.tau` is 2", "between 0 and 1"]),
        ("method.actor_hidden=[8,0]", ["[4, 8, 0, 2]", "at least 1"]),
        ("method.critic_activation=tahn", ["`tahn`", "`tanh`"]),
        ("method.value_gradient.target=papre", ["`papre`", "`paper`"]),
        ("method.value_gradient=1", ["is a group of settings", "value_gradient.zeta_s"]),
        ("train.total_steps=0", ["`train.total_steps` is 0", "at least 1"]),
        ("train.keep_best=yes", ["`yes`", "true or false"]),
        ("real.cart_mass=-1", ["cart_mass is -1", "positive"]),
        ("solver.stop=1", ["`solver.stop`", "no solver"]),
    ] {
        let message = set(assignment);
        assert!(parts.iter().all(|part| message.contains(part)), "{assignment}: {message}");
    }
}

#[test]
fn selections_of_reproduce_name_what_there_is() {
    let dir = tempdir().unwrap();
    let with = |args: &[&str]| {
        let mut command = command(&[&["reproduce", "--profile", "smoke"], args].concat());
        let message = refusal(command.arg("--out").arg(dir.path()));
        assert!(names(dir.path()).is_empty());
        message
    };
    assert!(with(&["vgsac"]).contains("vg-sac, vg-sac/fig2-cartpole"));
    assert!(with(&["--task", "pole"]).contains("the tasks are: cartpole"));
    assert!(with(&["--method", "sca"]).contains("the methods are: "));
    assert!(with(&["--set", "method.lr=1"]).contains("learning_rate"));
}

#[test]
fn folders_that_hold_no_run_or_report_are_told() {
    let dir = tempdir().unwrap();
    let empty = dir.path().to_str().unwrap();
    for name in ["eval", "play"] {
        let message = refusal(&mut command(&[name, "no/such/run"]));
        assert!(message.starts_with("error: `no/such/run` is no run folder"), "{message}");
        assert!(refusal(&mut command(&[name, empty])).contains("is no run folder"));
    }
    let message = refusal(&mut command(&["report", empty]));
    assert!(message.contains("is no report folder") && message.contains("reproduce"), "{message}");
    let message = refusal(&mut train("sac", dir.path(), &["--init-from", empty]));
    assert!(message.contains("is no finished run"), "{message}");
    assert!(names(dir.path()).is_empty());
}

#[test]
fn damaged_results_are_told_and_left_alone() {
    let dir = tempdir().unwrap();
    let cell = trained(&mut train("sac", dir.path(), &[]));
    let run = cell.to_str().unwrap();
    let policy = cell.join("policy.safetensors");
    let config = cell.join("config.toml");
    let [good_policy, good_config] = [&policy, &config].map(|path| fs::read(path).unwrap());

    for bad in [&good_policy[..good_policy.len() / 2], b"", b"nonsense and more of it"] {
        fs::write(&policy, bad).unwrap();
        let message = refusal(&mut command(&["eval", run]));
        assert!(message.contains("policy.safetensors` cannot be read"), "{message}");
        assert_eq!(fs::read(&policy).unwrap(), bad);
    }
    fs::remove_file(&policy).unwrap();
    assert!(refusal(&mut command(&["play", run])).contains("is the run finished?"));
    fs::write(&policy, &good_policy).unwrap();

    for bad in ["schema = 1\nnonsense", "schema = 1\n", "\u{0}"] {
        fs::write(&config, bad).unwrap();
        let message = refusal(&mut command(&["eval", run]));
        assert!(message.contains("config.toml` is damaged or of another version"), "{message}");
    }
    let other = text(&good_config).replace("schema = 1", "schema = 99");
    fs::write(&config, other).unwrap();
    assert!(refusal(&mut command(&["eval", run])).contains("has schema 99, this build reads 1"));
    fs::write(&config, &good_config).unwrap();
    success(&mut command(&["eval", run, "--episodes", "2"]));

    // Networks to start from.
    let networks = cell.join("networks.safetensors");
    fs::write(&networks, b"nonsense").unwrap();
    let message = refusal(&mut train("sac", dir.path(), &["--init-from", run]));
    assert!(message.contains("networks.safetensors` cannot be read"), "{message}");

    // A cell without its result is neither run again over what is there nor taken for whole.
    fs::remove_file(cell.join("result.json")).unwrap();
    let before = names(&cell);
    let message = refusal(&mut train("sac", dir.path(), &[]));
    assert!(message.contains("is there without `result.json`"), "{message}");
    assert_eq!(names(&cell), before);
}

fn command_on(args: &[&str], folder: &Path) -> std::process::Command {
    let mut command = command(args);
    command.arg(folder);
    command
}

#[test]
fn a_damaged_plan_or_cell_is_told_by_report() {
    let dir = tempdir().unwrap();
    let reproduce = || {
        let mut command = command(&["reproduce", "vg-sac/fig2-cartpole", "--profile", "smoke"]);
        for setting in
            ["method.actor_hidden=[8,8]", "method.batch_size=16", "train.total_steps=400"]
        {
            command.args(["--set", setting]);
        }
        command.args(["--seeds", "2"]).arg("--out").arg(dir.path());
        command
    };
    let printed = success(&mut reproduce());
    let folder = Path::new(printed.lines().next().unwrap()).parent().unwrap();
    let page = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let cells = dir.path().join("cells");
    let curve = cells.join(&names(&cells)[0]).join("curve.csv");
    let good = fs::read(&curve).unwrap();
    fs::write(&curve, "env_steps,return_mean\n1,x\n").unwrap();
    for mut command in [command_on(&["report"], folder), reproduce()] {
        let output = command.output().unwrap();
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(
            message.contains("curve.csv") && message.contains("delete the folder"),
            "{message}"
        );
        assert!(page("report.md").contains("curve.csv"), "the damaged cell is named");
    }
    fs::write(&curve, good).unwrap();
    success(command(&["report"]).arg(folder));
    let report = page("report.html");

    let plan = folder.join("plan.json");
    fs::write(&plan, "{").unwrap();
    let message = refusal(command(&["report"]).arg(folder));
    assert!(message.contains("plan.json` is damaged or of another version"), "{message}");
    assert_eq!(page("report.html"), report, "the earlier report stays");

    // A cell that cannot run is marked and named; the others are there.
    let lost = cells.join(&names(&cells)[1]);
    fs::remove_dir_all(&lost).unwrap();
    fs::write(&lost, "in the way").unwrap();
    let output = reproduce().output().unwrap();
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("1 of 4 cells cannot be used; the report names them"), "{message}");
}

/// The unfinished cell in `out`, once it has two checkpoints.
#[cfg(unix)]
fn with_two_checkpoints(out: &Path) -> Option<PathBuf> {
    let cell = fs::read_dir(out).ok()?.next()?.ok()?.path();
    let steps = fs::read_dir(cell.join("checkpoints")).ok()?.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name().into_string().unwrap();
        name.starts_with("step-") && !name.contains('.')
    });
    (steps.count() >= 2).then_some(cell)
}

/// Starts the training and stops it after its second checkpoint; returns the unfinished cell.
#[cfg(unix)]
fn stopped(out: &Path, settings: &[&str]) -> PathBuf {
    let mut command = train("vg-sac", out, settings);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    let mut cell = None;
    while cell.is_none() && start.elapsed() < Duration::from_secs(60) {
        sleep(Duration::from_millis(1));
        cell = with_two_checkpoints(out);
    }
    let kill = format!("kill -TERM {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(1));
    cell.unwrap()
}

#[cfg(unix)]
#[test]
fn damaged_checkpoints_are_told_and_never_started_over() {
    let dir = tempdir().unwrap();
    let longer = ["--set", "train.total_steps=2000"];
    let reference = trained(&mut train("vg-sac", &dir.path().join("whole"), &longer));
    let out = dir.path().join("damaged");
    let partial = stopped(&out, &longer);
    let checkpoints = partial.join("checkpoints");
    let steps: Vec<_> = names(&checkpoints)
        .into_iter()
        .filter(|name| name.starts_with("step-") && !name.contains('.'))
        .collect();
    let tensors = |step: &String| checkpoints.join(step).join("tensors.safetensors");
    let keep = dir.path().join("copy");
    assert!(Command::new("cp").arg("-r").args([&partial, &keep]).status().unwrap().success());

    // All of them: nothing to go on from, and the folder stays as it is.
    steps.iter().for_each(|step| damage(&tensors(step)));
    let message = refusal(&mut train("vg-sac", &out, &longer));
    assert!(message.contains("left out a damaged checkpoint"), "{message}");
    assert!(message.contains("no checkpoint of `") && message.contains("delete"), "{message}");
    assert!(steps.iter().all(|step| tensors(step).exists()));
    let failed = names(&out).into_iter().find(|name| name.ends_with(".failed")).unwrap();
    assert!(
        fs::read_to_string(out.join(failed).join("error.json")).unwrap().contains("no checkpoint")
    );

    // The newest: the one before it serves, and the result is the same.
    fs::remove_dir_all(&partial).unwrap();
    fs::rename(&keep, &partial).unwrap();
    damage(&tensors(steps.last().unwrap()));
    let output = train("vg-sac", &out, &longer).output().unwrap();
    let message = text(&output.stderr);
    assert!(output.status.success(), "{message}");
    assert!(message.contains("left out a damaged checkpoint"), "{message}");
    assert!(message.contains("resumed at step "), "{message}");
    assert_same_cell(&reference, Path::new(text(&output.stdout).trim_end()));
    assert_eq!(names(&out).len(), 1, "the mark of the failure is gone: {:?}", names(&out));
}

#[test]
fn an_output_that_is_a_file_is_told() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "mine").unwrap();
    let message = refusal(&mut train("sac", &file, &[]));
    assert!(message.contains(file.to_str().unwrap()) && message.contains("caused by"), "{message}");
    let mut reproduce = command(&["reproduce", "--profile", "smoke", "--seeds", "1", "--out"]);
    let message = refusal(reproduce.arg(&file));
    assert!(message.contains("cannot create the folder `"), "{message}");
    assert_eq!(fs::read(&file).unwrap(), b"mine");
}

/// A limit on the size of files refuses writes in the middle of a run, as a full disk does, and
/// needs no rights. The signal that comes with it is ignored, so that the write itself fails.
#[cfg(unix)]
#[test]
fn writes_that_the_system_refuses_end_the_run_with_a_message_and_keep_what_was_there() {
    let dir = tempdir().unwrap();
    let earlier = trained(&mut train("sac", dir.path(), &[]));
    let before = LASTING.map(|name| fs::read(earlier.join(name)).unwrap());
    let limited = |kibibytes: u32| {
        let seed_one = train("sac", dir.path(), &["--seed", "1"]);
        let mut shell = Command::new("sh");
        // `ulimit -f` counts blocks of 512 bytes.
        shell.arg("-c").arg(format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", 2 * kibibytes));
        shell.arg("sh").arg(seed_one.get_program()).args(seed_one.get_args());
        refusal(&mut shell)
    };
    let message = limited(2);
    assert!(message.contains("caused by: cannot write `"), "{message}");
    assert!(message.contains("cell `cartpole-real-sac-s1-"), "{message}");
    assert_eq!(LASTING.map(|name| fs::read(earlier.join(name)).unwrap()), before);
    let failed = names(dir.path()).into_iter().find(|name| name.ends_with(".failed")).unwrap();
    let error = fs::read_to_string(dir.path().join(failed).join("error.json")).unwrap();
    assert!(error.contains("cannot write"), "{error}");

    // With room again the same command goes on and ends as if nothing had been.
    let cell = trained(&mut train("sac", dir.path(), &["--seed", "1"]));
    let other = tempdir().unwrap();
    let reference = trained(&mut train("sac", other.path(), &["--seed", "1"]));
    assert_same_cell(&reference, &cell);
    assert_eq!(names(dir.path()).len(), 2, "no mark is left: {:?}", names(dir.path()));
}
