//! The report as one HTML page that needs nothing else.

use std::fmt::Write as _;

use super::analysis::{FigureData, Report, ShownRollout};
use super::figures::{self, Abscissa};
use super::rollout::Rollout;
use super::svg::{FIGURE_CSS, PALETTE, Picture, escape};
use super::verdict::Kind;
use super::{animation, tables};

/// How intervals are made, for the foot of the page.
pub(crate) const STATISTICS: &str = "The seed is the unit of every number: a run gives one value, \
    and a group's number is the mean over its seeds. Square brackets hold 95 % percentile \
    intervals of a stratified bootstrap (2,000 resamples of the seeds within each group, random \
    numbers fixed). With five seeds such intervals are too narrow: about 83 % of them hold the \
    true mean of a normal distribution. A final return is the mean of the last three evaluations; \
    IQM is the interquartile mean of the same values, sd their standard deviation. Mean curves \
    are drawn where all seeds of a group have evaluations, interpolated linearly in between.";

/// What bounds mean, for the foot of the page.
pub(crate) const CENSORED: &str = "A seed that never reaches a level counts at its run's length; \
    numbers it enters are bounds, marked ≥ or ≤, or ~ where seeds of both groups fall short. Ratios of \
    steps count no farther than the shortest run that fell short. \
    Training time leaves evaluations out.";

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      img-src data:";

/// A name usable in links and file names.
pub(crate) fn slug(id: &str) -> String {
    id.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .collect()
}

/// A page around a body.
pub(crate) fn document(title: &str, body: &str) -> String {
    let colours = |dark: bool| -> String {
        let value = |(name, light, night): &(&str, &str, &str)| {
            format!("--{name}:{};", if dark { night } else { light })
        };
        PALETTE.iter().map(value).collect()
    };
    let (light, dark, title) = (colours(false), colours(true), escape(title));
    let (css, script) = (include_str!("style.css"), include_str!("page.js"));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>\n\
         :root{{{light}}}\n@media (prefers-color-scheme: dark){{:root{{{dark}}}}}\n\
         {FIGURE_CSS}{css}</style>\n\
         <script>document.documentElement.classList.add(\"js\");</script>\n</head>\n\
         <body>\n<main>\n{body}</main>\n<script>\n{script}</script>\n</body>\n</html>\n"
    )
}

/// The whole report.
pub(crate) fn page(report: &Report) -> String {
    let info = &report.info;
    let mut body = format!("<header>\n<h1>{}</h1>\n", escape(&report.title));
    let profile = format!("profile {}", info.profile);
    let version =
        if info.version.is_empty() { String::new() } else { format!("Costate {}", info.version) };
    let facts = [&profile, &info.started, &info.cpu, &version, &info.commit];
    let facts: Vec<String> = facts.iter().filter(|f| !f.is_empty()).map(|f| escape(f)).collect();
    let _ = writeln!(body, "<p class=\"facts\">{}</p>\n</header>", facts.join(" · "));
    body += &summary(report);
    for (i, f) in report.figures.iter().enumerate() {
        body += &figure(f, i + 1);
    }
    for (i, sheet) in report.sheets.iter().enumerate() {
        body += &sheet.html(report.figures.len() + i + 1);
    }
    let problems = tables::problems(report);
    if !problems.is_empty() {
        body += "<section id=\"missing\">\n<h2>Missing and failed cells</h2>\n";
        body += &problems.html();
        let commands = tables::commands(report);
        if !commands.is_empty() {
            let lines: Vec<String> = commands.iter().map(|c| escape(c)).collect();
            let _ = writeln!(body, "<p>Run them with</p>\n<pre>{}</pre>", lines.join("\n"));
        }
        body += "</section>\n";
    }
    body += "<section id=\"method\">\n<h2>How the numbers were made</h2>\n";
    let _ =
        writeln!(body, "<div class=\"facts-table\">{}</div>", tables::provenance(report).html());
    let _ = writeln!(body, "<p>{STATISTICS}</p>\n<p>{CENSORED}</p>\n</section>");
    document(&report.title, &body)
}

pub(super) fn badge(kind: Kind) -> String {
    let (class, sign) = match kind {
        Kind::Reproduced => ("good", "✓"),
        Kind::Partly => ("fair", "◐"),
        Kind::NotReproduced => ("poor", "✗"),
        Kind::NotRun => ("none", "○"),
    };
    format!(
        "<span class=\"badge {class}\"><span aria-hidden=\"true\">{sign}</span> {}</span>",
        kind.words()
    )
}

fn summary(report: &Report) -> String {
    let mut out = "<section class=\"summary\" aria-label=\"Verdicts\">\n".to_owned();
    for (id, title, claim, verdict) in report.verdicts() {
        let _ = writeln!(
            out,
            "<div class=\"row\"><div>{}</div><div><a href=\"#{}\">{}</a><p>{}</p><p class=\"ours\">\
             {}</p></div></div>",
            badge(verdict.kind),
            slug(id),
            escape(title),
            escape(claim),
            escape(&verdict.ours)
        );
    }
    if report.verdicts().next().is_none() {
        out += "<p>No figures were asked for.</p>\n";
    }
    out + "</section>\n"
}

/// A drawing with its caption and the data of its read-out.
pub(super) fn plot(picture: &Picture, caption: &str) -> String {
    let data = picture
        .data
        .as_ref()
        .map(|d| format!("<script type=\"application/json\">{}</script>", script_safe(d)));
    let caption = if caption.is_empty() {
        String::new()
    } else {
        format!("<figcaption>{caption}</figcaption>")
    };
    format!(
        "<figure class=\"plot\"><div class=\"scroll\">{}</div>{}{caption}</figure>\n",
        picture.inline(),
        data.unwrap_or_default()
    )
}

/// JSON that cannot end the script element it stands in.
fn script_safe(value: &serde_json::Value) -> String {
    value.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// A roll-out to be animated, or why there is none; ids begin with `id`.
pub(super) fn shown_rollout(shown: &ShownRollout, id: &str) -> String {
    match &shown.rollout {
        Err(why) => {
            let why = escape(why);
            format!("<p class=\"fine\">The trajectory cannot be shown: {why}.</p>\n")
        }
        Ok(rollout) => trajectory(rollout, id, &shown.from, false),
    }
}

fn figure(f: &FigureData, n: usize) -> String {
    let id = slug(&f.id);
    let mut out = format!("<article id=\"{id}\">\n<h2>{}</h2>\n", escape(&f.title));
    let _ = writeln!(
        out,
        "<p class=\"verdict\">{} {}.</p>\n<dl>\n<dt>Claim</dt><dd>{}</dd>\n<dt>Ours</dt><dd>{}</dd>",
        badge(f.verdict.kind),
        escape(&f.verdict.reason),
        escape(&f.claim),
        escape(&f.verdict.ours)
    );
    let _ = writeln!(out, "<dt>Rule</dt><dd class=\"fine\">{}</dd>", escape(&f.rule_text));
    if !f.note.is_empty() {
        let _ = writeln!(out, "<dt>Differs from the paper</dt><dd>{}</dd>", escape(&f.note));
    }
    out += "</dl>\n";
    if !f.has_cells() {
        out += "<p class=\"fine\">No cell of this figure is complete yet; the commands that run \
                them stand below.</p>\n";
        return out + "</article>\n";
    }
    out += &plots(f, n, &id);
    let _ = writeln!(out, "<h3>Results</h3>\n{}", tables::results(f).html());
    if let Some(text) = tables::improvement(f) {
        let _ = writeln!(out, "<p class=\"fine\">{}</p>", escape(&text));
    }
    if !f.levels.is_empty() {
        let _ = writeln!(out, "<h3>Cost of reaching each level</h3>\n{}", tables::levels(f).html());
    }
    for g in &f.groups {
        for warning in &g.warnings {
            let (label, warning) = (escape(&g.label), escape(warning));
            let _ = writeln!(out, "<p class=\"fine\">Note on {label}: {warning}.</p>");
        }
    }
    out += "<h3>The trained policy</h3>\n";
    match &f.rollout {
        None => out += "<p class=\"fine\">There is no trajectory to show yet.</p>\n",
        Some(shown) => out += &shown_rollout(shown, &format!("{id}-roll")),
    }
    let _ = writeln!(
        out,
        "<details><summary>Every seed</summary>\n{}</details>",
        tables::seeds(f).html()
    );
    let (different, shared) = tables::settings(f);
    if !shared.is_empty() || !different.is_empty() {
        out += "<details><summary>Settings</summary>\n";
        if !different.is_empty() {
            let _ = writeln!(out, "<p>In these the groups differ:</p>{}", different.html());
        }
        let _ = writeln!(out, "<p>These they share:</p>{}</details>", shared.html());
    }
    out + "</article>\n"
}

/// The plots of figure `n`.
fn plots(f: &FigureData, n: usize, id: &str) -> String {
    let mut out = String::new();
    let caption = format!(
        "<b>Figure {n}a.</b> Return of the deterministic policy on the real plant against \
         environment steps: mean over seeds with 95 % band, single seeds faint, levels dotted."
    );
    out += &plot(&figures::curves(f, Abscissa::Steps, &format!("{id}-steps")), &caption);
    let caption = format!("<b>Figure {n}b.</b> The same against time spent training.");
    out += &plot(&figures::curves(f, Abscissa::Time, &format!("{id}-time")), &caption);
    let caption = format!(
        "<b>Figure {n}c.</b> How many times more the baseline needs to reach each level of return, \
         with 95 % intervals."
    );
    out += &plot(&figures::ratios(f), &caption);
    out
}

/// The animation (or still frames without the script) and the plots against time.
fn trajectory(rollout: &Rollout, id: &str, from: &str, autoplay: bool) -> String {
    let mut out = format!("<div class=\"rollout\" data-autoplay=\"{autoplay}\">\n");
    let caption = format!(
        "{} on the real plant, {} steps of {} s, return {}.",
        escape(from),
        rollout.us.len(),
        rollout.dt,
        super::axis::number(rollout.total(), 1)
    );
    let more = animation::drawing(&rollout.task).map_or("", |d| d.caption);
    if let (Some(scene), Some(strip)) = (animation::scene(rollout), animation::strip(rollout)) {
        let data = scene.data.as_ref().map(script_safe).unwrap_or_default();
        let _ = write!(
            out,
            "<div class=\"scene js-only\">\n{}<div class=\"controls\"><button type=\"button\" \
             class=\"play\">Play</button><input type=\"range\" class=\"scrub\" min=\"0\" max=\"{}\" \
             step=\"any\" value=\"0\" aria-label=\"time\"><output class=\"readout\"></output></div>\n\
             <script type=\"application/json\" class=\"trajectory\">{data}</script>\n</div>\n\
             <div class=\"strip no-js\">{}</div>\n",
            scene.inline(),
            rollout.duration(),
            strip.inline()
        );
    }
    let _ = writeln!(out, "<p class=\"caption\">{caption} {more}</p>\n<div class=\"grid2\">");
    for picture in rollout.plots(id) {
        out += &plot(&picture, "");
    }
    out + "</div>\n</div>\n"
}

/// A page with one trajectory.
pub(crate) fn rollout_page(rollout: &Rollout) -> String {
    let title = format!("Trajectory on {}", rollout.task);
    let body = format!(
        "<header><h1>{}</h1></header>\n<article>\n{}</article>\n",
        escape(&title),
        trajectory(rollout, "roll", "The policy", true)
    );
    document(&title, &body)
}

#[cfg(test)]
mod tests {
    use super::super::rollout::fixture::rollout;
    use super::*;

    #[test]
    fn pages_forbid_the_network_and_load_nothing() {
        let page = rollout_page(&rollout("cartpole"));
        assert!(page.contains("default-src 'none'; style-src 'unsafe-inline'"));
        for loading in ["<link", "src=", "@import", "url(http", "fetch(", "https:"] {
            assert!(!page.contains(loading), "{loading}");
        }
        assert!(page.contains("prefers-color-scheme: dark"));
    }

    #[test]
    fn the_trajectory_stands_without_a_script() {
        let page = rollout_page(&rollout("cartpole"));
        assert_eq!(page.matches("class=\"strip no-js\"").count(), 1);
        assert_eq!(
            page.matches("t = ").count() - include_str!("page.js").matches("t = ").count(),
            8
        );
        // An unknown task has its plots only.
        let page = rollout_page(&rollout("</script><b>"));
        assert!(!page.contains("class=\"strip") && !page.contains("<b>"));
        assert_eq!(page.matches("<svg").count(), 6);
    }

    #[test]
    fn names_cannot_leave_a_script_or_a_link() {
        let value = serde_json::json!({ "a": "</script><script>alert(1)//&" });
        assert!(!script_safe(&value).contains(['<', '>', '&']));
        let back: serde_json::Value = serde_json::from_str(&script_safe(&value)).unwrap();
        assert_eq!(back, value);
        assert_eq!(slug("VG-SAC/fig2 <x>"), "vg-sac-fig2--x-");
    }
}
