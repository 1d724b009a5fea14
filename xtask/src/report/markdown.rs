//! The report as Markdown, with its figures as files beside it.

use std::fmt::Write as _;

use super::analysis::{FigureData, Report};
use super::figures::{self, Abscissa};
use super::html::{CENSORED, STATISTICS, slug};
use super::svg::Picture;
use super::{animation, tables};

/// Text that Markdown shows as it is.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            // Brackets alone are plain text; "](", "][" and "]:" make links.
            ']' if rest.peek().is_some_and(|next| "([:".contains(*next)) => out.push_str("\\]"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\n' | '\r' => out.push(' '),
            '\\' | '`' | '*' | '_' | '|' | '#' | '!' | '~' | '$' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

/// Text as a block of code, in a fence longer than any run of backticks in it.
fn code(text: &str) -> String {
    let runs = text.split(|c| c != '`').map(str::len);
    let fence = "`".repeat(runs.max().unwrap_or(0).max(2) + 1);
    format!("{fence}text\n{text}\n{fence}\n\n")
}

/// Every figure file: its name in `figures/` and its contents.
pub(crate) fn pictures(report: &Report) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for figure in &report.figures {
        out.extend(figure_pictures(figure).into_iter().map(|(name, _, p)| (name, p.file())));
    }
    out.extend(report.sheets.iter().flat_map(|sheet| sheet.files()));
    out
}

/// Name, caption and drawing of one figure's pictures.
fn figure_pictures(figure: &FigureData) -> Vec<(String, &'static str, Picture)> {
    if !figure.has_cells() {
        return Vec::new();
    }
    let slug = slug(&figure.id);
    let mut out = vec![
        (
            format!("{slug}-steps.svg"),
            "Return against environment steps",
            figures::curves(figure, Abscissa::Steps, &format!("{slug}-steps")),
        ),
        (
            format!("{slug}-time.svg"),
            "Return against training time",
            figures::curves(figure, Abscissa::Time, &format!("{slug}-time")),
        ),
        (format!("{slug}-ratios.svg"), "Sample efficiency", figures::ratios(figure)),
    ];
    if let Some(Ok(rollout)) = figure.rollout.as_ref().map(|r| &r.rollout) {
        if let Some(strip) = animation::strip(rollout) {
            out.push((format!("{slug}-rollout.svg"), "Trajectory of the trained policy", strip));
        }
        for (i, plot) in rollout.plots(&format!("{slug}-state")).into_iter().enumerate() {
            out.push((format!("{slug}-state-{i}.svg"), "The same trajectory against time", plot));
        }
    }
    out
}

/// The whole report.
pub(crate) fn page(report: &Report) -> String {
    let mut out = format!("# {}\n\n", escape(&report.title));
    let _ = writeln!(out, "Profile `{}`.\n", escape(&report.info.profile));
    out += "## Verdicts\n\n";
    for (_, title, claim, verdict) in report.verdicts() {
        let (kind, claim) = (verdict.kind.words(), escape(claim));
        let (title, ours) = (escape(title), escape(&verdict.ours));
        let _ = writeln!(out, "- **{kind}**: {title}\n  - Claim: {claim}\n  - Ours: {ours}.");
    }
    for f in &report.figures {
        out += &figure(f);
    }
    for sheet in &report.sheets {
        out += &sheet.markdown();
    }
    let problems = tables::problems(report);
    if !problems.is_empty() {
        out += "\n## Missing and failed cells\n\n";
        out += &problems.markdown();
        out += "\nRun them with:\n\n";
        for command in tables::commands(report) {
            out += &code(&command);
        }
    }
    out += "\n## How the numbers were made\n\n";
    out += &tables::provenance(report).markdown();
    let _ = writeln!(out, "\n{STATISTICS} {CENSORED}");
    out
}

fn figure(f: &FigureData) -> String {
    let mut out = format!("\n## {}\n\n", escape(&f.title));
    let verdict = f.verdict.kind.words();
    let _ = writeln!(out, "**{verdict}**: {}.\n", escape(&f.verdict.reason));
    let _ = writeln!(out, "- Claim: {}", escape(&f.claim));
    let _ = writeln!(out, "- Ours: {}.", escape(&f.verdict.ours));
    let _ = writeln!(out, "- Rule: {}", escape(&f.rule_text));
    if !f.note.is_empty() {
        let _ = writeln!(out, "- Differs from the paper: {}", escape(&f.note));
    }
    out.push('\n');
    if !f.has_cells() {
        out += "No cell of this figure is complete yet; the commands that run them stand below.\n";
        return out;
    }
    for (name, caption, _) in figure_pictures(f) {
        let _ = writeln!(out, "![{caption}](figures/{name})\n");
    }
    match f.rollout.as_ref() {
        Some(shown) => {
            let _ = writeln!(out, "Trajectory: {}.", escape(&shown.from));
            if let Err(why) = &shown.rollout {
                let _ = writeln!(out, "It cannot be shown: {}.", escape(why));
            }
            out.push('\n');
        }
        None => out += "There is no trajectory to show yet.\n\n",
    }
    out += &tables::results(f).markdown();
    out.push('\n');
    out += &tables::levels(f).markdown();
    if let Some(text) = tables::improvement(f) {
        let _ = writeln!(out, "\n{}", escape(&text));
    }
    for g in &f.groups {
        for warning in &g.warnings {
            let _ = writeln!(out, "\nNote on {}: {}.", escape(&g.label), escape(warning));
        }
    }
    out += "\n### Every seed\n\n";
    out += &tables::seeds(f).markdown();
    let (different, shared) = tables::settings(f);
    if !different.is_empty() {
        out += "\n### Settings in which the groups differ\n\n";
        out += &different.markdown();
    }
    if !shared.is_empty() {
        out += "\n### Settings they share\n\n";
        out += &shared.markdown();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_keeps_its_look_and_code_its_fence() {
        assert_eq!(escape("[1, 2] [x](y)"), "[1, 2] [x\\](y)");
        assert_eq!(escape("a_b|<c>\n*d*"), "a\\_b\\|&lt;c&gt; \\*d\\*");
        assert!(code("echo ```").starts_with("````text\necho ```\n````\n"));
        assert!(code("plain").starts_with("```text\nplain\n```\n"));
    }
}
