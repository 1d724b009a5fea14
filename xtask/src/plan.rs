//! The experiments: which cells reproduce which figure, at which size.

use std::path::{Path, PathBuf};

use agents::SacSettings;
use anyhow::{Result, bail};
use bench_tasks::{Preset, Variant};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::cell::{self, CellConfig};
use crate::dvp;
use crate::figure::Size;
use crate::report::{FigureSpec, Group, Rule};
use crate::runs;
use crate::settings::apply_overrides;

/// Size of an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Profile {
    /// Shows that everything runs; under two minutes, too short to judge.
    Smoke,
    /// Smaller networks and shorter runs; minutes.
    Quick,
    /// The paper's networks and runs until the curves flatten; hours, resumable.
    Paper,
}

impl Profile {
    /// Name as on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Smoke => "smoke",
            Self::Quick => "quick",
            Self::Paper => "paper",
        }
    }

    /// Seeds per curve.
    pub(crate) fn n_seeds(self) -> u64 {
        match self {
            Self::Smoke => 2,
            Self::Quick => 5,
            Self::Paper => 10,
        }
    }
}

/// One curve of a figure: the cells of a method that differ in their seed.
pub(crate) struct Curve {
    /// Name in legends.
    pub(crate) label: &'static str,
    method: &'static str,
    /// Settings that the profile's and the curve's own changes start from.
    base: fn() -> SacSettings,
    settings: Overrides,
}

/// A figure of a paper.
pub(crate) struct Figure {
    /// `paper/figure-task`.
    pub(crate) id: &'static str,
    /// Heading of the report.
    pub(crate) title: &'static str,
    /// The paper's claim in one line.
    pub(crate) claim: &'static str,
    /// Name of the task.
    pub(crate) task: &'static str,
    /// Its curves.
    pub(crate) curves: &'static [Curve],
    rule: Rule,
    levels: &'static [f64],
    return_range: (f64, f64),
}

/// The baseline has every setting of VG-SAC but its losses, as in the paper.
const SAC: Curve =
    Curve { label: "SAC", method: "sac", base: SacSettings::paired_sac, settings: &[] };
const VG_SAC: Curve =
    Curve { label: "VG-SAC", method: "vg-sac", base: SacSettings::vg_sac, settings: &[] };
const VG_SAC_DIFFERENCES: Curve = Curve {
    label: "VG-SAC, finite differences",
    method: "vg-sac",
    base: SacSettings::vg_sac,
    settings: &[("value_gradient.jacobians", "finite-difference")],
};

/// Returns of the cartpole at which samples are counted: a random policy earns −50, 100 is the
/// bound, the best policies end near 85.
const CARTPOLE_LEVELS: &[f64] = &[0.0, 25.0, 50.0, 75.0];

const FIGURES: [Figure; 2] = [
    Figure {
        id: "vg-sac/fig2-cartpole",
        title: "Learning from scratch on the real cartpole",
        claim: "VG-SAC learns faster than SAC on all six tasks, with up to 2–3 times fewer samples \
                (Gurumurthy et al. 2023, figure 2)",
        task: "cartpole",
        curves: &[SAC, VG_SAC],
        rule: Rule::FewerSamples { baseline: 0, method: 1 },
        levels: CARTPOLE_LEVELS,
        return_range: (-100.0, 100.0),
    },
    Figure {
        id: "vg-sac/fig3-cartpole",
        title: "Jacobians by finite differences of the nominal model",
        claim: "A black-box nominal model serves as well: finite differences improve on SAC as \
                much as exact Jacobians (Gurumurthy et al. 2023, figure 3, there on two other \
                systems)",
        task: "cartpole",
        curves: &[SAC, VG_SAC, VG_SAC_DIFFERENCES],
        rule: Rule::Comparable { reference: 1, method: 2, baseline: 0 },
        levels: CARTPOLE_LEVELS,
        return_range: (-100.0, 100.0),
    },
];

/// All figures.
pub(crate) fn figures() -> &'static [Figure] {
    &FIGURES
}

/// Which part of which experiment, and how much of it.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    /// Papers (`vg-sac`) or figures (`vg-sac/fig2-cartpole`); all if empty.
    pub(crate) names: Vec<String>,
    /// Size.
    pub(crate) profile: Profile,
    /// Only these tasks, if any are given.
    pub(crate) tasks: Vec<String>,
    /// Only these methods, if any are given.
    pub(crate) methods: Vec<String>,
    /// Seeds per curve, in the place of the profile's.
    pub(crate) n_seeds: Option<u64>,
    /// Settings changed in every cell that has them.
    pub(crate) overrides: Vec<(String, String)>,
}

/// A curve with its cells.
pub(crate) struct PlannedCurve {
    pub(crate) label: &'static str,
    pub(crate) cells: Vec<CellConfig>,
}

/// A figure with its cells.
pub(crate) struct PlannedFigure {
    pub(crate) figure: &'static Figure,
    pub(crate) curves: Vec<PlannedCurve>,
}

impl Selection {
    /// Short name for folders: the papers and figures asked for.
    pub(crate) fn slug(&self) -> String {
        if self.names.is_empty() {
            return "overview".to_owned();
        }
        self.names.join("+").replace('/', "-")
    }

    /// Folder of the report: changed settings have one of their own.
    pub(crate) fn folder_name(&self) -> String {
        let name = format!("{}-{}", self.slug(), self.profile.name());
        if self.overrides.is_empty() {
            return name;
        }
        let text = format!("{:?}", self.overrides);
        format!("{name}-{}", &blake3::hash(text.as_bytes()).to_hex()[..8])
    }

    /// What differs from the paper, in words for the report.
    fn note(&self) -> String {
        profile_note(self.profile).to_owned() + &self.changes()
    }

    /// The settings that are changed, in words for the report.
    pub(crate) fn changes(&self) -> String {
        if self.overrides.is_empty() {
            return String::new();
        }
        let changes = self.overrides.iter().map(|(key, value)| format!("{key} = {value}"));
        format!(" Changed for this report: {}.", changes.collect::<Vec<_>>().join(", "))
    }

    /// The figures with every cell they need.
    ///
    /// # Errors
    /// A name that is no paper and no figure, a task or method that no figure has.
    pub(crate) fn plan(&self) -> Result<Vec<PlannedFigure>> {
        for name in &self.names {
            let is_learning = FIGURES.iter().any(|figure| figure.matches(name));
            let others = || dvp::names().chain(runs::names());
            if !is_learning && !others().any(|known| known == name) {
                bail!(
                    "there is no paper or figure `{name}`; there are {}",
                    known_names().join(", ")
                );
            }
        }
        for task in &self.tasks {
            bench_tasks::find(task)?;
        }
        for method in &self.methods {
            agents::find_method(method)?;
        }
        let mut planned = Vec::new();
        for figure in &FIGURES {
            let named = self.names.is_empty() || self.names.iter().any(|n| figure.matches(n));
            let has_task = self.tasks.is_empty() || self.tasks.iter().any(|t| t == figure.task);
            if named && has_task {
                let curves = figure.curves.iter().map(|curve| self.plan_curve(figure, curve));
                planned.push(PlannedFigure { figure, curves: curves.collect::<Result<_>>()? });
            }
        }
        let runs = self.plan_runs()?;
        let curves = planned.iter().flat_map(|f| f.curves.iter().flat_map(|c| &c.cells));
        self.check_overrides(curves.chain(runs.iter().flat_map(runs::Planned::cells)))?;
        if planned.is_empty() && runs.is_empty() && self.plan_values()?.is_empty() {
            bail!(
                "no figure is left: `--task`, `--method` or `--set` have nothing in common with the \
                 names given (the figures of `dvp` take none of these options)"
            );
        }
        Ok(planned)
    }

    /// The figures about learned values. `--task`, `--method` and `--set` choose and change the
    /// learning methods of the others, so these figures are left out where one of them is given.
    ///
    /// # Errors
    /// Settings that a task refuses.
    pub(crate) fn plan_values(&self) -> Result<Vec<dvp::Planned>> {
        if !(self.tasks.is_empty() && self.methods.is_empty() && self.overrides.is_empty()) {
            return Ok(Vec::new());
        }
        let seeds = self.n_seeds.unwrap_or_else(|| self.profile.n_seeds());
        dvp::plan(&self.names, &Size { profile: self.profile, seeds })
    }

    /// The figures made of runs, with the cells of `--task`, changed by `--set`; all are shown, whatever
    /// `--method` runs. A figure on other tasks is left out.
    ///
    /// # Errors
    /// Settings that a task refuses.
    pub(crate) fn plan_runs(&self) -> Result<Vec<runs::Planned>> {
        let seeds = self.n_seeds.unwrap_or_else(|| self.profile.n_seeds());
        let mut planned = runs::plan(&self.names, &Size { profile: self.profile, seeds })?;
        if !self.tasks.is_empty() {
            planned.retain_mut(|figure| figure.keep_tasks(&self.tasks));
        }
        planned.iter_mut().flat_map(runs::Planned::cells_mut).for_each(|cell| self.change(cell));
        Ok(planned)
    }

    /// Changes the settings that the cell has.
    fn change(&self, config: &mut CellConfig) {
        for pair in &self.overrides {
            // What this cell does not know may be meant for another: `check_overrides` sees.
            let mut changed = config.clone();
            if changed.override_all(std::slice::from_ref(pair)).is_ok() {
                *config = changed;
            }
        }
    }

    /// Whether the cells of a configuration are to be run (all are shown).
    pub(crate) fn runs(&self, cell: &CellConfig) -> bool {
        self.methods.is_empty() || self.methods.contains(&cell.method_name)
    }

    /// An override that no cell knows is a mistake: says what the last cell makes of it.
    fn check_overrides<'c>(&self, cells: impl Iterator<Item = &'c CellConfig>) -> Result<()> {
        let cells: Vec<_> = cells.collect();
        for pair in &self.overrides {
            let one = std::slice::from_ref(pair);
            let refusals: Vec<_> =
                cells.iter().map(|&c| c.clone().override_all(one).err()).collect();
            if refusals.iter().all(Option::is_some)
                && let Some(Some(refusal)) = refusals.into_iter().next_back()
            {
                return Err(refusal);
            }
        }
        Ok(())
    }

    fn plan_curve(&self, figure: &Figure, curve: &Curve) -> Result<PlannedCurve> {
        let n_seeds = self.n_seeds.unwrap_or_else(|| self.profile.n_seeds());
        let cells = (0..n_seeds).map(|seed| {
            let mut config = cell_config(figure, curve, self.profile, seed)?;
            self.change(&mut config);
            Ok(config)
        });
        Ok(PlannedCurve { label: curve.label, cells: cells.collect::<Result<_>>()? })
    }
}

impl Figure {
    /// Name of the paper.
    pub(crate) fn paper(&self) -> &'static str {
        self.id.split('/').next().unwrap_or(self.id)
    }

    fn matches(&self, name: &str) -> bool {
        name == self.id || name == self.paper()
    }
}

fn known_names() -> Vec<String> {
    let mut names: Vec<_> = FIGURES.iter().map(|f| f.paper().to_owned()).collect();
    names.dedup();
    names.extend(FIGURES.iter().map(|f| f.id.to_owned()));
    names.extend(dvp::names().chain(runs::names()).map(str::to_owned));
    names
}

/// Keys with their values.
type Overrides = &'static [(&'static str, &'static str)];

/// What a profile changes of the methods' and the loop's defaults.
fn profile_settings(profile: Profile) -> (Overrides, Overrides) {
    match profile {
        Profile::Smoke => (
            &[("actor_hidden", "[32, 32]"), ("critic_hidden", "[32, 32]"), ("random_steps", "300")],
            &[
                ("total_steps", "1500"),
                ("evaluate_every_episodes", "5"),
                ("evaluation_episodes", "4"),
            ],
        ),
        Profile::Quick => (
            &[
                ("actor_hidden", "[128, 128]"),
                ("critic_hidden", "[128, 128]"),
                ("random_steps", "300"),
            ],
            &[
                ("total_steps", "25000"),
                ("evaluate_every_episodes", "5"),
                ("evaluation_episodes", "10"),
            ],
        ),
        Profile::Paper => (&[], &[("total_steps", "150000")]),
    }
}

/// What a profile changes, in words for the report.
fn profile_note(profile: Profile) -> &'static str {
    match profile {
        Profile::Smoke => {
            "Smoke profile: 32-wide networks and 1 500 steps show that everything runs; nothing is \
             judged by it."
        }
        Profile::Quick => {
            "Quick profile: networks of 2×128 in the place of 2×256, 300 random steps in the place \
             of 1 000, evaluations every 5 episodes over 10 episodes in the place of every 40 over \
             40, 25 000 environment steps."
        }
        Profile::Paper => {
            "Paper profile: the released settings (2×256, 1 000 random steps, 40 evaluation \
             episodes every 40 episodes), 150 000 environment steps in the place of 10⁶."
        }
    }
}

fn cell_config(figure: &Figure, curve: &Curve, profile: Profile, seed: u64) -> Result<CellConfig> {
    let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    let (method, train) = profile_settings(profile);
    let mut config =
        CellConfig::new(figure.task, Preset::Released, Variant::Real, curve.method, seed)?;
    config.method = agents::to_table(curve.method, &(curve.base)())?;
    config.method = apply_overrides(&config.method, &owned(method))?;
    config.method = apply_overrides(&config.method, &owned(curve.settings))?;
    config.train = apply_overrides(&config.train, &owned(train))?;
    Ok(config)
}

/// The figures as the report needs them, cells looked for below `root`.
///
/// # Errors
/// As [`CellConfig::id`].
pub(crate) fn figure_specs(
    planned: &[PlannedFigure],
    selection: &Selection,
    root: &Path,
) -> Result<Vec<FigureSpec>> {
    planned
        .iter()
        .map(|PlannedFigure { figure, curves }| {
            let groups = curves.iter().map(|curve| {
                let cells = curve.cells.iter().map(|config| cell::folder(root, config));
                Ok(Group {
                    label: curve.label.to_owned(),
                    cells: cells.collect::<Result<Vec<PathBuf>>>()?,
                    command: format!(
                        "cargo xtask reproduce {} --profile {}",
                        figure.id,
                        selection.profile.name()
                    ),
                })
            });
            Ok(FigureSpec {
                id: figure.id.to_owned(),
                title: figure.title.to_owned(),
                claim: figure.claim.to_owned(),
                note: selection.note(),
                groups: groups.collect::<Result<_>>()?,
                rule: figure.rule,
                return_range: Some(figure.return_range),
                levels: figure.levels.to_vec(),
            })
        })
        .collect()
}
