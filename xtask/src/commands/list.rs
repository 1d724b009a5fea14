//! `list`: what there is to run.

use std::fmt::Write as _;

use agents::methods;
use anyhow::Result;
use bench_tasks::{Entry, registry};
use clap::Args;
use ddp::Method;

use crate::cell::CellConfig;
use crate::dvp;
use crate::figure::Size;
use crate::plan::{Profile, Selection, figures};
use crate::runs;
use crate::settings::{PRESETS, find, keys};

/// Arguments of `list`.
#[derive(Args)]
pub(crate) struct ListArgs {}

/// One heading with a table below it.
struct Section {
    heading: String,
    table: comfy_table::Table,
}

impl ListArgs {
    /// Prints the sections.
    ///
    /// # Errors
    /// A task whose settings cannot be written down, an output that cannot be written to.
    pub(crate) fn run(self) -> Result<()> {
        let mut text = String::new();
        for Section { heading, table } in [
            figure_list()?,
            run_figures()?,
            value_figures()?,
            tasks()?,
            method_list(),
            solvers()?,
            studies(),
        ] {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{heading}\n{table}\n");
        }
        super::print(&text)?;
        Ok(())
    }
}

fn tasks() -> Result<Section> {
    let mut table = super::table(["task", "paper", "what", "presets"]);
    for entry in registry() {
        let presets = describe_presets(entry)?;
        table.add_row([entry.name, entry.paper, entry.summary, &presets]);
    }
    Ok(Section { heading: "Tasks".to_owned(), table })
}

fn method_list() -> Section {
    let mut table = super::table(["method", "what"]);
    for method in methods() {
        table.add_row([method.name, method.summary]);
    }
    Section { heading: "Methods".to_owned(), table }
}

/// The solvers, with the tasks that they can be used on.
fn solvers() -> Result<Section> {
    let mut table = super::table(["solver", "what"]);
    for method in Method::ALL {
        table.add_row([method.name(), super::solve::summary(method)]);
    }
    let tasks = super::solve::solvable()?.join(", ");
    Ok(Section {
        heading: format!("Solvers (cargo xtask solve TASK --solver NAME, for {tasks})"),
        table,
    })
}

fn studies() -> Section {
    let mut table = super::table(["study", "what"]);
    for (name, what) in super::study::STUDIES {
        table.add_row([name, what]);
    }
    Section { heading: "Studies (cargo xtask study NAME)".to_owned(), table }
}

/// The figures with the environment steps that each profile takes.
fn figure_list() -> Result<Section> {
    let steps = |id: &str, profile| {
        let selection = Selection {
            names: vec![id.to_owned()],
            profile,
            tasks: Vec::new(),
            methods: Vec::new(),
            n_seeds: None,
            overrides: Vec::new(),
        };
        let planned = selection.plan()?;
        let cells = planned.iter().flat_map(|f| f.curves.iter().flat_map(|c| &c.cells));
        Ok(cells.map(CellConfig::total_steps).sum())
    };
    let heading = "Figures (cargo xtask reproduce FIGURE; cells they share run once)";
    section(heading, figures().iter().map(|figure| (figure.id, figure.title)), steps)
}

/// The figures of PODS and SVG with the environment steps that each profile takes.
fn run_figures() -> Result<Section> {
    let steps = |id: &str, profile: Profile| {
        let size = Size { profile, seeds: profile.n_seeds() };
        let planned = runs::plan(&[id.to_owned()], &size)?;
        Ok(planned.iter().flat_map(runs::Planned::cells).map(CellConfig::total_steps).sum())
    };
    let heading = "Figures of PODS and SVG (many share their cells)";
    section(heading, runs::figures().map(|figure| (figure.id, figure.title)), steps)
}

/// The figures about learned values with the steps (epochs of regressions, solves of ground truth) that
/// each profile takes.
fn value_figures() -> Result<Section> {
    let steps = |id: &str, profile: Profile| {
        let size = Size { profile, seeds: profile.n_seeds() };
        let planned = dvp::plan(&[id.to_owned()], &size)?;
        Ok(planned.iter().map(dvp::Planned::steps).sum())
    };
    let heading = "Figures about learned values (a step is an epoch of a regression)";
    section(heading, dvp::figures().map(|figure| (figure.id, figure.title)), steps)
}

/// Figures by id and title with the steps that each profile takes.
fn section(
    heading: &str,
    figures: impl Iterator<Item = (&'static str, &'static str)>,
    steps: impl Fn(&str, Profile) -> Result<u64>,
) -> Result<Section> {
    let mut table =
        super::table(["figure", "what", "smoke [steps]", "quick [steps]", "paper [steps]"]);
    for (id, title) in figures {
        let mut row = vec![id.to_owned(), title.to_owned()];
        for profile in [Profile::Smoke, Profile::Quick, Profile::Paper] {
            row.push(steps(id, profile)?.to_string());
        }
        table.add_row(row);
    }
    Ok(Section { heading: heading.to_owned(), table })
}

/// Names of the presets, and the settings in which they differ.
fn describe_presets(entry: &Entry) -> Result<String> {
    let names = PRESETS.map(|(name, _)| name).join(", ");
    let [first, second] = PRESETS.map(|(_, preset)| (entry.settings)(preset));
    let (first, second) = (first?, second?);
    let mut differing = keys(&first);
    differing.retain(|key| find(&first, key) != find(&second, key));
    Ok(match differing.is_empty() {
        true => format!("{names} (equal)"),
        false => format!("{names} (differ in {})", differing.join(", ")),
    })
}
