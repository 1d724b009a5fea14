//! `reproduce` and `report`: the same cells with any number of threads, only what is missing is
//! run, and reports come from what is stored.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use common::{assert_same_cell, command, names, success, text};
use tempfile::tempdir;

/// The figures of VG-SAC at the smoke profile, smaller still.
fn reproduce(out: &Path, more: &[&str]) -> Command {
    let mut command = command(&["reproduce", "vg-sac", "--profile", "smoke"]);
    for setting in [
        "method.actor_hidden=[8,8]",
        "method.critic_hidden=[8,8]",
        "method.batch_size=16",
        "train.total_steps=500",
    ] {
        command.args(["--set", setting]);
    }
    command.arg("--out").arg(out).args(more);
    command
}

fn cells(out: &Path) -> Vec<PathBuf> {
    names(&out.join("cells")).iter().map(|name| out.join("cells").join(name)).collect()
}

/// The folder of the report whose pages a command has printed.
fn report_folder(printed: &str) -> PathBuf {
    Path::new(printed.lines().last().unwrap()).parent().unwrap().to_owned()
}

/// When every file of every cell was written.
fn written(out: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let files = cells(out).into_iter().flat_map(|cell| {
        names(&cell).into_iter().map(move |name| cell.join(name)).collect::<Vec<_>>()
    });
    files.map(|path| (path.clone(), fs::metadata(&path).unwrap().modified().unwrap())).collect()
}

#[test]
fn one_and_two_threads_give_equal_cells_and_only_what_is_missing_is_run() {
    let dir = tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
    let printed = success(&mut reproduce(&a, &["--jobs", "1"]));
    let folder = report_folder(&printed);
    assert!(folder.starts_with(a.join("reports")) && folder.join("report.html").exists());
    let other = report_folder(&success(&mut reproduce(&b, &["--jobs", "2"])));
    let (cells_a, cells_b) = (cells(&a), cells(&b));
    assert_eq!(cells_a.len(), 6, "three curves of two seeds: {cells_a:?}");
    for (a, b) in cells_a.iter().zip(&cells_b) {
        assert_same_cell(a, b);
    }

    // Again: nothing runs.
    let before = written(&a);
    let output = reproduce(&a, &["--jobs", "2"]).output().unwrap();
    assert!(text(&output.stderr).contains("6 cells, 0 of them to run"), "{}", text(&output.stderr));
    assert_eq!(written(&a), before);

    // One cell less: one cell runs, the others stay.
    let lost = &cells_a[2];
    fs::remove_dir_all(lost).unwrap();
    let output = reproduce(&a, &[]).output().unwrap();
    assert!(text(&output.stderr).contains("6 cells, 1 of them to run"), "{}", text(&output.stderr));
    assert_same_cell(lost, &cells_b[2]);
    for (path, time) in written(&a) {
        assert_eq!(!path.starts_with(lost), before[&path] == time, "{}", path.display());
    }

    // The report once more, from the files alone, and beside another.
    let markdown = fs::read_to_string(folder.join("report.md")).unwrap();
    for name in ["report.html", "report.md"] {
        fs::remove_file(folder.join(name)).unwrap();
    }
    success(command(&["report"]).arg(&folder));
    assert_eq!(fs::read_to_string(folder.join("report.md")).unwrap(), markdown);
    let printed = success(command(&["report"]).arg(&folder).arg("--against").arg(&other));
    let page = fs::read_to_string(printed.lines().last().unwrap()).unwrap();
    assert!(page.contains("<td class=\"n\">identical</td>") && !page.contains("src=\"http"));
}

#[test]
fn seeds_methods_and_figures_choose_the_cells() {
    let dir = tempdir().unwrap();
    success(&mut reproduce(dir.path(), &["--seeds", "1", "--method", "sac"]));
    let [cell] = cells(dir.path()).try_into().unwrap();
    assert!(cell.file_name().unwrap().to_str().unwrap().starts_with("cartpole-real-sac-s0-"));
    let output = reproduce(dir.path(), &["--seeds", "1"]).output().unwrap();
    let message = text(&output.stderr);
    assert!(message.contains("3 cells, 2 of them to run"), "the cell is shared: {message}");
    assert!(text(&output.stdout).contains("reports/vg-sac-smoke"));
}
