//! Figures that are no comparison of learning curves: an experiment hands over its pictures, tables
//! and verdict ready made, and the report writes them down like the others.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::analysis::{Problem, ShownRollout};
use super::html::{badge, plot, shown_rollout, slug};
use super::svg::{Picture, escape};
use super::tables::{Entry, Table};
use super::verdict::Verdict;
use super::{animation, markdown};

/// One figure, ready to be shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sheet {
    /// Unique name, such as `dvp/fig1`.
    pub(crate) id: String,
    /// Heading.
    pub(crate) title: String,
    /// The paper's claim in one line, with its source.
    pub(crate) claim: String,
    /// What differs from the paper, and what is known of its settings.
    pub(crate) note: String,
    /// The rule of the verdict written out.
    pub(crate) rule: String,
    /// The verdict.
    pub(crate) verdict: Verdict,
    /// Drawings; made again from the cells, so not part of the JSON.
    #[serde(skip)]
    pub(crate) pictures: Vec<Illustration>,
    /// Trajectories that the page animates; made again from the cells, so not part of the JSON.
    #[serde(skip)]
    pub(crate) rollouts: Vec<ShownRollout>,
    /// Tables with their headings.
    pub(crate) tables: Vec<(String, Table)>,
    /// Complete cells.
    pub(crate) cells: Vec<FinishedCell>,
    /// Cells that could not be used.
    pub(crate) problems: Vec<Problem>,
    /// Command that runs the missing ones.
    pub(crate) command: String,
}

/// A drawing of a sheet.
#[derive(Clone, Debug)]
pub(crate) struct Illustration {
    /// End of the name of its file.
    pub(crate) name: &'static str,
    /// What is seen, in a sentence or two.
    pub(crate) caption: String,
    /// The drawing.
    pub(crate) picture: Picture,
}

/// A cell that went into a sheet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FinishedCell {
    /// Name of its folder.
    pub(crate) name: String,
    /// Seed.
    pub(crate) seed: u64,
    /// How long it took.
    pub(crate) seconds: f64,
}

impl Sheet {
    /// As an article of the page.
    pub(super) fn html(&self, n: usize) -> String {
        let mut out =
            format!("<article id=\"{}\">\n<h2>{}</h2>\n", slug(&self.id), escape(&self.title));
        let _ = writeln!(
            out,
            "<p class=\"verdict\">{} {}.</p>\n<dl>",
            badge(self.verdict.kind),
            escape(&self.verdict.reason)
        );
        for (term, text) in [("Claim", &self.claim), ("Ours", &self.verdict.ours)] {
            let _ = writeln!(out, "<dt>{term}</dt><dd>{}</dd>", escape(text));
        }
        for (term, text) in [("Rule", &self.rule), ("Differs from the paper", &self.note)] {
            let _ = writeln!(out, "<dt>{term}</dt><dd class=\"fine\">{}</dd>", escape(text));
        }
        out += "</dl>\n";
        for (letter, shown) in ('a'..).zip(&self.pictures) {
            let caption = format!("<b>Figure {n}{letter}.</b> {}", escape(&shown.caption));
            out += &plot(&shown.picture, &caption);
        }
        for (heading, table) in &self.tables {
            let _ = writeln!(out, "<h3>{}</h3>\n{}", escape(heading), table.html());
        }
        for (i, shown) in self.rollouts.iter().enumerate() {
            let _ = writeln!(out, "<h3>{}</h3>", escape(&shown.from));
            out += &shown_rollout(shown, &format!("{}-roll-{i}", slug(&self.id)));
        }
        out + "</article>\n"
    }

    /// As a section of the Markdown page.
    pub(super) fn markdown(&self) -> String {
        let Self { verdict, .. } = self;
        let mut out = format!("\n## {}\n\n", markdown::escape(&self.title));
        let reason = markdown::escape(&verdict.reason);
        let _ = writeln!(out, "**{}**: {reason}.\n", verdict.kind.words());
        for (term, text) in [
            ("Claim", &self.claim),
            ("Ours", &verdict.ours),
            ("Rule", &self.rule),
            ("Differs from the paper", &self.note),
        ] {
            let _ = writeln!(out, "- {term}: {}", markdown::escape(text));
        }
        for shown in &self.pictures {
            let (caption, file) = (markdown::escape(&shown.caption), self.file(shown));
            let _ = writeln!(out, "\n![{caption}](figures/{file})\n\n{caption}");
        }
        for (heading, table) in &self.tables {
            let _ = writeln!(out, "\n### {}\n\n{}", markdown::escape(heading), table.markdown());
        }
        for (file, shown, _) in self.strips() {
            let caption = markdown::escape(&shown.from);
            let _ = writeln!(out, "\n![{caption}](figures/{file})\n\n{caption}");
        }
        out
    }

    /// The files of its drawings.
    pub(super) fn files(&self) -> impl Iterator<Item = (String, String)> + '_ {
        let pictures = self.pictures.iter().map(|shown| (self.file(shown), shown.picture.file()));
        pictures.chain(self.strips().map(|(file, _, strip)| (file, strip.file())))
    }

    /// Still frames of its trajectories with the names of their files.
    fn strips(&self) -> impl Iterator<Item = (String, &ShownRollout, Picture)> + '_ {
        self.rollouts.iter().enumerate().filter_map(|(i, shown)| {
            let strip = animation::strip(shown.rollout.as_ref().ok()?)?;
            Some((format!("{}-rollout-{i}.svg", slug(&self.id)), shown, strip))
        })
    }

    /// Rows of the table of cells that could not be used.
    pub(super) fn problem_rows(&self) -> impl Iterator<Item = Vec<Entry>> + '_ {
        self.problems
            .iter()
            .map(|p| [self.id.as_str(), "", &p.cell, &p.kind, &p.detail].map(Entry::text).to_vec())
    }

    fn file(&self, shown: &Illustration) -> String {
        format!("{}-{}.svg", slug(&self.id), shown.name)
    }
}
