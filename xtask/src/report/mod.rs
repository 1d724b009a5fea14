//! The report: one HTML page that opens without a network, the same as Markdown with SVG figures
//! beside it, and every number of it as JSON.
//!
//! [`analysis`] turns folders of cells into a [`Report`], a plain value that holds every number
//! shown; [`html`], [`markdown`] and [`mod@compare`] only write that value down. Verdicts come from
//! the written rules of [`verdict`], never by hand. Nothing a cell contains can make
//! [`build`] fail: what cannot be used is named on the page.

mod analysis;
mod animation;
mod axis;
pub(crate) mod cells;
mod chain;
mod compare;
mod figures;
mod html;
pub(crate) mod laps;
pub(crate) mod lines;
mod maps;
mod markdown;
mod ratio;
pub(crate) mod rollout;
mod sheet;
pub(crate) mod stats;
mod svg;
mod tables;
mod verdict;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

pub(crate) use analysis::{Problem, Report, ShownRollout};
pub(crate) use compare::compare;
pub(crate) use maps::{Colours, Map, draw as draw_maps};
pub(crate) use sheet::{FinishedCell, Illustration, Sheet};
pub(crate) use stats::{Estimate, Interval};
pub(crate) use tables::{Entry, Table};
pub(crate) use verdict::{Kind, Verdict};

/// What one figure of a paper claims and which cells reproduce it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FigureSpec {
    /// Unique name, such as `vg-sac/fig2-cartpole`.
    pub(crate) id: String,
    /// Heading.
    pub(crate) title: String,
    /// The paper's claim in one line, with its source.
    pub(crate) claim: String,
    /// What differs from the paper at this profile.
    pub(crate) note: String,
    /// The curves that are compared.
    pub(crate) groups: Vec<Group>,
    /// How the verdict is computed.
    pub(crate) rule: Rule,
    /// Range of the return axis; from the data where absent.
    pub(crate) return_range: Option<(f64, f64)>,
    /// Returns at which the sample efficiency is measured.
    pub(crate) levels: Vec<f64>,
}

/// Cells that differ in their seed only.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Group {
    /// Name shown in legends and tables.
    pub(crate) label: String,
    /// Folders where the cells are expected; they may be missing or failed.
    pub(crate) cells: Vec<PathBuf>,
    /// Command that runs the missing ones.
    pub(crate) command: String,
}

/// The rule of a verdict; numbers are indices into the figure's groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Rule {
    /// The method reaches the levels with fewer environment steps than the baseline.
    FewerSamples {
        /// Group compared against.
        baseline: usize,
        /// Group the claim is about.
        method: usize,
    },
    /// The method's gain over the baseline is comparable to the reference's.
    Comparable {
        /// Group whose gain is the yardstick.
        reference: usize,
        /// Group the claim is about.
        method: usize,
        /// Group both gains are measured against.
        baseline: usize,
    },
}

impl Rule {
    /// The group the claim is about and the group it is compared against.
    pub(crate) fn method_and_baseline(self) -> (usize, usize) {
        match self {
            Self::FewerSamples { baseline, method } | Self::Comparable { baseline, method, .. } => {
                (method, baseline)
            }
        }
    }
}

/// How the numbers were made; an empty text is not shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RunInfo {
    /// Profile of the run: `smoke`, `quick` or `paper`.
    pub(crate) profile: String,
    /// The command that made the report.
    pub(crate) command: String,
    /// Processor model.
    pub(crate) cpu: String,
    /// Number of cores, and of jobs if they differ.
    pub(crate) cores: String,
    /// Main memory.
    pub(crate) memory: String,
    /// Operating system and kernel.
    pub(crate) os: String,
    /// Compiler.
    pub(crate) rustc: String,
    /// Version of Costate.
    pub(crate) version: String,
    /// Commit, with a mark for local changes.
    pub(crate) commit: String,
    /// Instruction path of the numeric kernels.
    pub(crate) instruction_path: String,
    /// Start, as date and time with zone.
    pub(crate) started: String,
    /// Wall-clock time of the whole command.
    pub(crate) elapsed: String,
}

/// Files written by [`build`].
#[derive(Clone, Debug)]
pub(crate) struct ReportPaths {
    /// `report.html`, self-contained.
    pub(crate) html: PathBuf,
    /// `report.md`, with `figures/*.svg`.
    pub(crate) markdown: PathBuf,
    /// `report.json`, for [`compare()`].
    pub(crate) json: PathBuf,
}

/// Reads the cells of `figures`, adds the `sheets`, and writes `report.html`, `report.md`,
/// `figures/` and `report.json` to `out`.
///
/// # Errors
/// Only where a file cannot be written; missing, failed or corrupt cells are named on the page.
pub(crate) fn build(
    out: &Path,
    title: &str,
    info: &RunInfo,
    figures: &[FigureSpec],
    sheets: Vec<Sheet>,
) -> anyhow::Result<ReportPaths> {
    let report = Report { sheets, ..Report::new(title, info, figures) };
    let folder = out.join("figures");
    std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let paths = ReportPaths {
        html: out.join("report.html"),
        markdown: out.join("report.md"),
        json: out.join("report.json"),
    };
    for (name, picture) in markdown::pictures(&report) {
        write(&folder.join(name), &picture)?;
    }
    write(&paths.html, &html::page(&report))?;
    write(&paths.markdown, &markdown::page(&report))?;
    write(&paths.json, &serde_json::to_string_pretty(&report)?)?;
    Ok(paths)
}

/// Reads a `report.json`.
///
/// # Errors
/// If the file cannot be read or is not a report of this version.
pub(crate) fn load(report_json: &Path) -> anyhow::Result<Report> {
    let name = report_json.display();
    let text = std::fs::read_to_string(report_json).with_context(|| format!("reading {name}"))?;
    let report: Report = serde_json::from_str(&text)
        .with_context(|| format!("{name} is not a report of this version; build it again"))?;
    Ok(report)
}

/// The cells of figures that are there and cannot be read, each with the reason and the remedy.
pub(crate) fn unreadable_cells(figures: &[FigureSpec]) -> Vec<String> {
    let folders: std::collections::BTreeSet<&PathBuf> =
        figures.iter().flat_map(|figure| &figure.groups).flat_map(|group| &group.cells).collect();
    folders
        .into_iter()
        .filter_map(|folder| match cells::load(folder) {
            cells::CellState::Corrupt(reason) => Some(format!(
                "`{}`: {reason}; delete the folder to run the cell again",
                folder.display()
            )),
            _ => None,
        })
        .collect()
}

/// 95 % bootstrap interval of a mean; both ends are the mean where there is one value only.
pub(crate) fn mean_interval(values: &[f64]) -> (f64, f64) {
    let estimate = stats::Estimate::mean(values);
    let mean = estimate.value.unwrap_or(f64::NAN);
    estimate.interval.map_or((mean, mean), |interval| (interval.low, interval.high))
}

/// A page with the animation of one roll-out and its states, actions and rewards against time.
///
/// # Errors
/// If the file cannot be read or is not a roll-out.
pub(crate) fn rollout_html(rollout_json: &Path) -> anyhow::Result<String> {
    let rollout = rollout::load(rollout_json).map_err(anyhow::Error::msg)?;
    Ok(html::rollout_page(&rollout))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    critics::write_file_atomic(path, text.as_bytes())
        .with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::cells::fixture;
    use super::svg::assert_well_formed;
    use super::*;

    const SLOW: [f64; 8] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
    const FAST: [f64; 8] = [0.0, 6.0, 7.0, 7.0, 8.0, 8.0, 8.0, 8.0];

    fn spec(root: &Path) -> FigureSpec {
        let cells = |label: &str, returns: &[f64]| -> Vec<PathBuf> {
            (0..4)
                .map(|i| {
                    let moved: Vec<f64> = returns.iter().map(|r| r + 0.1 * f64::from(i)).collect();
                    fixture::write(root, &format!("{label}-{i}"), i as u64, &moved)
                })
                .collect()
        };
        let group = |label: &str, cells| Group {
            label: label.to_owned(),
            cells,
            command: format!("cargo xtask reproduce --method {label}"),
        };
        FigureSpec {
            id: "paper/fig".to_owned(),
            title: "A title with <script>alert(1)</script>".to_owned(),
            claim: "faster & better".to_owned(),
            note: String::new(),
            groups: vec![group("sac", cells("sac", &SLOW)), group("vg", cells("vg", &FAST))],
            rule: Rule::FewerSamples { baseline: 0, method: 1 },
            return_range: None,
            levels: vec![3.0, 5.0],
        }
    }

    fn built(root: &Path, spec: FigureSpec) -> (String, String, Report) {
        let info = RunInfo { profile: "quick".to_owned(), ..RunInfo::default() };
        let paths = build(&root.join("report"), "Title", &info, &[spec], Vec::new()).unwrap();
        let read = |path| std::fs::read_to_string(path).unwrap();
        (read(&paths.html), read(&paths.markdown), load(&paths.json).unwrap())
    }

    #[test]
    fn a_whole_report_has_its_verdict_files_and_numbers() {
        let root = tempfile::tempdir().unwrap();
        let (html, markdown, report) = built(root.path(), spec(root.path()));
        let figure = &report.figures[0];
        assert_eq!(figure.verdict.kind, verdict::Kind::Reproduced, "{:?}", figure.verdict);
        // Windows of three of SLOW pass 3 at the fifth evaluation, less 0.1 per seed.
        let steps = figure.groups[0].reached[0].steps.value.unwrap();
        assert!((steps - (5_000.0 - 150.0)).abs() < 1e-6, "{steps}");
        assert_eq!(figure.groups[1].updates_per_second, Some(90.0));
        assert_eq!(figure.groups[0].by_steps.as_ref().unwrap().x.len(), 121);
        assert!(html.contains("reproduced</span>") && markdown.contains("**reproduced**"));
        assert!(!html.contains("<script>alert") && !markdown.contains("<script>alert"));
        assert!(html.contains("There is no trajectory") || html.contains("cannot be shown"));
        for line in markdown.lines().filter(|l| l.starts_with("![")) {
            let name = line.split("](").nth(1).unwrap().trim_end_matches(')');
            let svg = std::fs::read_to_string(root.path().join("report").join(name)).unwrap();
            assert_well_formed(&svg);
        }
        assert!(!html.contains("id=\"missing\""));
    }

    #[test]
    fn cells_that_cannot_be_used_are_named_with_their_command() {
        let root = tempfile::tempdir().unwrap();
        let spec = spec(root.path());
        let [missing, failed, corrupt] = [0, 1, 2].map(|i| spec.groups[1].cells[i].clone());
        std::fs::remove_dir_all(missing).unwrap();
        std::fs::rename(&failed, root.path().join("vg-1.failed")).unwrap();
        let error = r#"{"error": "loss is <b>NaN</b>", "env_steps": 712}"#;
        std::fs::write(root.path().join("vg-1.failed/error.json"), error).unwrap();
        std::fs::write(corrupt.join("curve.csv"), "\u{0}garbage").unwrap();
        let (html, markdown, report) = built(root.path(), spec);
        assert_eq!(report.figures[0].verdict.kind, verdict::Kind::NotRun);
        assert_eq!(report.figures[0].groups[1].problems.len(), 3);
        assert!(html.contains("loss is &lt;b&gt;NaN&lt;/b&gt; (at environment step 712)"));
        for text in ["vg-0", "missing", "unreadable", "cargo xtask reproduce --method vg"] {
            assert!(html.contains(text) && markdown.contains(text), "{text}");
        }
        assert!(!html.contains("cargo xtask reproduce --method sac"));
    }

    #[test]
    fn nothing_at_all_still_makes_a_page() {
        let root = tempfile::tempdir().unwrap();
        let mut empty = spec(root.path());
        empty.groups.clear();
        empty.levels.clear();
        let (html, _, report) = built(root.path(), empty);
        assert_eq!(report.figures[0].verdict.kind, verdict::Kind::NotRun);
        assert!(html.contains("not run at this profile"));
        let paths = build(root.path(), "", &RunInfo::default(), &[], Vec::new()).unwrap();
        assert!(std::fs::read_to_string(paths.html).unwrap().contains("No figures"));
    }

    #[test]
    fn a_report_of_another_layout_is_refused_with_advice() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("report.json");
        std::fs::write(&path, "{}").unwrap();
        assert!(load(&path).unwrap_err().to_string().ends_with("build it again"));
    }
}
