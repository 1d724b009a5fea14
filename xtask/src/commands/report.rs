//! `report`: a report once more from what is stored, or two side by side.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::print;
use super::reproduce::{PLAN_FILE, StoredPlan, write_report};
use crate::dvp;
use crate::progress::tell;
use crate::report::{compare, unreadable_cells};
use crate::runs;

/// Arguments of `report`.
#[derive(clap::Args)]
pub(crate) struct ReportArgs {
    /// Folder of a report, such as runs/reports/overview-quick
    dir: PathBuf,
    /// Compare with the report in this folder
    #[arg(long, value_name = "DIR2")]
    against: Option<PathBuf>,
}

impl ReportArgs {
    /// Rebuilds the report; with `--against`, also writes the comparison.
    ///
    /// # Errors
    /// A folder without a report, files that cannot be written.
    pub(crate) fn run(self) -> Result<()> {
        let plan = stored_plan(&self.dir)?;
        let paths = write_report(&self.dir, &plan)?;
        print(&format!("{}\n{}\n", paths.markdown.display(), paths.html.display()))?;
        if let Some(other) = &self.against {
            let page = compare(&self.dir, other, &self.dir)?;
            print(&format!("{}\n", page.html.display()))?;
        }
        let mut unreadable = unreadable_cells(&plan.figures);
        unreadable.extend(dvp::unreadable(&plan.values));
        unreadable.extend(runs::unreadable(&plan.runs));
        for text in &unreadable {
            tell(&format!("failed: {text}"));
        }
        if !unreadable.is_empty() {
            bail!("{} cells cannot be used; the report names them", unreadable.len());
        }
        Ok(())
    }
}

fn stored_plan(dir: &Path) -> Result<StoredPlan> {
    let path = dir.join(PLAN_FILE);
    let text = fs::read_to_string(&path).with_context(|| {
        format!(
            "`{}` is no report folder: cannot read `{}`; `cargo xtask reproduce` writes one below \
             runs/reports",
            dir.display(),
            path.display()
        )
    })?;
    serde_json::from_str(&text)
        .with_context(|| format!("`{}` is damaged or of another version", path.display()))
}
