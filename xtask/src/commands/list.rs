//! `list`: what there is to run.

use std::fmt::Write as _;

use anyhow::Result;
use bench_tasks::{Entry, registry};
use clap::Args;

use crate::settings::{PRESETS, find, keys};

/// Arguments of `list`.
#[derive(Args)]
pub(crate) struct ListArgs {}

/// One heading with a table below it.
struct Section {
    heading: &'static str,
    table: comfy_table::Table,
}

/// The methods: name, paper, one line.
const METHODS: [[&str; 3]; 2] = [
    ["vg-sac", "vg-sac", "soft actor-critic whose critic also learns the gradient of its target"],
    ["sac", "vg-sac", "soft actor-critic with the same networks and settings, the baseline"],
];

impl ListArgs {
    /// Prints the sections.
    ///
    /// # Errors
    /// A task whose settings cannot be written down, an output that cannot be written to.
    pub(crate) fn run(self) -> Result<()> {
        let mut text = String::new();
        for Section { heading, table } in [tasks()?, methods()] {
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
    Ok(Section { heading: "Tasks", table })
}

fn methods() -> Section {
    let mut table = super::table(["method", "paper", "what"]);
    table.add_rows(METHODS);
    Section { heading: "Methods", table }
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
