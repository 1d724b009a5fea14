//! Pictures: escaped SVG elements, the palette, and frames with axes and a grid.

use std::fmt::Write as _;

use super::axis::Axis;

/// Colours by role: name, on light paper, on dark paper. The series are those of Okabe and Ito
/// (2008), lightened where they would be too dim on dark paper.
pub(crate) const PALETTE: &[(&str, &str, &str)] = &[
    ("paper", "#ffffff", "#15181c"),
    ("panel", "#f6f7f8", "#1d2126"),
    ("ink", "#1b1f24", "#e4e7ea"),
    ("soft", "#59636e", "#9aa5b1"),
    ("rule", "#d5dae0", "#343b43"),
    ("grid", "#e8ebee", "#282e35"),
    ("axis", "#8b949e", "#6b7580"),
    ("s0", "#0072b2", "#56b4e9"),
    ("s1", "#d55e00", "#ee8433"),
    ("s2", "#009e73", "#2bc79b"),
    ("s3", "#b1568c", "#d998bd"),
    ("s4", "#b57f00", "#e6b93c"),
    ("s5", "#3d7ea6", "#9ad0f0"),
    ("good", "#00734f", "#3ccf9f"),
    ("fair", "#8a6100", "#e6b93c"),
    ("poor", "#b34700", "#f09a5a"),
];

/// Number of series colours; more series start again.
pub(crate) const SERIES: usize = 6;

/// The stylesheet of the drawings, in terms of the palette's variables.
pub(crate) const FIGURE_CSS: &str = include_str!("figure.css");

/// CSS class of series `i`.
pub(crate) fn series_class(i: usize) -> String {
    format!("s{}", i % SERIES)
}

/// Text that is safe between tags and inside quoted attributes; characters XML forbids are shown
/// as the replacement character.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{FFFE}' | '\u{FFFF}' => out.push('\u{FFFD}'),
            c if c.is_control() && !matches!(c, '\n' | '\t' | '\r') => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
    out
}

/// A drawing of fixed size.
#[derive(Clone, Debug, Default)]
pub(crate) struct Picture {
    width: f64,
    height: f64,
    /// What a reader who does not see it needs to know.
    alt: String,
    body: String,
    /// Data of the hover read-out, as JSON.
    pub(crate) data: Option<serde_json::Value>,
}

impl Picture {
    /// An empty drawing.
    pub(crate) fn new(width: f64, height: f64, alt: &str) -> Self {
        Self { width, height, alt: alt.to_owned(), ..Self::default() }
    }

    /// For use inside a page that has the stylesheet.
    pub(crate) fn inline(&self) -> String {
        self.element("", "")
    }

    /// As a file of its own, on light paper.
    pub(crate) fn file(&self) -> String {
        let mut css = FIGURE_CSS.to_owned();
        for (name, light, _) in PALETTE {
            css = css.replace(&format!("var(--{name})"), light);
        }
        let paper = r#"<rect class="paper" width="100%" height="100%"/>"#;
        let size = format!(
            r#" xmlns="http://www.w3.org/2000/svg" width="{}" height="{}""#,
            self.width, self.height
        );
        self.element(&size, &format!("<style>{}</style>{paper}", escape(&css)))
    }

    fn element(&self, attributes: &str, before: &str) -> String {
        let (w, h, alt) = (self.width, self.height, escape(&self.alt));
        format!(
            r#"<svg{attributes} viewBox="0 0 {w} {h}" role="img" aria-label="{alt}">{before}{}</svg>"#,
            self.body
        ) + "\n"
    }

    /// Opens a group; close it with [`Picture::end`].
    pub(crate) fn begin(&mut self, attributes: &str) {
        let _ = write!(self.body, "<g {attributes}>");
    }

    /// Closes a group.
    pub(crate) fn end(&mut self) {
        self.body.push_str("</g>");
    }

    /// A straight line; nothing if an end is not finite.
    pub(crate) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        if [from.0, from.1, to.0, to.1].iter().all(|v| v.is_finite()) {
            let _ = write!(
                self.body,
                r#"<line class="{class}" x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}"/>"#,
                from.0, from.1, to.0, to.1
            );
        }
    }

    /// An open polyline, broken at points without a place.
    pub(crate) fn polyline(
        &mut self,
        class: &str,
        points: impl Iterator<Item = Option<(f64, f64)>>,
    ) {
        let mut path = String::new();
        let mut pen_down = false;
        for point in points {
            if let Some((x, y)) = point {
                let _ = write!(path, "{}{x:.1} {y:.1}", if pen_down { "L" } else { "M" });
            }
            pen_down = point.is_some();
        }
        if !path.is_empty() {
            let _ = write!(self.body, r#"<path class="{class}" d="{path}"/>"#);
        }
    }

    /// A closed polygon.
    pub(crate) fn polygon(&mut self, class: &str, points: &[(f64, f64)]) {
        let finite = points.iter().filter(|p| p.0.is_finite() && p.1.is_finite());
        let text: Vec<String> = finite.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = write!(self.body, r#"<polygon class="{class}" points="{}"/>"#, text.join(" "));
    }

    /// A rectangle with rounded corners.
    pub(crate) fn rect(&mut self, class: &str, corner: (f64, f64), size: (f64, f64), radius: f64) {
        let ((x, y), (w, h)) = (corner, size);
        let _ = write!(
            self.body,
            r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{w:.1}" height="{h:.1}" rx="{radius}"/>"#
        );
    }

    /// A rectangle of a colour that stands for a number.
    pub(crate) fn filled(&mut self, colour: &str, corner: (f64, f64), size: (f64, f64)) {
        let ((x, y), (w, h)) = (corner, size);
        // A hair wider, so that no gap shows between neighbours.
        let (w, h) = (w + 0.3, h + 0.3);
        let _ = write!(
            self.body,
            r#"<rect fill="{colour}" x="{x:.1}" y="{y:.1}" width="{w:.1}" height="{h:.1}"/>"#
        );
    }

    /// A circle with an optional tool tip.
    pub(crate) fn circle(&mut self, class: &str, at: (f64, f64), radius: f64, tip: &str) {
        let _ = write!(
            self.body,
            r#"<circle class="{class}" cx="{:.1}" cy="{:.1}" r="{radius:.1}">"#,
            at.0, at.1
        );
        if !tip.is_empty() {
            let _ = write!(self.body, "<title>{}</title>", escape(tip));
        }
        self.body.push_str("</circle>");
    }

    /// A line of text.
    pub(crate) fn text(&mut self, class: &str, at: (f64, f64), text: &str) {
        let (x, y) = at;
        let text = escape(text);
        let _ = write!(self.body, r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{text}</text>"#);
    }

    /// Text turned a quarter to the left, for a vertical axis.
    pub(crate) fn upright(&mut self, class: &str, at: (f64, f64), text: &str) {
        let (x, y) = at;
        let text = escape(text);
        let _ = write!(
            self.body,
            r#"<text class="{class}" transform="translate({x:.1} {y:.1}) rotate(-90)">{text}</text>"#
        );
    }

    /// Grid lines, tick texts and labels of a pair of axes.
    pub(crate) fn frame(&mut self, x: &Axis, y: &Axis) {
        let ((left, right), (bottom, top)) = (x.pixels, y.pixels);
        for (value, text) in &x.ticks {
            if let Some(at) = x.at(*value) {
                self.line("grid", (at, top), (at, bottom));
                self.text("tick mid", (at, bottom + 17.0), text);
            }
        }
        for (value, text) in &y.ticks {
            if let Some(at) = y.at(*value) {
                self.line("grid", (left, at), (right, at));
                self.text("tick end", (left - 8.0, at + 4.0), text);
            }
        }
        self.line("axis", (left, bottom), (right, bottom));
        self.text("label mid", ((left + right) / 2.0, bottom + 37.0), &x.label);
        self.upright("label mid", (left - 50.0, (top + bottom) / 2.0), &y.label);
    }

    /// Opens a group whose contents end at the axes; `id` is unique on the page.
    pub(crate) fn clipped(&mut self, id: &str, x: &Axis, y: &Axis) {
        let ((left, right), (bottom, top)) = (x.pixels, y.pixels);
        let (id, w, h) = (escape(id), right - left, bottom - top);
        let _ = write!(
            self.body,
            r#"<clipPath id="{id}"><rect x="{left}" y="{top}" width="{w}" height="{h}"/></clipPath>"#
        );
        self.begin(&format!(r#"clip-path="url(#{id})""#));
    }
}

/// A small check that text is well-formed XML: tags match, attributes are quoted and nothing that
/// needs escaping stands alone.
#[cfg(test)]
pub(crate) fn assert_well_formed(xml: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = xml;
    while let Some(start) = rest.find('<') {
        check_text(&rest[..start]);
        let end = start + rest[start..].find('>').expect("a tag is not closed");
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closing tag does not match");
            continue;
        }
        let name = tag.split([' ', '/']).next().unwrap();
        assert!(name.chars().all(char::is_alphanumeric), "odd tag {tag}");
        let quotes = tag.matches('"').count();
        assert!(
            quotes.is_multiple_of(2) && tag.matches('=').count() * 2 <= quotes,
            "unquoted in {tag}"
        );
        check_text(tag);
        for bad in ["NaN", "inf"] {
            let numbers = tag.split(['"', ' ', ',']).any(|w| w == bad || w.starts_with("inf"));
            assert!(!numbers, "{bad} in {tag}");
        }
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    check_text(rest);
    assert!(open.is_empty(), "left open: {open:?}");
}

#[cfg(test)]
fn check_text(text: &str) {
    assert!(!text.contains('<'), "stray < in {text}");
    for (at, _) in text.match_indices('&') {
        let entity = text[at..].split(';').next().unwrap();
        assert!(entity.len() < 7, "stray & in {text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_text_cannot_leave_its_place() {
        assert_eq!(
            escape("<script>\"a\" & 'b'\u{0}"),
            "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;\u{FFFD}"
        );
        let mut picture = Picture::new(10.0, 10.0, "\"><script>");
        picture.text("label", (0.0, 0.0), "</text><script>alert(1)</script>");
        picture.circle("dot", (1.0, 1.0), 2.0, "<b>");
        for xml in [picture.inline(), picture.file()] {
            assert_well_formed(&xml);
            assert!(!xml.contains("<script>") && !xml.contains("<b>"));
        }
    }

    #[test]
    fn values_that_are_not_finite_are_left_out() {
        let mut picture = Picture::new(10.0, 10.0, "");
        picture.line("grid", (f64::NAN, 0.0), (1.0, 1.0));
        picture.polygon("band", &[(0.0, f64::INFINITY), (1.0, 2.0)]);
        picture.polyline("line", [Some((0.0, 1.0)), None, Some((2.0, 3.0))].into_iter());
        let xml = picture.inline();
        assert_well_formed(&xml);
        assert!(xml.contains("M0.0 1.0M2.0 3.0") && !xml.contains("line class"));
    }

    #[test]
    fn frames_label_both_axes_and_files_carry_their_colours() {
        let x = Axis::linear("environment steps", (0.0, 20_000.0), (60.0, 400.0), 5);
        let y = Axis::rounded("return", (-3.0, 98.0), (200.0, 10.0), 5);
        let mut picture = Picture::new(500.0, 250.0, "curves");
        picture.frame(&x, &y);
        picture.clipped("a-clip", &x, &y);
        picture.end();
        let xml = picture.file();
        assert_well_formed(&xml);
        for text in ["environment steps", ">20,000<", ">100<", "xmlns=", "#0072b2"] {
            assert!(xml.contains(text), "{text}");
        }
        assert!(!xml.contains("var("));
    }
}
