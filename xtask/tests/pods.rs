//! `reproduce pods`: cells that do not depend on threads, filters, and a report that shows every figure.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{assert_same_cell, command, names, refusal, success, text};
use tempfile::tempdir;

fn reproduce(name: &str, out: &Path, more: &[&str]) -> Command {
    let mut command = command(&["reproduce", name, "--profile", "smoke"]);
    command.arg("--out").arg(out).args(more);
    command
}

fn cells(out: &Path) -> Vec<PathBuf> {
    names(&out.join("cells")).iter().map(|name| out.join("cells").join(name)).collect()
}

#[test]
fn every_figure_is_reported_from_cells_that_do_not_depend_on_threads() {
    let dir = tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
    let printed = success(&mut reproduce("pods", &a, &["--jobs", "1"]));
    success(&mut reproduce("pods", &b, &["--jobs", "2"]));
    let (ours, others) = (cells(&a), cells(&b));
    // Two seeds of three curves of figure 3 and of five methods on two tasks.
    assert_eq!(ours.len(), 2 * (3 + 5 * 2));
    for (a, b) in ours.iter().zip(&others) {
        assert_same_cell(a, b);
    }
    // Figures share their cells, and what is there does not run again.
    let output = reproduce("pods/table1", &a, &[]).output().unwrap();
    assert!(
        text(&output.stderr).contains("16 cells, 0 of them to run"),
        "{}",
        text(&output.stderr)
    );

    let page = PathBuf::from(printed.lines().next().unwrap());
    let folder = page.parent().unwrap();
    let [markdown, html] =
        ["report.md", "report.html"].map(|name| fs::read_to_string(folder.join(name)).unwrap());
    for figure in ["fig3", "fig4", "fig6", "fig7", "fig8", "fig9", "fig10", "table1"] {
        assert!(html.contains(&format!("<article id=\"pods-{figure}\">")), "{figure}");
    }
    assert_eq!(markdown.matches("\n- Rule: ").count(), 8);
    for file in markdown.split("](figures/").skip(1) {
        let name = file.split(')').next().unwrap();
        assert!(fs::read_to_string(folder.join("figures").join(name)).unwrap().starts_with("<svg"));
    }
    // A trajectory before training and one after it, to be animated and as still frames.
    for when in ["Before training", "After training"] {
        assert!(html.contains(&format!("<h3>{when}: PODS")) && markdown.contains(when), "{when}");
    }
    fs::remove_file(&page).unwrap();
    success(command(&["report"]).arg(folder));
    assert_eq!(fs::read_to_string(&page).unwrap(), markdown);
}

#[test]
fn filters_and_settings_concern_the_cells_that_have_them() {
    let dir = tempdir().unwrap();
    let out = dir.path();
    let more = ["--task", "pods-2d-stop", "--method", "sac", "--seeds", "1"];
    success(&mut reproduce("pods", out, &more));
    let [cell] = names(&out.join("cells")).try_into().unwrap();
    assert!(cell.starts_with("pods-2d-stop-real-sac-s0-"), "{cell}");

    let more = ["--seeds", "1", "--set", "method.alpha=0.7", "--method", "pods"];
    success(&mut reproduce("pods/fig3", out, &more));
    let changed =
        names(&out.join("cells")).into_iter().find(|name| name.contains("-pods-")).unwrap();
    let config = fs::read_to_string(out.join("cells").join(changed).join("config.toml")).unwrap();
    assert!(config.contains("alpha = 0.7"), "{config}");

    let message = refusal(&mut reproduce("pods/fig99", out, &[]));
    assert!(message.contains("pods/fig3, pods/fig4"), "{message}");
    let message = refusal(&mut reproduce("pods/fig9", out, &["--task", "cartpole"]));
    assert!(message.contains("no figure is left"), "{message}");
}

#[test]
fn a_cell_that_was_damaged_is_named_and_the_others_still_count() {
    let dir = tempdir().unwrap();
    let out = dir.path();
    success(&mut reproduce("pods/fig3", out, &["--seeds", "1"]));
    let damaged = cells(out).remove(0);
    fs::write(damaged.join("curve.csv"), "env_steps\n").unwrap();
    let output = reproduce("pods/fig3", out, &["--seeds", "1"]).output().unwrap();
    assert!(!output.status.success());
    let message = text(&output.stderr);
    let name = damaged.file_name().unwrap().to_str().unwrap();
    assert!(message.contains(name) && message.contains("has no column `episodes`"), "{message}");
    let page = fs::read_to_string(out.join("reports/pods-fig3-smoke/report.md")).unwrap();
    assert!(page.contains("unreadable") && page.contains(name), "{page}");
}
