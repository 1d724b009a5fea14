//! `check-robot`: what a robot's file describes, what is odd about it, and whether its derivatives
//! hold.

mod audit;
mod sheet;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use self::audit::audit;
use self::sheet::Sheet;
use super::print;
use super::robot::Robot;

/// Arguments of `check-robot`.
#[derive(Args)]
pub(crate) struct CheckRobotArgs {
    /// URDF or MJCF file
    file: PathBuf,
    /// Put a free joint before the root
    #[arg(long)]
    floating_base: bool,
    /// Go on without what an MJCF file asks for and is not supported
    #[arg(long)]
    allow_unsupported: bool,
    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
    /// Random states at which derivatives are checked
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    points: u32,
    /// Seed of the random states
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl CheckRobotArgs {
    /// Prints joints, links, warnings and the audit of derivatives.
    ///
    /// # Errors
    /// A file that cannot be used; after everything is printed, derivatives out of bounds and
    /// dynamics that have none.
    pub(crate) fn run(self) -> Result<()> {
        let Robot { description, model } =
            Robot::load(&self.file, self.floating_base, self.allow_unsupported)?;
        // A robot that does not move has nothing to differentiate.
        let audited = (model.nv() > 0).then(|| audit(&model, self.points as usize, self.seed));
        let (audit, failure) = match audited.transpose() {
            Ok(audit) => (audit, None),
            Err(error) => (None, Some(error)),
        };
        let reason = failure.as_ref().map(|error| format!("{error:#}"));
        let sheet = Sheet::new(&self.file, &description, &model, audit, reason);
        print(&if self.json { sheet.json()? } else { sheet.text() })?;
        match (failure, &sheet.audit) {
            (Some(error), _) => Err(error),
            (None, Some(audit)) if !audit.passed => {
                let failed = audit.rows.iter().filter(|row| !row.is_ok()).count();
                bail!(
                    "{failed} of {} checks of derivatives are out of bounds; links far too light for \
                     what carries them are the usual reason",
                    audit.rows.len()
                )
            }
            _ => Ok(()),
        }
    }
}
