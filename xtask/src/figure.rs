//! Figures that are no comparison of learning curves: what they claim, the cells they need, and the
//! rule that judges them.

use anyhow::Result;

use crate::plan::Profile;
use crate::report::{
    FinishedCell, Illustration, Kind, Problem, Sheet, ShownRollout, Table, Verdict,
};

/// Complete seeds that a verdict needs where a figure does not ask for more.
pub(crate) const MIN_SEEDS: usize = 3;

/// Kind of the problem with cells that are there and cannot be read.
pub(crate) const UNREADABLE: &str = "unreadable";

/// A figure of a paper, or one that it argues for, made of cells `C` and judged by what `F` holds of
/// them.
pub(crate) struct Figure<C, F> {
    /// `paper/name`.
    pub(crate) id: &'static str,
    /// Heading of the report.
    pub(crate) title: &'static str,
    /// The paper's claim in one line.
    pub(crate) claim: &'static str,
    /// What differs from the paper, and what is known of its settings.
    pub(crate) note: &'static str,
    /// The rule of the verdict.
    pub(crate) rule: &'static str,
    /// What a profile changes, in words.
    pub(crate) sizes: fn(Profile) -> &'static str,
    /// Complete seeds of a curve that the verdict needs.
    pub(crate) min_seeds: usize,
    /// Whether the overview of all papers shows it.
    pub(crate) overview: bool,
    /// Every cell that it needs.
    pub(crate) cells: fn(&Size) -> Result<Vec<C>>,
    /// Pictures, tables and verdict.
    pub(crate) judge: fn(&F) -> Result<Findings>,
}

/// How large an experiment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    /// The profile.
    pub(crate) profile: Profile,
    /// Seeds of every curve.
    pub(crate) seeds: u64,
}

impl Size {
    /// The number of this profile.
    pub(crate) fn pick<T>(&self, smoke: T, quick: T, paper: T) -> T {
        match self.profile {
            Profile::Smoke => smoke,
            Profile::Quick => quick,
            Profile::Paper => paper,
        }
    }
}

/// What a figure makes of its cells.
pub(crate) struct Findings {
    /// The verdict; words that it leaves empty are filled in.
    pub(crate) verdict: Verdict,
    /// Drawings.
    pub(crate) pictures: Vec<Illustration>,
    /// Trajectories to be animated.
    pub(crate) rollouts: Vec<ShownRollout>,
    /// Tables with their headings.
    pub(crate) tables: Vec<(String, Table)>,
}

impl<C, F> Figure<C, F> {
    /// Whether a paper or a figure is called so.
    pub(crate) fn matches(&self, name: &str) -> bool {
        name == self.id || self.id.split_once('/').is_some_and(|(paper, _)| name == paper)
    }

    /// The figure as the report shows it; `n_cells` are asked for, `finished` and `problems` say what
    /// has become of them.
    pub(crate) fn sheet(
        &self,
        profile: Profile,
        found: &F,
        n_cells: usize,
        finished: Vec<FinishedCell>,
        problems: Vec<Problem>,
    ) -> Sheet {
        let mut findings = (self.judge)(found).unwrap_or_else(|error| {
            let reason = format!("The cells at hand are not enough: {error:#}");
            let verdict = not_run(String::new(), reason);
            Findings { verdict, pictures: vec![], rollouts: vec![], tables: vec![] }
        });
        let verdict = &mut findings.verdict;
        if verdict.ours.is_empty() {
            verdict.ours = format!("{} of {n_cells} cells complete", finished.len());
        }
        if profile == Profile::Smoke {
            let reason =
                "The smoke profile only shows that everything runs; it is too short to judge";
            *verdict = not_run(std::mem::take(&mut verdict.ours), reason.to_owned());
        }
        let Findings { verdict, pictures, rollouts, tables } = findings;
        Sheet {
            id: self.id.to_owned(),
            title: self.title.to_owned(),
            claim: self.claim.to_owned(),
            note: format!("{} {}", self.note, (self.sizes)(profile)).trim_end().to_owned(),
            rule: match self.min_seeds {
                0 => format!("{} Not run at this profile: the smoke profile.", self.rule),
                n => format!(
                    "{} Not run at this profile: fewer than {n} complete seeds of a curve that the rule needs, \
                     or the smoke profile.",
                    self.rule
                ),
            },
            verdict,
            pictures,
            rollouts,
            tables,
            cells: finished,
            problems,
            command: format!("cargo xtask reproduce {} --profile {}", self.id, profile.name()),
        }
    }
}

/// A verdict on what has not been run.
pub(crate) fn not_run(ours: String, reason: String) -> Verdict {
    Verdict { kind: Kind::NotRun, ours, reason }
}
