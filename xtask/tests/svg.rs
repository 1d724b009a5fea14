//! `reproduce svg`: cells that do not depend on threads, and a report that shows every figure.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::fs;
use std::path::PathBuf;

use common::{assert_same_cell, command, names, success};
use tempfile::tempdir;

#[test]
fn every_figure_is_reported_from_cells_that_do_not_depend_on_threads() {
    let dir = tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
    let run = |out: &PathBuf, jobs| {
        let mut command = command(&["reproduce", "svg", "--profile", "smoke", "--jobs", jobs]);
        success(command.arg("--out").arg(out))
    };
    let printed = run(&a, "1");
    run(&b, "2");
    let cells = |out: &PathBuf| {
        names(&out.join("cells")).iter().map(|n| out.join("cells").join(n)).collect::<Vec<_>>()
    };
    // Two seeds of two methods at four qualities, of eight methods, and of two more critics for two of them.
    assert_eq!(cells(&a).len(), 2 * (2 * 4 + 8 + 2 * 2));
    for (a, b) in cells(&a).iter().zip(&cells(&b)) {
        assert_same_cell(a, b);
    }
    let page = PathBuf::from(printed.lines().next().unwrap());
    let folder = page.parent().unwrap();
    let [markdown, html] =
        ["report.md", "report.html"].map(|name| fs::read_to_string(folder.join(name)).unwrap());
    for figure in ["fig2-left", "fig2-middle", "fig2-right"] {
        assert!(html.contains(&format!("<article id=\"svg-{figure}\">")), "{figure}");
    }
    for part in ["P(SVG(1)-ER better)", "Gap against", "Before training: SVG(∞)", "After training"]
    {
        assert!(markdown.contains(part) || html.contains(part), "{part}");
    }
    fs::remove_file(&page).unwrap();
    success(command(&["report"]).arg(folder));
    assert_eq!(fs::read_to_string(&page).unwrap(), markdown);
}
