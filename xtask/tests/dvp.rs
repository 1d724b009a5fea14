//! `reproduce dvp`: cells that do not depend on threads or kills, runs that find what is there, and
//! a report that names what failed.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{command, names, refusal, success, text};
use tempfile::tempdir;

fn reproduce(name: &str, out: &Path, more: &[&str]) -> Command {
    let mut command = command(&["reproduce", name, "--profile", "smoke"]);
    command.arg("--out").arg(out).args(more);
    command
}

/// Folders of the store.
fn cells(out: &Path) -> Vec<PathBuf> {
    names(&out.join("dvp")).iter().map(|name| out.join("dvp").join(name)).collect()
}

/// Asserts that two stores are equal but for their times.
#[track_caller]
fn assert_same_store(a: &Path, b: &Path) {
    assert_eq!(names(&a.join("dvp")), names(&b.join("dvp")));
    for (a, b) in cells(a).iter().zip(&cells(b)) {
        assert_eq!(names(a), ["config.toml", "result.json", "timing.json"]);
        for name in ["config.toml", "result.json"] {
            let [one, other] = [a, b].map(|dir| fs::read(dir.join(name)).unwrap());
            assert!(one == other, "{name} of {} differs", a.display());
        }
    }
}

#[test]
fn every_figure_runs_once_on_any_number_of_threads_and_is_reported() {
    let dir = tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
    let printed = success(&mut reproduce("dvp", &a, &["--jobs", "1"]));
    success(&mut reproduce("dvp", &b, &["--jobs", "2"]));
    assert_same_store(&a, &b);

    // Again: only what is missing runs.
    let lost = &cells(&a)[7];
    fs::remove_dir_all(lost).unwrap();
    let output = reproduce("dvp", &a, &[]).output().unwrap();
    let message = text(&output.stderr);
    assert!(message.contains(" cells of values, 1 of them to run"), "{message}");
    assert_same_store(&a, &b);
    let output = reproduce("dvp/fig1", &a, &[]).output().unwrap();
    let message = text(&output.stderr);
    assert!(message.contains(" cells of values, 0 of them to run"), "{message}");

    // Both pages show every figure with its rule and drawings, also once more from what is stored.
    let page = PathBuf::from(printed.lines().next().unwrap());
    let folder = page.parent().unwrap();
    let markdown = fs::read_to_string(&page).unwrap();
    let html = fs::read_to_string(folder.join("report.html")).unwrap();
    for figure in
        ["fig1", "fig2", "fig3", "fig4", "fig5", "fig6", "fig7", "fig8", "samples", "closed-loop"]
    {
        assert!(html.contains(&format!("<article id=\"dvp-{figure}\">")), "{figure}");
    }
    assert_eq!(markdown.matches("\n- Rule: ").count(), 10);
    let files: Vec<_> = markdown.split("](figures/").skip(1).collect();
    assert_eq!(files.len(), 10, "every figure has one drawing");
    for file in files {
        let name = file.split(')').next().unwrap();
        assert!(fs::read_to_string(folder.join("figures").join(name)).unwrap().starts_with("<svg"));
    }
    fs::remove_file(&page).unwrap();
    success(command(&["report"]).arg(folder));
    assert_eq!(fs::read_to_string(&page).unwrap(), markdown);
}

#[test]
fn killed_in_the_middle_it_goes_on_and_ends_with_the_same_bits() {
    let dir = tempdir().unwrap();
    let [whole, killed] = ["whole", "killed"].map(|name| dir.path().join(name));
    success(&mut reproduce("dvp/fig3", &whole, &[]));
    let all = cells(&whole).len();
    // A kill after each number of whole cells.
    for wanted in 1..all {
        let mut command = reproduce("dvp/fig3", &killed, &["--jobs", "1"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let start = Instant::now();
        let done = || {
            let store = killed.join("dvp");
            let ready = |name: &String| {
                store.join(name).join("result.json").exists() && !name.contains('.')
            };
            store.exists() && names(&store).iter().filter(|name| ready(name)).count() >= wanted
        };
        while !done() && child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < Duration::from_secs(60), "no cell after a minute");
            sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    success(&mut reproduce("dvp/fig3", &killed, &[]));
    assert_same_store(&whole, &killed);
}

#[test]
fn what_fails_is_named_and_runs_again_once_it_is_mended() {
    let dir = tempdir().unwrap();
    let out = dir.path();
    success(&mut reproduce("dvp/fig3", out, &["--seeds", "1"]));
    let find = |kind: &str| cells(out).into_iter().find(|c| c.display().to_string().contains(kind));
    let (truth, run) = (find("dvp-truth").unwrap(), find("dvp-loop").unwrap());
    let saved = fs::read(truth.join("result.json")).unwrap();
    fs::write(truth.join("result.json"), "{").unwrap();
    fs::remove_dir_all(&run).unwrap();

    let output = reproduce("dvp/fig3", out, &["--seeds", "1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    assert!(message.contains("is damaged or of another version"), "{message}");
    let page = fs::read_to_string(text(&output.stdout).lines().next().unwrap()).unwrap();
    let name = run.file_name().unwrap().to_str().unwrap();
    assert!(
        page.contains(name) && page.contains("failed") && page.contains("unreadable"),
        "{page}"
    );
    assert!(page.contains("cargo xtask reproduce dvp/fig3 --profile smoke"));

    fs::write(truth.join("result.json"), saved).unwrap();
    success(&mut reproduce("dvp/fig3", out, &["--seeds", "1"]));
    assert!(run.join("result.json").exists());
    assert!(cells(out).iter().all(|cell| !cell.display().to_string().ends_with(".failed")));
}

#[test]
fn names_and_filters_that_leave_nothing_are_refused() {
    let dir = tempdir().unwrap();
    let message = refusal(&mut reproduce("dvp/fig99", dir.path(), &[]));
    assert!(
        message.contains("dvp/fig1, ") && message.contains("vg-sac/fig2-cartpole"),
        "{message}"
    );
    let message = refusal(&mut reproduce("dvp/fig1", dir.path(), &["--method", "sac"]));
    assert!(message.contains("no figure is left"), "{message}");
}
